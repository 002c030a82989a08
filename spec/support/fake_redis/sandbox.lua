--- The globals of a function library, as Redis 7.0 has them.
--
-- While a library is loaded it sees `redis.register_function` and nothing
-- else: not `string`, not `redis.call`. While a function runs it sees the
-- names of Lua 5.1 that Redis lets through, those of them at least that mean
-- the same in 5.1 and 5.4. Any other global is an error, read or written.
-- @module spec.support.fake_redis.sandbox

local cmsgpack = require("spec.support.fake_redis.cmsgpack")

local sandbox = {}

-- Lua 5.1 in Redis has a C stack of this many values.
local UNPACKED_MAX <const> = 8000
local LIBRARY_NAMES <const> = {
  math = "abs acos asin atan ceil cos deg exp floor fmod huge log max min"
    .. " modf pi rad sin sqrt tan",
  string = "byte char find format gmatch gsub len lower match rep reverse sub"
    .. " upper",
  table = "concat insert remove sort",
}
local BASE_NAMES <const> = "assert error getmetatable ipairs next pairs"
  .. " rawequal rawget rawset select setmetatable tonumber type xpcall"

local function refuse_global(_, name)
  error(
    ("Script attempted to access nonexistent global variable '%s'"):format(
      tostring(name)
    ),
    2
  )
end

local function refuse_change()
  error("Attempt to modify a readonly table", 2)
end

local function strict(names)
  return setmetatable(names, { __index = refuse_global })
end

local function readonly(names)
  return setmetatable({}, { __index = names, __newindex = refuse_change })
end

local function chosen(library, names)
  local copy = {}
  for name in names:gmatch("%S+") do
    copy[name] = assert(library[name], name)
  end
  return copy
end

local function unpack_5_1(list, from, to)
  from, to = from or 1, to or #list
  if to - from + 4 > UNPACKED_MAX then
    error("too many results to unpack", 2)
  end
  return table.unpack(list, from, to)
end

local function tostring_5_1(value)
  if type(value) == "number" then
    return ("%.14g"):format(value)
  end
  return tostring(value)
end

-- Redis hands out the text of an error table.
local function caught(ok, problem, ...)
  if not ok and type(problem) == "table" and problem.err then
    return false, problem.err
  end
  return ok, problem, ...
end

local function pcall_of_redis(...)
  return caught(pcall(...))
end

local function error_reply(text)
  if type(text) ~= "string" then
    return { err = "ERR wrong number or type of arguments" }
  end
  local code, rest = text:match("^%-?(%S+) (.*)$")
  return { err = code and code .. " " .. rest or "ERR " .. text }
end

local function status_reply(text)
  if type(text) ~= "string" then
    return { err = "ERR wrong number or type of arguments" }
  end
  return { ok = text }
end

local function setresp(version)
  if version ~= 2 then
    error("the fake speaks RESP2 only", 2)
  end
end

local function run_names(execute)
  local names = chosen(_G, BASE_NAMES)
  for library, members in pairs(LIBRARY_NAMES) do
    names[library] = readonly(chosen(_G[library], members))
  end
  names._VERSION = "Lua 5.1"
  names.cmsgpack = readonly(cmsgpack)
  names.pcall = pcall_of_redis
  names.tostring = tostring_5_1
  names.unpack = unpack_5_1
  names.redis = readonly {
    call = function(...)
      local result = execute(...)
      if type(result) == "table" and result.err then
        error(result, 0)
      end
      return result
    end,
    error_reply = error_reply,
    pcall = execute,
    setresp = setresp,
    status_reply = status_reply,
  }
  return names
end

--- The environment of one library.
-- @tparam function execute a command and its arguments to its reply, where a
-- failure is a reply too
-- @tparam function register what `redis.register_function` does
-- @treturn table the environment, in which a library can be loaded
-- @treturn function to be called once, when it has been loaded
function sandbox.new(execute, register)
  local meta = { __newindex = refuse_change, __metatable = false }
  local environment = setmetatable({}, meta)
  meta.__index =
    strict { redis = readonly(strict { register_function = register }) }
  return environment, function()
    local names = run_names(execute)
    names._G = environment
    meta.__index = strict(names)
  end
end

return sandbox
