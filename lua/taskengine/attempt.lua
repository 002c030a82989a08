--- One attempt at a task: how it asks for another, and what becomes of it when
-- it fails. Which attempts there are is said in @{taskengine.retry}.
-- @module taskengine.attempt

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local failure = require("taskengine.failure")
local moment = require("taskengine.moment")
local options = require("taskengine.options")
local record = require("taskengine.record")
local retry = require("taskengine.retry")
local scheduler = require("taskengine.scheduler")
local verdict = require("taskengine.verdict")

local attempt = {}

local random, milliseconds = math.random, moment.milliseconds

--- The task that runs and is meant.
-- @tparam Self self
-- @tparam string what is asked for, for messages
-- @treturn ?table nil when it was called as a function
-- @raise when another task asks
function attempt.running(self, what)
  local task = rawget(self, "_task")
  if not task then
    return nil
  end
  local fiber = scheduler.current()
  if not fiber or fiber.task ~= task or task.token ~= rawget(self, "_token")
  then
    caller.raise(what .. ": this task does not run here: only a task that runs"
      .. " can ask for that, and only for itself")
  end
  return task
end

-- Of one that was called as a function nobody is there to run it again.
local function refuse_here(self, exc, text)
  if exc ~= nil then
    error(exc, 0)
  end
  errors.raise(errors.new {
    kind = "Retry",
    name = self.name,
    message = text .. "; it was called as a function, which runs once",
  })
end

-- What the attempt came to, for those who look at its history.
local function describe(exc)
  if exc ~= nil then
    return failure.describe(exc)
  end
  return {
    kind = "Retry",
    message = "it asked to be run again",
    traceback = failure.describe("").traceback,
  }
end

-- When it is to run again: ms, and whether that is a point in time.
local function when(task, given)
  if given.eta then
    return milliseconds(moment.seconds(given.eta)), true
  elseif given.countdown then
    return milliseconds(given.countdown), false
  end
  return milliseconds(retry.delay(task.policy, task.attempt, random())), false
end

-- The body with other arguments: what else it has stays.
local function body_with(self, task, args)
  if args == nil then
    return nil
  end
  local kept = {}
  for name, value in pairs(rawget(self, "_extra")) do
    if name ~= "i" then -- which of the old arguments were inputs
      kept[name] = value
    end
  end
  local body, why, code = core.envelope.body(task.envelope, args,
    next(kept) and kept, task.message_bytes_max)
  if not body then
    errors.raise(errors.cannot_travel(why, code))
  end
  return body
end

local function give_up(exc, retries)
  if exc ~= nil then
    error(exc, 0)
  end
  errors.raise(errors.new {
    kind = "MaxRetriesExceeded",
    message = ("it asked to be run again, and has no retry left after %d")
      :format(retries),
  })
end

--- Ends this attempt and asks for another one.
-- @tparam Self self
-- @tparam[opt] table opts see @{taskengine.bound}
-- @raise always
function attempt.retry(self, opts)
  local given = options.check("retry", options.RETRY, opts)
  if given.countdown and given.eta then
    caller.raise("retry: countdown and eta say the same, one will do")
  end
  local task = attempt.running(self, "retry")
  if not task then
    refuse_here(self, given.exc, "the task asked to be run again")
  end
  local policy = task.policy
  if given.max_retries ~= nil then
    policy = setmetatable({ max_retries = given.max_retries or math.huge },
      { __index = policy })
  end
  if not retry.has_left(policy, task.attempt) then
    give_up(given.exc, task.attempt)
  end
  local body = body_with(self, task, given.args)
  local ms, is_time = when(task, given)
  error(verdict.new {
    ms = ms,
    is_time = is_time,
    spends = true,
    body = body,
    outcome = record.note(describe(given.exc)),
  }, 0)
end

local is_pause = check.seconds(0, 100 * 366 * 86400)

--- Ends this attempt as if it had not begun: it is made anew, later.
-- @tparam Self self
-- @tparam number seconds
-- @raise always
function attempt.snooze(self, seconds)
  if not is_pause(seconds) then
    caller.raise(check.problem("snooze", is_pause, seconds))
  elseif not attempt.running(self, "snooze") then
    refuse_here(self, nil, "the task asked to be put off")
  end
  error(verdict.new { ms = milliseconds(seconds), spends = false }, 0)
end

-- Whether the policy is for this error. What the user's predicate raises is
-- said in the log; the error stays what it is.
local function is_wanted(task, fields, log)
  local ok, wanted = xpcall(retry.is_for, failure.describe, task.policy,
    errors.new {
      id = task.id,
      name = task.name,
      kind = fields.kind,
      message = fields.message,
      traceback = fields.traceback,
      value = fields.value,
    })
  if not ok then
    -- A text when there was no memory for more.
    log("error", "autoretry_for: " .. (type(wanted) == "string" and wanted
      or wanted.message .. "\n" .. wanted.traceback))
    return false
  end
  return wanted
end

-- The last of several attempts: what it came to is told, too.
local function exhausted(task, fields)
  return {
    kind = "MaxRetriesExceeded",
    message = ("failed %d times, the last time with %s: %s"):format(
      task.attempt + 1, fields.kind, fields.message),
    traceback = fields.traceback,
    value = {
      kind = fields.kind,
      message = fields.message,
      value = fields.value,
    },
  }
end

--- What is said of an attempt that ended with an error.
-- @tparam table task `policy`, `attempt`, `id`, `name`
-- @tparam table fields `kind`, `message`, `traceback`, `value`
-- @tparam function log gets a level and a text
-- @treturn string an outcome, or a verdict
function attempt.conclude(task, fields, log)
  local policy = task.policy
  if not is_wanted(task, fields, log) then
    return record.failure(fields)
  elseif retry.has_left(policy, task.attempt) then
    return verdict.pack {
      ms = milliseconds(retry.delay(policy, task.attempt, random())),
      spends = true,
      outcome = record.note(fields),
    }
  elseif task.attempt > 0 then
    fields = exhausted(task, fields)
  end
  return record.failure(fields)
end

--- What is to become of a task if its time is over, when nobody in this process
-- can say so any more.
-- @tparam table task
-- @treturn ?string the head of a verdict; nil: it fails
function attempt.will(task)
  local policy = task.policy
  if retry.is_for_kind(policy, "TimeLimitExceeded")
    and retry.has_left(policy, task.attempt) then
    return verdict.pack {
      ms = milliseconds(retry.delay(policy, task.attempt, random())),
      spends = true,
    }
  end
end

--- What is said of an attempt that was ended where it waited, because its time
-- was over: the same as its will.
-- @tparam table task
-- @tparam table fields `kind`, `message`
-- @treturn string an outcome, or a verdict
function attempt.time_out(task, fields)
  return (attempt.will(task) or "") .. record.failure(fields)
end

return attempt
