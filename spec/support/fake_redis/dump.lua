--- Everything that a server holds, as a table that can be compared.
--
-- A dump has for each key `type`, `ttl_ms` (nil for never) and `value`: the
-- text of a string; a table from field to value for a hash; the elements of a
-- list; the sorted members of a set; the members and scores of a sorted set
-- in turn, in its order; the entries `{ id, { field, value, ... } }` of a
-- stream.
-- @module spec.support.fake_redis.dump

local cmsgpack = require("spec.support.fake_redis.cmsgpack")
local number = require("spec.support.fake_redis.number")
local remote = require("spec.support.fake_redis.remote")

local dump = {}

-- Runs in the server: all keys as { key, type, ttl, value }, MessagePack in
-- hexadecimal.
local SCRIPT <const> = [[
local readers = {
  hash = { "HGETALL" },
  list = { "LRANGE", 0, -1 },
  set = { "SMEMBERS" },
  stream = { "XRANGE", "-", "+" },
  string = { "GET" },
  zset = { "ZRANGE", 0, -1, "WITHSCORES" },
}
local keys, entries = redis.call("KEYS", "*"), {}
for i, key in ipairs(keys) do
  local kind = redis.call("TYPE", key).ok
  local reader = readers[kind]
  entries[i] = { key, kind, redis.call("PTTL", key),
    redis.call(reader[1], key, unpack(reader, 2)) }
end
return (string.gsub(cmsgpack.pack(entries), ".", function(byte)
  return string.format("%02x", string.byte(byte))
end))
]]

local function sorted_copy(members)
  local copy = table.move(members, 1, #members, 1, {})
  table.sort(copy)
  return copy
end

local FROM_KEYS <const> = {
  hash = function(hash)
    local fields = {}
    for _, field in ipairs(hash:keys()) do
      fields[field] = hash:get(field)
    end
    return fields
  end,
  list = function(list)
    return list:slice(1, list.count)
  end,
  set = function(set)
    return sorted_copy(set:keys())
  end,
  stream = function(stream)
    return stream.entries:slice(1, stream.entries.count)
  end,
  string = function(text)
    return text
  end,
  zset = function(zset)
    local flat = {}
    for i, member in ipairs(zset:slice(1, zset.count)) do
      flat[2 * i - 1] = member
      flat[2 * i] = number.format_score(zset:score(member))
    end
    return flat
  end,
}

local function fields_of(flat)
  local fields = {}
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end

local FROM_REPLY <const> = { hash = fields_of, set = sorted_copy }

--- What a fake holds.
-- @tparam Keyspace keys
-- @treturn table
function dump.of_keys(keys)
  local result = {}
  for _, key in ipairs(keys:names()) do
    local entry = keys:entry(key)
    result[key] = {
      type = entry.type,
      ttl_ms = entry.expires_ms and entry.expires_ms - keys.now_ms,
      value = FROM_KEYS[entry.type](entry.value),
    }
  end
  return result
end

--- What a real server holds.
-- @tparam string socket the server's
-- @treturn table
function dump.of_server(socket)
  local line = remote.run(socket, { { "EVAL", SCRIPT, 0 } })[1]
  local result = {}
  for _, entry in ipairs(cmsgpack.unpack(remote.from_hex(line))) do
    local key, kind, ttl_ms, value = table.unpack(entry, 1, 4)
    local convert = FROM_REPLY[kind]
    result[key] = {
      type = kind,
      ttl_ms = ttl_ms >= 0 and ttl_ms or nil,
      value = convert and convert(value) or value,
    }
  end
  return result
end

local function is_same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not is_same(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

local function is_same_entry(a, b, slack_ms)
  if not (a and b) or (a.ttl_ms == nil) ~= (b.ttl_ms == nil) then
    return false
  end
  local apart_ms = math.abs((a.ttl_ms or 0) - (b.ttl_ms or 0))
  return apart_ms <= slack_ms
    and a.type == b.type
    and is_same(a.value, b.value)
end

--- The keys at which two dumps differ.
-- @tparam table a
-- @tparam table b
-- @tparam[opt=0] number slack_ms how far apart times to live may be; with
-- `math.huge` it matters only whether there is one
-- @treturn {string,...} sorted
function dump.difference(a, b, slack_ms)
  local different = {}
  for key, entry in pairs(a) do
    if not is_same_entry(entry, b[key], slack_ms or 0) then
      different[#different + 1] = key
    end
  end
  for key in pairs(b) do
    if not a[key] then
      different[#different + 1] = key
    end
  end
  table.sort(different)
  return different
end

return dump
