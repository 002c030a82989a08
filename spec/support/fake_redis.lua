--- An in-memory Redis for specs: the commands that the shipped functions use,
-- with the replies that a script gets, under a clock that the spec moves.
--
-- Nothing happens but by a call: the same calls from the same seed give the
-- same replies. What it cannot do it refuses; `spec/integration` compares it
-- with a real server, command by command.
--
--    local fake = fake_redis.new { tag = "{default.0}" }
--    fake:call("RPUSH", "te:{default.0}:r", "a")    -- 1
--    fake:advance(1500)
-- @module spec.support.fake_redis

local dump = require("spec.support.fake_redis.dump")
local keyspace = require("spec.support.fake_redis.keyspace")

local fake_redis = {}

local Fake = {}
Fake.__index = Fake

local GROUPS <const> = {
  "generic",
  "hashes",
  "lists",
  "sets",
  "streams",
  "strings",
  "zranges",
  "zsets",
}
local OPTIONS <const> = { seed = true, tag = true, time_ms = true }
local TIME_MS_DEFAULT <const> = 1700000000000
local SPEC <const> = {}
local BAD_ARITY <const> =
  "ERR Wrong number of args calling Redis command from script"

local function load_commands()
  local commands = {}
  for _, group in ipairs(GROUPS) do
    for name, command in pairs(require("spec.support.fake_redis." .. group)) do
      commands[name] = command
    end
  end
  return commands
end

local commands = load_commands()

--- An empty server.
-- @tparam[opt] table opts `tag`: the hash tag that every key must carry, such
-- as `"{default.0}"` (default: any key will do); `seed` of the commands that
-- choose by chance (1); `time_ms`, the time at the start
-- @treturn Fake
-- @raise for an unknown option
function fake_redis.new(opts)
  opts = opts or {}
  for name in pairs(opts) do
    if not OPTIONS[name] then
      error(("unknown option %q"):format(name), 2)
    end
  end
  return setmetatable({
    keys = keyspace.new(opts.seed or 1, opts.time_ms or TIME_MS_DEFAULT),
    tag = opts.tag,
  }, Fake)
end

--- Sets the clock, forwards or backwards.
-- @tparam int ms since 1970
function Fake:set_time_ms(ms)
  self.keys.now_ms = assert(math.tointeger(ms), "not an integer")
end

--- Moves the clock.
-- @tparam int ms
function Fake:advance(ms)
  self:set_time_ms(self.keys.now_ms + ms)
end

--- The clock.
-- @treturn int milliseconds since 1970
function Fake:time_ms()
  return self.keys.now_ms
end

--- The error reply for a key outside the shard.
-- @tparam string key
-- @treturn ?table
function Fake:refuse_key(key)
  if not self.tag or key:match("{[^}]+}") == self.tag then
    return nil
  end
  return { err = ("CROSSSLOT key '%s' is not of %s"):format(key, self.tag) }
end

local function refuse_keys(self, command, argv)
  local first = command.first_key or 1
  local last = command.last_key or first
  if last < 0 then
    last = #argv
  end
  for i = math.max(first, 1), last, command.step or 1 do
    local refusal = self:refuse_key(argv[i])
    if refusal then
      return refusal
    end
  end
  return nil
end

local function refuse(self, caller, name, command, argv)
  if not command then
    local text = "ERR Unknown Redis command called from script: the fake has"
    return { err = ("%s no %s"):format(text, name) }
  end
  local arity, count = command.arity, #argv + 1
  if (arity > 0 and count ~= arity) or count < -arity then
    return { err = BAD_ARITY }
  end
  if command.specs_only and caller ~= SPEC then
    return { err = ("ERR %s is for specs: a step is O(1)"):format(name) }
  end
  if command.writes and caller.is_read_only then
    return {
      err = "ERR Write commands are not allowed from read-only scripts.",
    }
  end
  return self.tag and refuse_keys(self, command, argv)
end

-- Turns the arguments into strings as Redis does; false when it cannot.
local function to_strings(argv, count)
  for i = 1, count do
    local kind = type(argv[i])
    if kind == "number" then
      argv[i] = ("%.17g"):format(argv[i])
    elseif kind ~= "string" then
      return false
    end
  end
  return true
end

-- A command raises its error reply; any other error is a fault of the fake.
local function on_error(problem)
  return type(problem) == "table" and problem or debug.traceback(problem)
end

--- Runs one command on behalf of a function.
-- @tparam table caller `is_read_only`
-- @param ... the command's name and its arguments, strings or numbers
-- @return the reply; `{ err = text }` when the command fails
function Fake:execute(caller, ...)
  local name, argv, count = ..., { select(2, ...) }, select("#", ...) - 1
  if count < 0 then
    return {
      err = "ERR Please specify at least one argument for this redis lib call",
    }
  end
  if type(name) ~= "string" or not to_strings(argv, count) then
    return {
      err = "ERR Lua redis lib command arguments must be strings or integers",
    }
  end
  local command = commands[name] or commands[name:upper()]
  local refusal = refuse(self, caller, name, command, argv)
  if refusal then
    return refusal
  end
  local ok, result = xpcall(command.run, on_error, self.keys, argv)
  if not ok and type(result) == "string" then
    error(result, 0)
  end
  return result
end

--- Runs one command.
-- @param ... its name and its arguments, strings or numbers
-- @return the reply as a script sees it; `{ err = text }` when it fails
function Fake:pcall(...)
  return self:execute(SPEC, ...)
end

--- Runs one command that must succeed.
-- @param ... its name and its arguments, strings or numbers
-- @return the reply as a script sees it
-- @raise the text of an error reply
function Fake:call(...)
  local result = self:execute(SPEC, ...)
  if type(result) == "table" and result.err then
    error(result.err, 2)
  end
  return result
end

--- All keys and what they hold, as `dump.of_keys` says.
-- @treturn table
function Fake:dump()
  return dump.of_keys(self.keys)
end

return fake_redis
