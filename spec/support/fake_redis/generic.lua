--- The commands on keys of any type, and those without a key.
-- @module spec.support.fake_redis.generic

local number = require("spec.support.fake_redis.number")
local options = require("spec.support.fake_redis.options")
local reply = require("spec.support.fake_redis.reply")

local EXPIRE_OPTIONS <const> = { GT = 0, LT = 0, NX = 0, XX = 0 }
local SCAN_OPTIONS <const> = { COUNT = 1, MATCH = 1, TYPE = 1 }

local function del(keys, argv)
  local deleted = 0
  for _, key in ipairs(argv) do
    if keys:delete(key) then
      deleted = deleted + 1
    end
  end
  return deleted
end

local function exists(keys, argv)
  local found = 0
  for _, key in ipairs(argv) do
    if keys:entry(key) then
      found = found + 1
    end
  end
  return found
end

local function key_type(keys, argv)
  local entry = keys:entry(argv[1])
  return reply.status(entry and entry.type or "none")
end

-- What expires goes on to do so under its new name.
local function rename(keys, argv)
  local entry = keys:entry(argv[1])
  if not entry then
    reply.fail("ERR no such key")
  end
  keys.entries[argv[1]] = nil
  keys.entries[argv[2]] = entry
  return reply.status("OK")
end

local function read_expire_options(argv)
  local found, at = options.read(argv, 3, EXPIRE_OPTIONS)
  if argv[at] then
    reply.fail("ERR Unsupported option " .. argv[at])
  end
  if found.NX and (found.XX or found.GT or found.LT) then
    reply.fail(
      "ERR NX and XX, GT or LT options at the same time are not compatible"
    )
  end
  if found.GT and found.LT then
    reply.fail("ERR GT and LT options at the same time are not compatible")
  end
  return found
end

-- A key that never expires counts as one that expires last.
local function may_expire(found, old_ms, new_ms)
  return not (found.NX and old_ms)
    and not (found.XX and not old_ms)
    and not (found.GT and new_ms <= (old_ms or math.huge))
    and not (found.LT and new_ms >= (old_ms or math.huge))
end

local function expire(keys, key, new_ms, found)
  local entry = keys:entry(key)
  if not entry or not may_expire(found, entry.expires_ms, new_ms) then
    return 0
  end
  if new_ms <= keys.now_ms then
    keys:delete(key)
  else
    entry.expires_ms = new_ms
  end
  return 1
end

local function expirer(name, unit_ms, is_absolute)
  return function(keys, argv)
    local found = read_expire_options(argv)
    local time = number.integer(argv[2])
    local base_ms = is_absolute and 0 or keys.now_ms
    if
      time > (math.maxinteger - base_ms) // unit_ms
      or time < math.mininteger // unit_ms
    then
      reply.fail(("ERR invalid expire time in '%s' command"):format(name))
    end
    return expire(keys, argv[1], base_ms + time * unit_ms, found)
  end
end

local function persist(keys, argv)
  local entry = keys:entry(argv[1])
  if not entry or not entry.expires_ms then
    return 0
  end
  entry.expires_ms = nil
  return 1
end

local function pttl(keys, argv)
  local entry = keys:entry(argv[1])
  if not entry then
    return -2
  end
  return entry.expires_ms and entry.expires_ms - keys.now_ms or -1
end

local function ttl(keys, argv)
  local left_ms = pttl(keys, argv)
  return left_ms < 0 and left_ms or (left_ms + 500) // 1000
end

local function time(keys)
  local ms = keys.now_ms
  return {
    ("%d"):format(ms // 1000),
    ("%d"):format(ms % 1000 * 1000),
  }
end

local function publish()
  return 0
end

-- Of the glob signs `*` and `?`; the others stand for themselves.
local function to_lua_pattern(glob)
  local pattern = glob:gsub("[%^%$%(%)%%%.%+%-%[%]]", "%%%0")
  return "^" .. pattern:gsub("%*", ".*"):gsub("%?", ".") .. "$"
end

local function matching(keys, glob, kind)
  local pattern, found = to_lua_pattern(glob), {}
  for _, key in ipairs(keys:names()) do
    local is_kind = not kind or keys:entry(key).type == kind
    if is_kind and key:find(pattern) then
      found[#found + 1] = key
    end
  end
  return found
end

local function keys_matching(keys, argv)
  return matching(keys, argv[1])
end

local function scan(keys, argv)
  local found = options.read_all(argv, 2, SCAN_OPTIONS)
  return { "0", matching(keys, found.MATCH or "*", found.TYPE) }
end

local function dbsize(keys)
  return #keys:names()
end

return {
  DBSIZE = { arity = 1, run = dbsize, first_key = 0, specs_only = true },
  DEL = { arity = -2, run = del, writes = true, last_key = -1 },
  EXISTS = { arity = -2, run = exists, last_key = -1 },
  EXPIRE = { arity = -3, run = expirer("expire", 1000), writes = true },
  KEYS = { arity = 2, run = keys_matching, first_key = 0, specs_only = true },
  PERSIST = { arity = 2, run = persist, writes = true },
  PEXPIRE = { arity = -3, run = expirer("pexpire", 1), writes = true },
  PEXPIREAT = {
    arity = -3,
    run = expirer("pexpireat", 1, true),
    writes = true,
  },
  PTTL = { arity = 2, run = pttl },
  PUBLISH = { arity = 3, run = publish, first_key = 0 },
  RENAME = { arity = 3, run = rename, writes = true, last_key = 2 },
  SCAN = { arity = -2, run = scan, first_key = 0, specs_only = true },
  TIME = { arity = 1, run = time, first_key = 0 },
  TTL = { arity = 2, run = ttl },
  TYPE = { arity = 2, run = key_type },
  UNLINK = { arity = -2, run = del, writes = true, last_key = -1 },
}
