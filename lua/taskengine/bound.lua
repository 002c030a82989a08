--- What a bound task gets as its first argument: itself.
-- @module taskengine.bound

local attempt = require("taskengine.attempt")
local caller = require("taskengine.caller")
local check = require("taskengine.check")
local core = require("taskengine.core")
local limits = require("taskengine.limits")
local replace = require("taskengine.replace")

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

--- Ends this attempt and asks for another one, later. It is not for catching:
-- what it raises has to leave the task.
-- @tparam[opt] table opts
-- @tparam[opt] number opts.countdown seconds until then; without it and eta
-- what the task's retry_delay or retry_backoff says
-- @tparam[opt] number|string opts.eta when: seconds since 1970, or ISO 8601
-- with a zone
-- @param[opt] opts.exc the error that is why; raised when no retry is left
-- @tparam[opt] int|boolean opts.max_retries in place of the task's
-- @tparam[opt] table opts.args the arguments of the next attempt
-- @raise always: TaskError of kind MaxRetriesExceeded when no retry is left and
-- there is no exc; exc itself, or TaskError of kind Retry, where the task was
-- called as a function
function Self:retry(opts)
  attempt.retry(self, opts)
end

--- Puts the task off: this attempt does not count.
-- @tparam number seconds
-- @raise always: TaskError of kind Retry where the task was called as a
-- function
function Self:snooze(seconds)
  attempt.snooze(self, seconds)
end

--- Ends this attempt and puts a canvas in the place of the task: its result, or
-- its failure, becomes that of the task, for whoever waits for it and for what
-- comes behind it in a workflow. It is not for catching: what it raises has to
-- leave the task.
-- @tparam Canvas one
-- @raise always; where the task was called as a function, an error that says so
function Self:replace(one)
  replace.with(self, one)
end

--- Whether the task was revoked while it runs. It is to come to an end: it has
-- heard, or will, of that by an error of kind Revoked, once, where it waits or
-- at its next line. One that computes and asks can end in its own way.
-- @treturn boolean
function Self:cancelled()
  local task = rawget(self, "_task")
  return task ~= nil and limits.is_cancelled(task, rawget(self, "_token"))
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
-- @tparam table about `task` (see @{taskengine.runner}), `extra`, `worker`
-- @tparam table args with `n`
-- @tparam function write gets a level and a text
-- @treturn Self
function bound.new(about, args, write)
  local task = about.task
  local extra = about.extra or {}
  return setmetatable({
    id = task.id,
    name = task.name,
    args = args,
    headers = extra.h or {},
    root_id = extra.r or task.id,
    parent_id = extra.p,
    worker = about.worker,
    _envelope = task.envelope,
    _extra = extra,
    _task = task,
    _token = task.token,
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
