--- The commands on sets.
-- @module spec.support.fake_redis.sets

local dict = require("spec.support.fake_redis.dict")
local number = require("spec.support.fake_redis.number")
local reply = require("spec.support.fake_redis.reply")

local function sadd(keys, argv)
  local set, added = keys:open(argv[1], "set"), 0
  for i = 2, #argv do
    if set:set(argv[i], true) then
      added = added + 1
    end
  end
  return added
end

local function srem(keys, argv)
  return keys:remove(argv[1], "set", argv)
end

local function scard(keys, argv)
  local set = keys:find(argv[1], "set")
  return set and set.count or 0
end

local function smembers(keys, argv)
  local set = keys:find(argv[1], "set")
  return set and set:keys() or {}
end

local function sismember(keys, argv)
  local set = keys:find(argv[1], "set")
  return set and set:get(argv[2]) and 1 or 0
end

local function smismember(keys, argv)
  local set, found = keys:find(argv[1], "set"), {}
  for i = 2, #argv do
    found[i - 1] = set and set:get(argv[i]) and 1 or 0
  end
  return found
end

local function pop_one(keys, set)
  local member = set:pick(keys.random)
  set:delete(member)
  return member
end

local function spop(keys, argv)
  if #argv > 2 then
    reply.fail(reply.SYNTAX)
  end
  local count = argv[2] and number.count(argv[2])
  local set = keys:find(argv[1], "set")
  if not set then
    return count and {} or false
  end
  local members = {}
  for i = 1, math.min(count or 1, set.count) do
    members[i] = pop_one(keys, set)
  end
  keys:settle(argv[1])
  return count and members or members[1]
end

-- Different members for a positive count, any for a negative one.
local function sample(keys, set, count)
  local members = {}
  if count < 0 then
    for i = 1, -count do
      members[i] = set:pick(keys.random)
    end
    return members
  end
  local rest = dict.new()
  for _, member in ipairs(set:keys()) do
    rest:set(member, true)
  end
  for i = 1, math.min(count, set.count) do
    members[i] = pop_one(keys, rest)
  end
  return members
end

local function srandmember(keys, argv)
  if #argv > 2 then
    reply.fail(reply.SYNTAX)
  end
  local count = argv[2] and number.integer(argv[2])
  local set = keys:find(argv[1], "set")
  if not set then
    return count and {} or false
  end
  if count then
    return sample(keys, set, count)
  end
  return set:pick(keys.random)
end

-- The members of the first set that `keep` accepts, given how many of the
-- other sets have them and how many other sets there are.
local function combine(keys, argv, keep)
  local sets = {}
  for i, key in ipairs(argv) do
    sets[i] = keys:find(key, "set") or dict.new()
  end
  local members = {}
  for _, member in ipairs(sets[1]:keys()) do
    local having = 0
    for i = 2, #sets do
      having = having + (sets[i]:get(member) and 1 or 0)
    end
    if keep(having, #sets - 1) then
      members[#members + 1] = member
    end
  end
  return members
end

local function sdiff(keys, argv)
  return combine(keys, argv, function(having)
    return having == 0
  end)
end

local function sinter(keys, argv)
  return combine(keys, argv, function(having, others)
    return having == others
  end)
end

return {
  SADD = { arity = -3, run = sadd, writes = true },
  SCARD = { arity = 2, run = scard },
  SDIFF = { arity = -2, run = sdiff, last_key = -1 },
  SINTER = { arity = -2, run = sinter, last_key = -1 },
  SISMEMBER = { arity = 3, run = sismember },
  SMEMBERS = { arity = 2, run = smembers },
  SMISMEMBER = { arity = -3, run = smismember },
  SPOP = { arity = -2, run = spop, writes = true },
  SRANDMEMBER = { arity = -2, run = srandmember },
  SREM = { arity = -3, run = srem, writes = true },
}
