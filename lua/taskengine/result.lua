--- A task that was sent, and what became of it.
-- @module taskengine.result

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local gather = require("taskengine.gather")
local handle = require("taskengine.canvas.handle")
local header = require("taskengine.header")
local history = require("taskengine.history")
local options = require("taskengine.options")
local record = require("taskengine.record")
local revoke = require("taskengine.revoke")
local states = require("taskengine.states")
local tally = require("taskengine.tally")

local result = {}

local is_timeout = options.GET.known.timeout
-- In one question: their outcomes come along, of up to 64 KiB each.
local LOOK_MAX <const> = 250

--- The result of a task.
-- @type Result
-- @tfield string id
-- @tfield ?userdata hole as in @{taskengine.gather.Source}, when it is to be
-- shown as JSON
local Result = {
  __name = "taskengine.Result",
  __cannot_travel = "a result cannot be sent; what get() returns can, or its"
    .. " id, for app:result(id)",
}
Result.__index = Result

--- Makes one.
-- @tparam Client client
-- @tparam string id any
-- @tparam[opt] table about `name` of the task, `engine_id`, `keeps_result`;
-- without it the task was sent by whomever, whenever
-- @treturn Result
function result.new(client, id, about)
  local is_old = about == nil
  about = about or {}
  return setmetatable({
    id = id,
    client = client,
    is_old = is_old,
    name = about.name,
    engine_id = about.engine_id or id,
    keeps_result = about.keeps_result ~= false,
  }, Result)
end

--- Whether a value is a result.
-- @param value anything
-- @treturn boolean
function result.is(value)
  return getmetatable(value) == Result
end

-- In which run of its flow a task has failed: how often this client has had it
-- done again.
local function run_of(self)
  return self.client.retried[header.producer(self.engine_id)]
end

--- The outcome, when it is known already. A failure is not known any more once
-- the task's flow is done again.
-- @treturn ?Outcome
function Result:known()
  local outcome = self.outcome
  if outcome and outcome.error and outcome.run ~= run_of(self) then
    self.outcome = nil
  end
  return self.outcome
end

--- Takes the outcome that arrived for it.
-- @tparam string bytes
-- @treturn Outcome
function Result:settle(bytes)
  local outcome = record.read(bytes, self.id, self.name)
  outcome.gathers = gather.is(bytes) and bytes or nil
  outcome.run = outcome.error and run_of(self)
  -- What is unknown now may be known later.
  self.outcome = bytes ~= "?" and outcome or nil
  if tally.listener and self.outcome then
    tally.listener:ended(self.engine_id, not outcome.error, self.is_old)
  end
  return outcome
end

-- The value of a group is read when it is first asked for, perhaps in many
-- pages. Nil and an error when one of those results is gone, or damaged.
local function value_of(self, outcome)
  if not outcome.gathers then
    return outcome.value
  end
  local source = gather.source(self.engine_id, function()
    return self.client
  end)
  source.hole = self.hole
  local value, problem = gather.value_or_loss(source, outcome.gathers)
  if not problem then
    outcome.value, outcome.gathers = value, nil
  end
  return value, problem
end

local function check_kept(self, what)
  if not self.keeps_result then
    caller.raise(what .. ": the task was sent with ignore_result,"
      .. " so nothing is kept of how it ends")
  end
end

-- The outcome, or nil when the time is up.
local function wait(self, timeout)
  local outcome = self:known()
  if outcome then
    return outcome
  end
  local bytes
  if timeout == 0 then
    bytes = self.client:outcome(self.engine_id)
  else
    bytes = self.client:wait(self.engine_id, timeout, self.is_old)
  end
  if bytes and bytes:sub(1, 1) ~= "=" then
    return self:settle(bytes)
  end
end

-- The outcome as far as Redis knows it now; nil while the task waits or runs.
local function look(self)
  return wait(self, 0)
end

--- Waits for the task and returns its value.
-- @tparam[opt] table opts
-- @tparam[opt] number opts.timeout in seconds; without it, as long as it takes
-- @return what the task returned
-- @raise TaskError when the task failed; of kind Timeout when the time is up
-- (the task goes on), Forgotten when nothing is known of the task
function Result:get(opts)
  local timeout = options.check("get", options.GET, opts).timeout
  check_kept(self, "get")
  local outcome = wait(self, timeout)
  if not outcome then
    errors.raise(errors.new {
      kind = "Timeout",
      message = ("not finished within %.14g s; the task goes on")
        :format(timeout),
      id = self.id,
      name = self.name,
    })
  end
  local value, problem = value_of(self, outcome)
  problem = outcome.error or problem
  if problem then
    errors.raise(problem)
  end
  return value
end

--- Waits for the task without raising its error.
-- @tparam[opt] number timeout in seconds
-- @treturn[1] boolean true: it succeeded
-- @return[1] what it returned
-- @treturn[2] boolean false: it failed
-- @treturn[2] TaskError
-- @return[3] nil: the time is up; the task goes on
-- @treturn[3] string `"timeout"`
-- @raise TaskError of kind BrokerUnavailable
function Result:wait(timeout)
  if timeout ~= nil and not is_timeout(timeout) then
    caller.raise(check.problem("wait: timeout", is_timeout, timeout))
  end
  check_kept(self, "wait")
  local outcome = wait(self, timeout)
  if not outcome then
    return nil, "timeout"
  end
  local value, problem = value_of(self, outcome)
  problem = outcome.error or problem
  if problem then
    return false, problem
  end
  return true, value
end

--- Whether the task has ended, however it did.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable
function Result:ready()
  check_kept(self, "ready")
  local outcome = look(self)
  return outcome ~= nil and (outcome.state ~= nil or self.outcome ~= nil)
end

--- Whether the task has ended and returned a value.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable
function Result:successful()
  check_kept(self, "successful")
  local outcome = look(self)
  return outcome ~= nil and outcome.state == "SUCCESS"
end

--- Whether the task has ended without a value: failed or revoked.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable
function Result:failed()
  check_kept(self, "failed")
  local outcome = look(self)
  return outcome ~= nil and outcome.state ~= nil and outcome.state ~= "SUCCESS"
end

-- What is known of the task now: its outcome, or how it stands when it has
-- not ended; with a place, if it is looked for everywhere, which costs more.
local function inspect(self, everywhere)
  local outcome = self:known()
  if outcome then
    return outcome
  end
  local known = self.client:ask("te1_state",
    { everywhere and "1" or "0", self.engine_id }, self.id)[1]
  if type(known) == "table" then
    return nil, states.read(known, self.id, self.name)
  elseif known == ">" then
    known = self.client:outcome(self.engine_id)
  end
  return self:settle(known)
end

-- Brings the outcomes of those that have ended, from `first` on as far as they
-- are of one client. Returns where to go on.
local function look_at_some(list, first, outcomes)
  local client, args, asked = list[first].client, { "0" }, {}
  local behind = math.min(first + LOOK_MAX, #list + 1)
  for i = first, behind - 1 do
    if list[i].client ~= client then
      behind = i
      break
    end
    outcomes[i] = list[i]:known() or false
    if not outcomes[i] then
      args[#args + 1], asked[#asked + 1] = list[i].engine_id, i
    end
  end
  local reply = asked[1]
    and client:ask("te1_state", args, list[asked[1]].id) or {}
  for n, i in ipairs(asked) do
    local known = reply[n]
    if known == ">" then
      outcomes[i] = look(list[i]) or false
    elseif type(known) ~= "table" then
      outcomes[i] = list[i]:settle(known)
    end
  end
  return behind
end

--- How tasks stand now, in few questions to Redis.
-- @tparam Results|{Result,...} list
-- @treturn {Outcome|boolean,...} false for one that has not ended
-- @raise TaskError of kind BrokerUnavailable
function result.look_at(list)
  local outcomes, first = {}, 1
  while first <= #list do
    first = look_at_some(list, first, outcomes)
  end
  return outcomes
end

--- What state the task is in.
-- @treturn string `SUCCESS`, `FAILURE` or `REVOKED` when it has ended; `RETRY`
-- when it failed and will be tried again; `STARTED` (see the option
-- `track_started`), `PROGRESS` (see @{taskengine.bound.Self:progress}) or a
-- name of its own while it runs; `PENDING` otherwise, and also when its outcome
-- has expired (see `result_expires`; @{Result:get} tells); or `UNKNOWN`:
-- forgotten, or never enqueued. Of a task that was sent with ignore_result what
-- it was before it ended is known, and nothing from then on
-- @raise TaskError of kind BrokerUnavailable
function Result:state()
  local outcome, standing = inspect(self)
  return standing and standing.state or outcome.state or "UNKNOWN"
end

--- What the task returned, without waiting.
-- @return the value, nil while it waits or runs; the TaskError when it failed
-- @raise TaskError of kind BrokerUnavailable
function Result:result()
  check_kept(self, "result")
  local outcome = look(self)
  if not outcome then
    return nil
  end
  local value, problem = value_of(self, outcome)
  return outcome.error or problem or value
end

--- The traceback of the failed task, cut to its own functions.
-- @treturn ?string nil when it did not fail (yet)
-- @raise TaskError of kind BrokerUnavailable
function Result:traceback()
  check_kept(self, "traceback")
  local outcome = look(self)
  return outcome and outcome.error and outcome.error.traceback
end

--- All that is known of the task, without waiting.
-- @treturn table `id`, `name` where known, `state`, and `value` or `error` of
-- one that has ended. Of one that has not: `meta`, what it said with its state
-- (`{ fraction = , text = }` of PROGRESS), and `since` when; `place`:
-- `"waiting"`, `"due"` or `"running"`, where it can be told; `due`: when it may
-- run; `worker`: the name of the one that runs it; `error`: of its last
-- attempt, in state RETRY. Times are seconds since 1970
-- @raise TaskError of kind BrokerUnavailable
function Result:info()
  local outcome, standing = inspect(self, true)
  local known, value, problem = standing or outcome, nil, nil
  if outcome then
    value, problem = value_of(self, outcome)
  end
  return {
    id = self.id,
    name = self.name,
    state = known.state or "UNKNOWN",
    value = value,
    error = known.error or problem,
    meta = known.meta,
    since = known.since,
    place = known.place,
    due = known.due,
    worker = known.worker,
  }
end

--- What happened to the task before it ended, the oldest first: attempts that
-- failed, processes and workers that died with it; the last 16. Of one that was
-- retried, or failed for good, that is kept as long as its outcome.
-- @treturn {Event,...} see @{taskengine.history}
-- @raise TaskError of kind BrokerUnavailable
function Result:history()
  return history.read(self.client:ask("te1_history", { self.engine_id },
    self.id))
end

--- What this task has sent, the first 1,000 of it, for as long as its outcome
-- is kept. A chain, a group or another canvas is one of these, with the id of
-- its flow: it has succeeded when all of its tasks have, it fails with the
-- first one that does, and to revoke it is to revoke all of it. Its field
-- `flow` tells more, see @{taskengine.canvas.handle}.
-- @treturn {Result,...}
-- @raise TaskError of kind BrokerUnavailable
function Result:children()
  local ids = self.client:ask("te1_kin", { self.engine_id }, self.id)
  local children = {}
  for i = 2, #ids do
    local child = result.new(self.client, ids[i])
    if core.envelope.seq(ids[i]) == 0 then
      child.flow = handle.of(self.client, ids[i])
    end
    children[i - 1] = child
  end
  return children
end

--- The task that has sent this one.
-- @treturn ?Result nil when none has, or it is not known any more
-- @raise TaskError of kind BrokerUnavailable
function Result:parent()
  local id = self.client:ask("te1_kin", { self.engine_id }, self.id)[1]
  return id ~= "" and result.new(self.client, id) or nil
end

--- Lets Redis forget the outcome, which otherwise stays as long as the setting
-- `result_expires` says.
-- @treturn boolean whether there was one
-- @raise TaskError of kind BrokerUnavailable
function Result:forget()
  self.outcome = nil
  return self.client:ask("te1_forget", { self.engine_id }, self.id) == 1
end

--- Revokes the task. If it still waits, it never runs. If it runs, it is asked
-- to end: `self:cancelled()` is true in it, and an error of kind Revoked is
-- raised in it once, where it waits or at its next line. It may catch that,
-- and end as it likes. It does not run again.
--
-- A task that has ended and left no outcome, because that has expired or the
-- task was sent with ignore_result, cannot be told from one that waits: true
-- says only that it will not begin from now on.
-- @tparam[opt] table opts
-- @tparam[opt] boolean opts.terminate when it still runs a second later, it is
-- ended where it waits, or its process is killed; its neighbours there go back
-- to their queues
-- @treturn[1] boolean true
-- @treturn[1] string `"revoked"`: it never begins; `"asked"`: a worker has it
-- in hand, and is asked to end it
-- @treturn[2] boolean false
-- @treturn[2] string why not: `"finished"` or `"unknown"`
-- @raise TaskError of kind BrokerUnavailable
function Result:revoke(opts)
  return revoke.one(self.client, self.engine_id, revoke.options(opts))
end

--- For people.
-- @treturn string
function Result:__tostring()
  return ("result of %s %s"):format(self.name or "task", self.id)
end

caller.guard_methods(Result, "result")

return result
