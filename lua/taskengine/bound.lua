--- What a bound task gets as its first argument: itself.
-- @module taskengine.bound

local attempt = require("taskengine.attempt")
local caller = require("taskengine.caller")
local check = require("taskengine.check")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local grow = require("taskengine.grow")
local limits = require("taskengine.limits")
local replace = require("taskengine.replace")
local states = require("taskengine.states")

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
local Self = {
  __name = "taskengine.Self",
  __cannot_travel = "the self of a task cannot be sent; its fields can",
}

-- Kept for longer, a self would speak for the next task in the same fiber.
local function check_speaks(self, what)
  local task = rawget(self, "_task")
  if task and task.token ~= rawget(self, "_token") then
    caller.raise(what .. ": this task has ended, it says nothing any more")
  end
end

--- Writes a line to the worker's log, with the task's id.
-- @tparam string level debug, info, warn or error
-- @tparam string text
-- @raise when the task has ended
function Self:log(level, text)
  if not is_level(level) then
    caller.raise(check.problem("log: level", is_level, level))
  elseif type(text) ~= "string" then
    caller.raise(check.problem("log: text", check.string, text))
  end
  check_speaks(self, "log")
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
-- leave the task. A function that the task has spawned cannot ask for it.
-- @tparam Canvas one
-- @raise always; where the task was called as a function, an error that says so
function Self:replace(one)
  replace.with(self, one)
end

--- Adds to the group of which the task is a member, or the last step of one:
-- what gathers the group, or comes behind it, waits for the new members, too,
-- and gets their results behind those of the others, in the order in which they
-- were added. The members of a group that is added become members each. They
-- run whatever becomes of the task. If that runs again, because it retries or
-- its process died, what it added before is there: the same canvas adds nothing
-- and has the results of that, another one adds more.
-- @tparam Canvas one of 1,024 tasks at most, where each group counts as one
-- more; call it again for more
-- @treturn Result|GroupResult|FlowResult its `flow` is that of the task
-- @raise an error where the task is no member of a group, or was called as a
-- function; TaskError of kind Revoked when it is too late, TooLarge,
-- CannotTravel, NotRegistered, BrokerUnavailable
function Self:add(one)
  return grow.add(self, one)
end

--- Whether the task was revoked while it runs. It is to come to an end: it has
-- heard, or will, of that by an error of kind Revoked, once, where it waits or
-- at its next line. One that computes and asks can end in its own way.
-- @treturn boolean
function Self:cancelled()
  local task = rawget(self, "_task")
  return task ~= nil and limits.is_cancelled(task, rawget(self, "_token"))
end

-- Says it to whoever asks; nobody does where the task was called as a function.
local function say(self, what, state, meta)
  check_speaks(self, what)
  local bytes, why, code = states.encode(state, meta)
  if not bytes then
    errors.raise(errors.cannot_travel(why, code))
  end
  local tell = rawget(self, "_say")
  if tell then
    tell(bytes)
  end
end

--- Says in what state the task is, until it says something else or ends. Who
-- asks for its state hears the last word, within about a tenth of a second
-- also while the task computes; how often it speaks costs Redis nothing.
-- @tparam string state a name of your own, e.g. `"LOADING"`
-- @param[opt] meta what there is to say of it: anything that can travel, 16 KB
-- at most
-- @raise TaskError of kind CannotTravel, TooLarge; when the task has ended
function Self:update_state(state, meta)
  local problem = states.problem(state)
  if problem then
    caller.raise(problem)
  end
  say(self, "update_state", state, meta)
end

--- Says how far the task is: its state is PROGRESS, with `{ fraction = ,
-- text = }`.
-- @tparam number fraction from 0 to 1
-- @tparam[opt] string text what it is at
-- @raise TaskError of kind TooLarge; when the task has ended
function Self:progress(fraction, text)
  if not check.fraction(fraction) then
    caller.raise(check.problem("progress: fraction", check.fraction, fraction))
  elseif text ~= nil and type(text) ~= "string" then
    caller.raise(check.problem("progress: text", check.string, text))
  end
  say(self, "progress", "PROGRESS", { fraction = fraction, text = text })
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
-- @tparam table about `task` (see @{taskengine.runner}), `extra`, `worker`;
-- `write`: gets a level and a text for the log; `say`: gets what it says of
-- itself
-- @tparam table args with `n`
-- @treturn Self
function bound.new(about, args)
  local task = about.task
  local extra = about.extra or {}
  return setmetatable({
    id = task.id,
    name = task.name,
    args = args,
    headers = extra.h or {},
    root_id = task.root_id,
    parent_id = extra.p,
    worker = about.worker,
    _envelope = task.envelope,
    _extra = extra,
    _task = task,
    _token = task.token,
    _write = about.write,
    _say = about.say,
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
