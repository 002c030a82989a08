--- Runs tasks: each in a fiber, many at a time.
--
-- A fiber is used again when its task has ended, because that is cheaper than
-- a new coroutine for each.
-- @module taskengine.runner

local attempt = require("taskengine.attempt")
local bound = require("taskengine.bound")
local core = require("taskengine.core")
local coroutines = require("taskengine.coroutines")
local errors = require("taskengine.errors")
local failure = require("taskengine.failure")
local gather = require("taskengine.gather")
local header = require("taskengine.header")
local inputs = require("taskengine.inputs")
local limits = require("taskengine.limits")
local over = require("taskengine.over")
local record = require("taskengine.record")
local retry = require("taskengine.retry")
local scheduler = require("taskengine.scheduler")
local size = require("taskengine.size")
local slot = require("taskengine.slot")
local spawn = require("taskengine.spawn")
local states = require("taskengine.states")
local verdict = require("taskengine.verdict")

local runner = {}

-- An outcome that is no record: the task is not known here.
local UNKNOWN <const> = "N"
-- nil as a result.
local NOTHING <const> = "S\xc0"
local FLAGS_AT <const>, ATTEMPT_AT <const> = header.FLAGS_AT, header.ATTEMPT_AT

local NO_RESULT <const> = core.envelope.NO_RESULT
local JSON <const> = core.envelope.JSON
local TRACK_STARTED <const> = core.envelope.TRACK_STARTED
local open_envelope = core.envelope.open
local encode = core.codec.encode
local byte, unpack = string.byte, string.unpack
local gethook = debug.gethook

--- What runs tasks.
-- @type Runner
local Runner = {}
Runner.__index = Runner

--- Makes one.
-- @tparam table opts
-- @tparam {[string]=Task,...} opts.tasks by name
-- @tparam int opts.result_bytes_max
-- @tparam[opt] int opts.message_bytes_max of other arguments for a retry
-- @tparam[opt=0] int opts.soft_limit_ms the soft time limit of tasks without
-- one
-- @tparam string opts.worker name of the worker
-- @tparam function opts.done gets a task's token and its outcome, or a verdict
-- @tparam[opt] function opts.bequeath gets a task's token and the head of a
-- verdict: what is to become of it when its time is over
-- @tparam[opt] function opts.retire called once, when the process is to end as
-- soon as its tasks have
-- @tparam function opts.log gets a level, a token and a text
-- @tparam function opts.say gets a token and what its task says of itself, see
-- @{taskengine.states}
-- @treturn Runner
function runner.new(opts)
  local self = setmetatable(opts, Runner)
  self.soft_limit_ms = self.soft_limit_ms or 0
  self.idle = {} -- fibers
  self.begun = {} -- fibers of tasks that have begun, by token
  self.count = 0 -- of tasks that have begun
  return self
end

local function failed_to_send(why, code)
  return record.failure {
    kind = code == "ELIMIT" and "TooLarge" or "CannotTravel",
    message = errors.sentence(why),
  }
end

local function too_many(name, count)
  return record.failure {
    kind = "Error",
    message = ("the task '%s' returned %d values, it may return one;"
      .. " put them into a table"):format(name, count),
  }
end

-- The outcome of a task whose caller asked for JSON.
local function conclude_json(self, value)
  local text, why, code = core.json.encode(value, {
    root = "result",
    exact = true,
    limit = self.result_bytes_max,
  })
  return text and "J" .. text or failed_to_send(why, code)
end

-- What the handler has said; a string when there was no stack or memory left
-- for it.
local function failure_of(task, fields)
  if type(fields) ~= "table" then
    fields = { kind = "Error", message = tostring(fields) }
  end
  return limits.name_failure(fields, task)
end

-- A handler of errors.
local function describe(object)
  return verdict.is(object) and object or failure.describe(object)
end

-- It left its function otherwise than by returning. One that was asked to end,
-- and let the error through, has.
local function conclude_raised(self, task, problem)
  if verdict.is(problem) then
    return verdict.pack(problem)
  end
  local fields = failure_of(task, problem)
  if task.is_revoked and fields.kind == "Revoked" then
    return record.revocation(fields)
  end
  return attempt.conclude(task, fields, function(level, text)
    self.log(level, task.token, text)
  end)
end

-- The outcome of a call: whether it worked, and its values or failure.
local function conclude(self, task, ok, ...)
  local count = select("#", ...)
  if not ok then
    return conclude_raised(self, task, (...))
  elseif count > 1 then
    return too_many(task.name, count)
  end
  local value = ...
  local flags = byte(task.envelope, FLAGS_AT)
  if flags & NO_RESULT ~= 0 then
    return NOTHING
  elseif flags & JSON ~= 0 then
    return conclude_json(self, value)
  elseif value == nil then
    return NOTHING
  end
  local bytes, why, code = encode(value, "result", self.result_bytes_max)
  return bytes and "S" .. bytes or failed_to_send(why, code)
end

local function self_of(self, task, extra, ...)
  return bound.new({
    task = task,
    extra = extra,
    worker = self.worker,
    write = function(level, text)
      self.log(level, task.token, text)
    end,
    say = function(state)
      self.say(task.token, state)
    end,
  }, table.pack(...))
end

-- The call's, as the header has it, the task's or that of all.
local function soft_limit(self, task, one)
  local ms = unpack(">I4", task.envelope, header.SOFT_TIME_LIMIT_AT)
  if ms > 0 then
    return ms
  end
  local seconds = one.options.soft_time_limit
  return seconds and math.ceil(seconds * 1000) or self.soft_limit_ms
end

-- The call's or the task's, in bytes; nil: that of all. The first is what came
-- out of Redis.
local function memory_limit(one, extra)
  local asked = extra and extra.b
  if math.type(asked) == "integer" and asked > 0 then
    return asked
  end
  return size.bytes(one.options.memory_limit)
end

-- Its policy, and its will while that can be made.
local function set_policy(self, task, one, extra)
  task.attempt = byte(task.envelope, ATTEMPT_AT)
  task.policy = one.policy
  if extra and extra.t ~= nil then
    task.policy = retry.policy(one.options, extra.t)
  end
  local will = task.policy.retry_for and attempt.will(task)
  if will and self.bequeath then
    self.bequeath(task.token, will)
  end
end

-- Whether it is to be told that it has begun.
local function is_tracked(task, one)
  return one.options.track_started
    or byte(task.envelope, FLAGS_AT) & TRACK_STARTED ~= 0
end

local function failed_to_open(why)
  return record.failure {
    kind = "Malformed",
    message = "its arguments cannot be read: " .. errors.sentence(why),
  }
end

-- Its arguments cannot be had. It is not run again for a result that does not
-- come back.
local function conclude_unread(self, task, problem)
  if gather.is_lost(problem) then
    return record.failure(problem)
  end
  return conclude_raised(self, task, problem)
end

-- Calls its function; or why its arguments could not be read.
local function call(self, task, one, extra, ok, ...)
  if not ok then
    return conclude_unread(self, task, (...))
  end
  local run = one.run
  if extra and over.is(extra.m) then
    run = over.each(run, extra.m)
  end
  if one.options.bind then
    return conclude(self, task, xpcall(run, describe,
      self_of(self, task, extra, ...), ...))
  end
  return conclude(self, task, xpcall(run, describe, ...))
end

-- What holds from now on: its policy, its limits, its state.
local function begin(self, task, one, extra)
  set_policy(self, task, one, extra)
  local soft_ms = soft_limit(self, task, one)
  if soft_ms > 0 then
    limits.begin(task, soft_ms)
  end
  local bytes = memory_limit(one, extra)
  if bytes then
    limits.begin_memory(task, bytes)
  end
  if is_tracked(task, one) then
    self.say(task.token, states.STARTED)
  end
end

-- With what it takes from others in its flow, if it is in one, and with what
-- core.envelope.open says.
local function execute(self, task, taken, id, name, extra, ...)
  if not id then
    return failed_to_open(name)
  end
  local one = self.tasks[name]
  if not one then
    return UNKNOWN
  end
  if byte(task.envelope, header.ALIAS_LENGTH_AT) > 0 then
    id = core.envelope.read(task.envelope).alias
  end
  task.app = one.app
  task.id, task.name = id, name
  task.root_id = extra and extra.r or taken and taken.root or id
  begin(self, task, one, extra)
  if taken then
    -- A list that is gone through here is read as a whole.
    local is_stream = one.options.stream and not (extra and extra.m)
    return call(self, task, one, extra, xpcall(inputs.read, describe, taken,
      one.app, extra and extra.i, is_stream, ...))
  end
  return call(self, task, one, extra, true, ...)
end

-- Ends a task: it has left its fiber.
local function finish(self, task, outcome)
  local token = task.token
  limits.finish(task)
  if task.spawned then
    spawn.end_with(task)
  end
  slot.finish(task)
  task.token, task.envelope = nil, nil
  self.begun[token] = nil
  self.count = self.count - 1
  if limits.is_broken() and self.retire then
    self.retire()
    self.retire = nil
  end
  self.done(token, outcome)
end

local YIELDED <const> = "attempt to yield from outside a coroutine"

-- A fiber has given way, with the outcome of its task. Anything else is a
-- yield of the user's that no coroutine of the user's was there for. One in
-- which the task has left a hook is not used again: that would be the hook of
-- the next task.
local function on_stop(fiber, ok, outcome)
  local self, task = fiber.runner, fiber.task
  if task.is_running then
    coroutines.close(fiber.co)
    outcome = record.failure(failure_of(task,
      ok and YIELDED or tostring(outcome)))
  elseif gethook(fiber.co) then
    coroutines.close(fiber.co)
  else
    self.idle[#self.idle + 1] = fiber
  end
  finish(self, task, outcome)
end

local function run_to_end(self, task)
  local envelope = task.envelope
  local outcome
  if inputs.are_in(envelope) then
    outcome = execute(self, task, inputs.open(envelope))
  else
    outcome = execute(self, task, nil, open_envelope(envelope))
  end
  task.is_running = false
  return outcome
end

local function new_fiber(self)
  local task = {}
  local fiber = scheduler.fiber(function()
    while true do
      -- No local: a fiber that is idle would keep a large outcome.
      coroutines.give_way(run_to_end(self, task))
    end
  end, { runner = self, task = task, is_main = true, on_stop = on_stop })
  return fiber
end

--- Begins a task. It has ended when `done` is called, perhaps at once.
-- @tparam int token
-- @tparam string envelope
function Runner:begin(token, envelope)
  local idle = self.idle
  local fiber = idle[#idle]
  if fiber then
    idle[#idle] = nil
  else
    fiber = new_fiber(self)
  end
  local task = fiber.task
  task.token, task.envelope, task.is_running = token, envelope, true
  task.message_bytes_max = self.message_bytes_max
  self.count = self.count + 1
  self.begun[token] = fiber
  slot.begin(task)
  scheduler.resume(fiber)
end

--- Asks a task to end, because it was revoked. Nothing happens when it has
-- ended.
-- @tparam int token
function Runner:revoke(token)
  local fiber = self.begun[token]
  if fiber then
    limits.revoke(fiber)
  end
end

--- Ends a task where it waits, because its time is up. Nothing happens when it
-- has ended.
-- @tparam int token
function Runner:cancel(token)
  local fiber = self.begun[token]
  if fiber then
    fiber:close()
    finish(self, fiber.task, attempt.time_out(fiber.task, {
      kind = "TimeLimitExceeded",
      message = "it took longer than its time limit",
    }))
  end
end

return runner
