--- What a bound task gets as its first argument: itself.
-- @module taskengine.bound

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local core = require("taskengine.core")

local bound = {}

local LEVELS <const> = { "debug", "info", "warn", "error" }
local is_level = check.one_of(LEVELS)

--- A running task, as it sees itself.
-- @type Self
-- @tfield ?string id nil when it was called as a function, here and now
-- @tfield string name
-- @tfield int retries how often it was retried
-- @tfield table args its arguments, `args.n` of them
-- @tfield table headers what the caller sent along
-- @tfield ?string root_id the task that began it all; its own id if it did
-- @tfield ?string parent_id the task that sent it
-- @tfield ?string queue
-- @tfield ?string worker the name of the worker
local Self = { __name = "taskengine.Self" }

--- Writes a line to the worker's log, with the task's id.
-- @tparam string level debug, info, warn or error
-- @tparam string text
function Self:log(level, text)
  if not is_level(level) then
    caller.raise(check.problem("log: level", is_level, level))
  elseif type(text) ~= "string" then
    caller.raise(check.problem("log: text", check.string, text))
  end
  rawget(self, "_write")(level, text)
end

-- What the header says is read when somebody asks for it.
local from_header = {
  queue = function(header)
    return header.queue
  end,
  retries = function(header)
    return header.attempt
  end,
}

function Self:__index(name)
  local method = Self[name]
  if method ~= nil then
    return method
  end
  local read, envelope = from_header[name], rawget(self, "_envelope")
  if read and envelope then
    local value = read(core.envelope.read(envelope))
    rawset(self, name, value)
    return value
  end
end

--- Makes the self of a task that came out of Redis.
-- @tparam table about `id`, `name`, `extra`, `worker`
-- @tparam string envelope
-- @tparam table args with `n`
-- @tparam function write gets a level and a text
-- @treturn Self
function bound.new(about, envelope, args, write)
  local extra = about.extra or {}
  return setmetatable({
    id = about.id,
    name = about.name,
    args = args,
    headers = extra.h or {},
    root_id = extra.r or about.id,
    parent_id = extra.p,
    worker = about.worker,
    _envelope = envelope,
    _write = write,
  }, Self)
end

local function write_here(level, text)
  io.stderr:write(("%s: %s\n"):format(level, text))
end

--- Makes the self of a task that is called as a function.
-- @tparam string name
-- @tparam table args with `n`
-- @treturn Self
function bound.here(name, args)
  return setmetatable({
    name = name,
    retries = 0,
    args = args,
    headers = {},
    _write = write_here,
  }, Self)
end

caller.guard_methods(Self, "self")

return bound
