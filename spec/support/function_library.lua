--- A library of Redis functions, run in this process over an in-memory Redis.
--
-- The text is the one that `FUNCTION LOAD` takes, unchanged: Lua 5.1 behind
-- `#!lua name=...`. It sees what Redis would let it see and nothing more, so
-- a name that Redis lacks fails here too.
--
--    local fake = fake_redis.new { tag = "{default.0}" }
--    local library = assert(function_library.load(text, fake))
--    local reply, problem = library:fcall("enqueue", keys, args)
-- @module spec.support.function_library

local sandbox = require("spec.support.fake_redis.sandbox")

local function_library = {}

local Library = {}
Library.__index = Library

-- Redis' name for a library's text in error messages.
local CHUNK <const> = "@user_function"
local NAME_RULE <const> = "ERR Library names can only contain letters, numbers,"
  .. " or underscores(_) and must be at least one character long"
local REGISTER <const> = "redis.register_function"
local FLAGS <const> = {
  ["allow-cross-slot-keys"] = true,
  ["allow-oom"] = true,
  ["allow-stale"] = true,
  ["no-cluster"] = true,
  ["no-writes"] = true,
}
local ARGUMENTS <const> = {
  callback = true,
  flags = true,
  function_name = true,
}

-- Put in front of a library's text, on its first line so that the others keep
-- their numbers. Redis shows `redis.call` only while a function runs, hence
-- `_G`.
local CLOCK <const> = [[
local redis = (function(loading)
  local function timed(run)
    return function(name, ...)
      if name ~= "TIME" then
        return _G.redis[run](name, ...)
      end
      local ms = tonumber(_G.redis.call("GET", KEY))
      return { string.format("%.0f", math.floor(ms / 1000)),
        string.format("%.0f", ms % 1000 * 1000) }
    end
  end
  return {
    call = timed("call"),
    pcall = timed("pcall"),
    error_reply = function(text) return _G.redis.error_reply(text) end,
    status_reply = function(text) return _G.redis.status_reply(text) end,
    register_function = loading.register_function,
  }
end)(redis) ]]

local function fail(text)
  error({ err = "ERR " .. text }, 0)
end

local function check_name(name)
  if not name:find("^[%w_]+$") then
    error({ err = NAME_RULE }, 0)
  end
end

local function read_flags(list)
  local flags = {}
  for _, flag in ipairs(list or {}) do
    if not FLAGS[flag] then
      fail("unknown flag given")
    end
    flags[flag] = true
  end
  return flags
end

local function check_pair(name, callback)
  if type(name) ~= "string" then
    fail(("first argument to %s must be a string"):format(REGISTER))
  elseif type(callback) ~= "function" then
    fail(("second argument to %s must be a function"):format(REGISTER))
  end
end

-- Both forms of redis.register_function as the one with names.
local function named_arguments(...)
  local count, first, callback = select("#", ...), ...
  if count == 2 then
    check_pair(first, callback)
    return { function_name = first, callback = callback }
  elseif count ~= 1 then
    fail("wrong number of arguments to " .. REGISTER)
  elseif type(first) ~= "table" then
    fail(("calling %s with a single argument is only applicable to Lua table"
      .. " (representing named arguments)."):format(REGISTER))
  end
  return first
end

local function check_arguments(named)
  for name in pairs(named) do
    if not ARGUMENTS[name] then
      fail("unknown argument given to " .. REGISTER)
    end
  end
  if not named.function_name then
    fail(REGISTER .. " must get a function name argument")
  elseif not named.callback then
    fail(REGISTER .. " must get a callback argument")
  elseif type(named.callback) ~= "function" then
    fail(("callback argument given to %s must be a function"):format(REGISTER))
  end
end

local function register(functions, ...)
  local named = named_arguments(...)
  check_arguments(named)
  check_name(named.function_name)
  if functions[named.function_name] then
    fail("Function already exists in the library")
  end
  functions[named.function_name] = {
    callback = named.callback,
    flags = read_flags(named.flags),
  }
end

-- The library's name in the words after the engine's.
local function read_metadata(words)
  local name
  for word in words:gmatch("%S+") do
    name = word:match("^name=(.*)$")
    if not name then
      return nil, "ERR Invalid metadata value given: " .. word
    elseif not name:find("^[%w_]+$") then
      return nil, NAME_RULE
    end
  end
  return name, "ERR Library name was not given"
end

-- Returns the library's name and the text with an empty line for the first.
local function read_header(text)
  local engine, words, body = text:match("^#!(%S*)([^\n]*)\n(.*)$")
  if not engine then
    return nil, "ERR Missing library metadata"
  elseif engine ~= "lua" then
    return nil, ("ERR Engine '%s' not found"):format(engine)
  end
  local name, refusal = read_metadata(words)
  return name, name and "\n" .. body or refusal
end

local function text_of(problem)
  return type(problem) == "table" and problem.err
    or "ERR " .. tostring(problem)
end

--- Loads a library as `FUNCTION LOAD` does.
-- @tparam string text
-- @tparam Fake fake what `redis.call` talks to
-- @treturn[1] Library
-- @return[2] nil
-- @treturn[2] string the error reply
function function_library.load(text, fake)
  local name, body = read_header(text)
  if not name then
    return nil, body
  end
  local functions, caller = {}, {}
  local environment, finish = sandbox.new(function(...)
    return fake:execute(caller, ...)
  end, function(...)
    return register(functions, ...)
  end)
  local chunk, problem = load(body, CHUNK, "t", environment)
  if not chunk then
    return nil, "ERR Error compiling function: " .. problem
  end
  local ok, raised = pcall(chunk)
  if not ok then
    return nil, "ERR Error registering functions: " .. text_of(raised)
  elseif not next(functions) then
    return nil, "ERR No functions registered"
  end
  finish()
  return setmetatable(
    { caller = caller, fake = fake, functions = functions, name = name },
    Library
  )
end

--- The same library with its clock in a key, so that a real server can repeat
-- what happened under the clock of a fake. Times to live still pass by the
-- server's own.
-- @tparam string text
-- @tparam string key holds milliseconds since 1970 as a string
-- @treturn string
function function_library.clocked(text, key)
  local clock = CLOCK:gsub("%s+", " "):gsub("KEY", ("%q"):format(key))
  local header, body = text:match("^([^\n]*\n)(.*)$")
  return header .. clock .. body
end

-- The number that a reply holds: what C leaves of it.
local function truncated(value)
  local whole = value < 0 and math.ceil(value) or math.floor(value)
  return assert(math.tointeger(whole), "a number beyond 64 bits in a reply")
end

local to_reply

local function to_array(value)
  local array = {}
  for i, item in ipairs(value) do
    array[i] = to_reply(item)
  end
  return array
end

-- What a client gets for a function's value; null is false.
function to_reply(value)
  local kind = type(value)
  if kind == "string" then
    return value
  elseif kind == "number" then
    return truncated(value)
  elseif kind == "boolean" then
    return value and 1
  elseif kind ~= "table" then
    return false
  elseif type(value.err) == "string" then
    return { err = value.err }
  elseif type(value.ok) == "string" then
    return { ok = value.ok }
  end
  return to_array(value)
end

-- Adds where it happened, as Redis does; a tail call hides its line here.
local function describe(problem, name)
  if type(problem) == "table" and not problem.err then
    return { fault = "an error table without `err` crashes Redis 7.0" }
  end
  local level, at = 2, debug.getinfo(2, "Sl")
  while at and at.source ~= CHUNK do
    level = level + 1
    at = debug.getinfo(level, "Sl")
  end
  return {
    err = ("%s script: %s, on %s:%s."):format(
      text_of(problem),
      name,
      CHUNK,
      at and at.currentline or "?"
    ),
  }
end

local function as_strings(list, what)
  local strings = {}
  for i, item in ipairs(list or {}) do
    if type(item) ~= "string" and math.type(item) ~= "integer" then
      error(("%s[%d] is neither string nor integer"):format(what, i), 3)
    end
    strings[i] = tostring(item)
  end
  return strings
end

local function refuse_keys(fake, keys)
  for _, key in ipairs(keys) do
    local refusal = fake:refuse_key(key)
    if refusal then
      return refusal.err
    end
  end
  return nil
end

--- Calls a function as `FCALL` does, and converts its value as Redis would:
-- numbers cut to integers, arrays cut at the first nil, true as 1.
-- @tparam string name
-- @tparam[opt] table keys strings
-- @tparam[opt] table args strings or integers
-- @return[1] an integer, a string, `{ ok = text }`, an array, in which null is
-- `false` and an error `{ err = text }`, or nil for null
-- @return[2] nil
-- @treturn[2] string the error reply
-- @raise for an argument of another type, and where Redis itself would crash
function Library:fcall(name, keys, args)
  keys, args = as_strings(keys, "keys"), as_strings(args, "args")
  local called = self.functions[name]
  local refusal = not called and "ERR Function not found"
    or refuse_keys(self.fake, keys)
  if refusal then
    return nil, refusal
  end
  self.caller.is_read_only = called.flags["no-writes"]
  local ok, result = xpcall(called.callback, function(problem)
    return describe(problem, name)
  end, keys, args)
  if not ok and result.fault then
    error(result.fault, 2)
  end
  local converted = to_reply(result)
  if type(converted) == "table" and converted.err then
    return nil, converted.err
  end
  return converted or nil
end

return function_library
