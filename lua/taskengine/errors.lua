--- What is raised when a task, or the way to it, fails.
-- @module taskengine.errors

local caller = require("taskengine.caller")

local errors = {}

--- A task's failure, or why nothing is known of it.
--
-- The kinds: Error, MaxRetriesExceeded, WorkerLost, NotRegistered, Malformed,
-- TimeLimitExceeded, SoftTimeLimitExceeded, MemoryLimitExceeded, Revoked,
-- Expired, Skipped, CannotTravel, TooLarge, DependencyFailed (how a task
-- ended); Retry (what a task asked for that was called as a function); Timeout,
-- BrokerUnavailable, Forgotten (why its end is not known); and whatever a task
-- names itself with `error { kind = ... }`.
-- @type TaskError
-- @tfield ?string id the task's
-- @tfield ?string name the task's, where it is known
-- @tfield string kind
-- @tfield string message
-- @tfield ?string traceback of the task, cut to its own functions
-- @field value what the task raised, if that was no string and can travel; if
-- it cannot, the message says why
-- @tfield ?TaskError cause of one of kind DependencyFailed: the error of the
-- task that failed, because of which this one never ran
-- @tfield ?boolean indeterminate of an enqueue: it may have been accepted;
-- repeating it with `task_id = e.id` never makes two tasks
-- @tfield ?string place the line of the user's program that heard of it
local TaskError = { __name = "taskengine.TaskError" }
TaskError.__index = TaskError
errors.TaskError = TaskError

--- Makes an error without raising it.
-- @tparam table fields
-- @treturn TaskError
function errors.new(fields)
  return setmetatable(fields, TaskError)
end

--- Whether a value is such an error.
-- @param value anything
-- @treturn boolean
function errors.is(value)
  return debug.getmetatable(value) == TaskError
end

--- Who is to blame: of a task that never ran, because one that it needs has
-- failed, the error of that one.
-- @tparam TaskError e
-- @treturn TaskError
function errors.cause(e)
  return e.cause or e
end

--- Raises it, at the line where the user's code called this layer.
-- @tparam TaskError e
-- @raise always
function errors.raise(e)
  e.place = caller.place()
  error(e, 0)
end

local function line_of(self, text)
  local whose = self.name and self.id
    and (" (task %s, %s)"):format(self.name, self.id)
    or (self.name or self.id)
    and (" (task %s)"):format(self.name or self.id)
    or ""
  local place = self.place and self.place .. ": " or ""
  return place .. text .. whose
end

--- A line for people: where, the kind, the message, whose it is.
-- @treturn string
function TaskError:__tostring()
  return line_of(self, ("%s: %s"):format(self.kind, self.message))
end

--- The same line where the kind is said by others.
-- @tparam TaskError e
-- @treturn string
function errors.account(e)
  return line_of(e, tostring(e.message))
end

--- A message of the core without the name of the error that it begins with.
-- @tparam string message e.g. `"ENOENT: no such file or directory"`
-- @treturn string
function errors.sentence(message)
  return (message:gsub("^%u[%u%d_]*: ", ""))
end

local kind_of_code = { ELIMIT = "TooLarge" }

-- Where a value lies, as its owner sees it: headers travel under a short name.
local function as_given(text)
  return (text:gsub("^options%.h%f[^%w_]", "options.headers"))
end

--- The error of a value that cannot be sent.
-- @tparam string problem as the codec says it: `"ECANNOT: args[1]: ..."`
-- @tparam string code
-- @tparam ?string name of the task that is to be sent
-- @treturn TaskError
function errors.cannot_travel(problem, code, name)
  return errors.new {
    kind = kind_of_code[code] or "CannotTravel",
    message = as_given(errors.sentence(problem)),
    name = name,
  }
end

--- The error of a request that Redis did not answer.
-- @tparam table problem from @{taskengine.requests}
-- @tparam[opt] table fields of the error
-- @treturn TaskError
function errors.unavailable(problem, fields)
  local e = fields or {}
  e.kind = "BrokerUnavailable"
  e.message = problem.reason
  return errors.new(e)
end

return errors
