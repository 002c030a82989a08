--- The commands on hashes.
-- @module spec.support.fake_redis.hashes

local number = require("spec.support.fake_redis.number")
local reply = require("spec.support.fake_redis.reply")

local function hset(keys, argv)
  if #argv % 2 == 0 then
    reply.fail_arity("hset")
  end
  local hash, added = keys:open(argv[1], "hash"), 0
  for i = 2, #argv, 2 do
    if hash:set(argv[i], argv[i + 1]) then
      added = added + 1
    end
  end
  return added
end

local function hsetnx(keys, argv)
  local hash = keys:open(argv[1], "hash")
  if hash:get(argv[2]) then
    return 0
  end
  hash:set(argv[2], argv[3])
  return 1
end

local function hdel(keys, argv)
  return keys:remove(argv[1], "hash", argv)
end

local function hget(keys, argv)
  local hash = keys:find(argv[1], "hash")
  return hash and hash:get(argv[2]) or false
end

local function hmget(keys, argv)
  local hash, values = keys:find(argv[1], "hash"), {}
  for i = 2, #argv do
    values[i - 1] = hash and hash:get(argv[i]) or false
  end
  return values
end

local function hstrlen(keys, argv)
  local hash = keys:find(argv[1], "hash")
  return hash and #(hash:get(argv[2]) or "") or 0
end

local function hgetall(keys, argv)
  local hash, pairs_flat = keys:find(argv[1], "hash"), {}
  for i, field in ipairs(hash and hash:keys() or {}) do
    pairs_flat[2 * i - 1] = field
    pairs_flat[2 * i] = hash:get(field)
  end
  return pairs_flat
end

local function hkeys(keys, argv)
  local hash = keys:find(argv[1], "hash")
  return hash and hash:keys() or {}
end

-- Different fields for a positive count, any for a negative one.
local function hrandfield(keys, argv)
  local count = number.integer(argv[2])
  local hash = keys:find(argv[1], "hash")
  local fields, picked = hash and hash:keys() or {}, {}
  local most = count < 0 and -count or math.min(count, #fields)
  for i = 1, fields[1] and most or 0 do
    local k = keys.random:upto(#fields)
    picked[i] = count < 0 and fields[k] or table.remove(fields, k)
  end
  return picked
end

local function hvals(keys, argv)
  local hash, values = keys:find(argv[1], "hash"), {}
  for i, field in ipairs(hash and hash:keys() or {}) do
    values[i] = hash:get(field)
  end
  return values
end

local function hlen(keys, argv)
  local hash = keys:find(argv[1], "hash")
  return hash and hash.count or 0
end

local function hexists(keys, argv)
  local hash = keys:find(argv[1], "hash")
  return hash and hash:get(argv[2]) and 1 or 0
end

local function hincrby(keys, argv)
  local increment = number.integer(argv[3])
  local hash = keys:open(argv[1], "hash")
  local old = hash:get(argv[2]) or "0"
  local sum = number.add(
    number.integer(old, "ERR hash value is not an integer"),
    increment
  )
  hash:set(argv[2], ("%d"):format(sum))
  return number.as_reply(sum)
end

return {
  HDEL = { arity = -3, run = hdel, writes = true },
  HEXISTS = { arity = 3, run = hexists },
  HGET = { arity = 3, run = hget },
  HGETALL = { arity = 2, run = hgetall },
  HINCRBY = { arity = 4, run = hincrby, writes = true },
  HKEYS = { arity = 2, run = hkeys },
  HLEN = { arity = 2, run = hlen },
  HMGET = { arity = -3, run = hmget },
  HRANDFIELD = { arity = 3, run = hrandfield },
  HSET = { arity = -4, run = hset, writes = true },
  HSETNX = { arity = 4, run = hsetnx, writes = true },
  HSTRLEN = { arity = 3, run = hstrlen },
  HVALS = { arity = 2, run = hvals },
}
