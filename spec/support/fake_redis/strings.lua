--- The commands on strings.
-- @module spec.support.fake_redis.strings

local number = require("spec.support.fake_redis.number")
local options = require("spec.support.fake_redis.options")
local reply = require("spec.support.fake_redis.reply")

local SET_OPTIONS <const> = {
  EX = 1,
  GET = 0,
  KEEPTTL = 0,
  NX = 0,
  PX = 1,
  XX = 0,
}

local function get(keys, argv)
  return keys:find(argv[1], "string") or false
end

local function expires_ms(keys, found)
  local text = found.EX or found.PX
  if not text then
    return nil
  end
  local time, unit_ms = number.integer(text), found.EX and 1000 or 1
  if time <= 0 or time > (math.maxinteger - keys.now_ms) // unit_ms then
    reply.fail("ERR invalid expire time in 'set' command")
  end
  return keys.now_ms + time * unit_ms
end

local function exclusive(...)
  local count = 0
  for i = 1, select("#", ...) do
    count = count + (select(i, ...) and 1 or 0)
  end
  if count > 1 then
    reply.fail(reply.SYNTAX)
  end
end

local function set(keys, argv)
  local found = options.read_all(argv, 3, SET_OPTIONS)
  exclusive(found.NX, found.XX)
  exclusive(found.EX, found.PX, found.KEEPTTL)
  local expires = expires_ms(keys, found)
  local old = found.GET and get(keys, argv)
  local entry = keys:entry(argv[1])
  if (found.NX and entry) or (found.XX and not entry) then
    return old or false
  end
  if found.KEEPTTL and entry then
    expires = entry.expires_ms
  end
  keys:put(argv[1], argv[2], expires)
  if found.GET then
    return old
  end
  return reply.status("OK")
end

local function getdel(keys, argv)
  local value = get(keys, argv)
  keys:delete(argv[1])
  return value
end

-- Changes the value and keeps the time when it expires.
local function replace(keys, key, value)
  local entry = keys:entry(key)
  keys:put(key, value, entry and entry.expires_ms)
end

local function increment(keys, key, by)
  local old = number.integer(keys:find(key, "string") or "0")
  local sum = number.add(old, by)
  replace(keys, key, ("%d"):format(sum))
  return number.as_reply(sum)
end

local function incr(keys, argv)
  return increment(keys, argv[1], 1)
end

local function incrby(keys, argv)
  return increment(keys, argv[1], number.integer(argv[2]))
end

local function decr(keys, argv)
  return increment(keys, argv[1], -1)
end

local function append(keys, argv)
  local value = (keys:find(argv[1], "string") or "") .. argv[2]
  replace(keys, argv[1], value)
  return #value
end

local function strlen(keys, argv)
  return #(keys:find(argv[1], "string") or "")
end

-- Positions from 0, those below 0 from the end.
local function getrange(keys, argv)
  local first, last = number.integer(argv[2]), number.integer(argv[3])
  local value = keys:find(argv[1], "string") or ""
  if first < 0 and last < 0 and first > last then
    return ""
  end
  -- No more than there is: one behind the largest integer is the smallest.
  first = first < 0 and math.max(#value + first, 0) or math.min(first, #value)
  last = last < 0 and math.max(#value + last, 0) or math.min(last, #value)
  return value:sub(first + 1, last + 1)
end

local BYTES_MAX <const> = 512 * 1024 * 1024

local function setrange(keys, argv)
  local offset, bytes = number.integer(argv[2]), argv[3]
  if offset < 0 then
    reply.fail("ERR offset is out of range")
  end
  local value = keys:find(argv[1], "string") or ""
  if bytes == "" then
    return #value
  elseif offset > BYTES_MAX - #bytes then
    reply.fail("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
  end
  value = value .. ("\0"):rep(offset - #value)
  replace(keys, argv[1],
    value:sub(1, offset) .. bytes .. value:sub(offset + #bytes + 1))
  return math.max(#value, offset + #bytes)
end

local function mget(keys, argv)
  local values = {}
  for i, key in ipairs(argv) do
    local entry = keys:entry(key)
    values[i] = entry and entry.type == "string" and entry.value or false
  end
  return values
end

local function mset(keys, argv)
  if #argv % 2 == 1 then
    reply.fail_arity("mset")
  end
  for i = 1, #argv, 2 do
    keys:put(argv[i], argv[i + 1])
  end
  return reply.status("OK")
end

return {
  APPEND = { arity = 3, run = append, writes = true },
  DECR = { arity = 2, run = decr, writes = true },
  GET = { arity = 2, run = get },
  GETDEL = { arity = 2, run = getdel, writes = true },
  GETRANGE = { arity = 4, run = getrange },
  INCR = { arity = 2, run = incr, writes = true },
  INCRBY = { arity = 3, run = incrby, writes = true },
  MGET = { arity = -2, run = mget, last_key = -1 },
  MSET = { arity = -3, run = mset, writes = true, last_key = -1, step = 2 },
  SET = { arity = -3, run = set, writes = true },
  SETRANGE = { arity = 4, run = setrange, writes = true },
  STRLEN = { arity = 2, run = strlen },
}
