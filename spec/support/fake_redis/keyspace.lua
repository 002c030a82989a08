--- The keys, their values and when they expire.
--
-- Time is a field that specs move. A key whose time has passed is deleted by
-- whoever looks for it, and an aggregate that becomes empty is deleted by
-- whoever emptied it, so that neither is ever seen.
-- @module spec.support.fake_redis.keyspace

local deque = require("spec.support.fake_redis.deque")
local dict = require("spec.support.fake_redis.dict")
local random = require("spec.support.fake_redis.random")
local reply = require("spec.support.fake_redis.reply")
local sorted = require("spec.support.fake_redis.sorted")
local stream = require("spec.support.fake_redis.stream")

local keyspace = {}

local Keyspace = {}
Keyspace.__index = Keyspace

local NEW <const> = {
  hash = dict.new,
  list = deque.new,
  set = dict.new,
  stream = stream.new,
  zset = sorted.new,
}

--- No keys yet.
-- @tparam int seed of the commands that choose by chance
-- @tparam int now_ms
-- @treturn Keyspace
function keyspace.new(seed, now_ms)
  return setmetatable(
    { entries = {}, now_ms = now_ms, random = random.new(seed) },
    Keyspace
  )
end

--- The entry of a key: `type`, `value` and `expires_ms`, nil for never.
-- @tparam string key
-- @treturn ?table
function Keyspace:entry(key)
  local entry = self.entries[key]
  if entry and entry.expires_ms and self.now_ms > entry.expires_ms then
    self.entries[key] = nil
    return nil
  end
  return entry
end

--- The value of a key.
-- @tparam string key
-- @tparam string kind the type that it must have
-- @return the value, or nil when there is no such key
-- @raise WRONGTYPE
function Keyspace:find(key, kind)
  local entry = self:entry(key)
  if not entry then
    return nil
  end
  if entry.type ~= kind then
    reply.fail(reply.WRONG_TYPE)
  end
  return entry.value
end

--- The value of a key, made when there is none. An aggregate made here must
-- be filled, or given to @{settle}.
-- @tparam string key
-- @tparam string kind an aggregate's
-- @return the value
-- @raise WRONGTYPE
function Keyspace:open(key, kind)
  local value = self:find(key, kind)
  if not value then
    value = NEW[kind]()
    self.entries[key] = { type = kind, value = value }
  end
  return value
end

--- Deletes the key of an aggregate that has become empty.
-- @tparam string key
function Keyspace:settle(key)
  local entry = self.entries[key]
  if entry and entry.value.count == 0 then
    self.entries[key] = nil
  end
end

--- Deletes members of an aggregate.
-- @tparam string key
-- @tparam string kind the aggregate's
-- @tparam {string,...} argv a command's, with the members from the second on
-- @treturn int how many there were
-- @raise WRONGTYPE
function Keyspace:remove(key, kind, argv)
  local value, deleted = self:find(key, kind), 0
  if not value then
    return 0
  end
  for i = 2, #argv do
    if value:delete(argv[i]) then
      deleted = deleted + 1
    end
  end
  self:settle(key)
  return deleted
end

--- Puts a string in place of whatever a key held.
-- @tparam string key
-- @tparam string value
-- @tparam[opt] int expires_ms
function Keyspace:put(key, value, expires_ms)
  self.entries[key] = {
    type = "string",
    value = value,
    expires_ms = expires_ms,
  }
end

--- Deletes a key.
-- @tparam string key
-- @treturn boolean whether it was there
function Keyspace:delete(key)
  local existed = self:entry(key) ~= nil
  self.entries[key] = nil
  return existed
end

--- All keys, sorted.
-- @treturn {string,...}
function Keyspace:names()
  local names = {}
  for key in pairs(self.entries) do
    names[#names + 1] = key
  end
  local alive = {}
  for _, key in ipairs(names) do
    if self:entry(key) then
      alive[#alive + 1] = key
    end
  end
  table.sort(alive)
  return alive
end

return keyspace
