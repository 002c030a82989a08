--- What an app asks of Redis: tasks to be sent, outcomes to be waited for.
--
-- All of it waits by @{taskengine.scheduler}, and raises BrokerUnavailable
-- when Redis does not answer in time.
-- @module taskengine.client

local core = require("taskengine.core")
local errors = require("taskengine.errors")
local producer = require("taskengine.producer")
local requests = require("taskengine.requests")
local scheduler = require("taskengine.scheduler")
local slot = require("taskengine.slot")
local waits = require("taskengine.waits")

local client = {}

-- Longer waits are waits for ever.
local WAIT_SECONDS_MAX <const> = 1e9

--- A client.
-- @type Client
local Client = {}
Client.__index = Client

local function connect_events(self)
  local transport = self.transport
  function transport.on_up()
    self.requests:resend()
    self.waits:flush()
  end
  function transport.on_down(why, is_fatal)
    if is_fatal then
      self.requests:give_up(why)
      self.waits:give_up(why)
    end
  end
  function transport.on_item(item)
    self.waits:on_item(item)
  end
  function transport.on_gap()
    self.waits:ask_again()
  end
end

--- Makes a client.
-- @tparam table transport see @{taskengine.requests}
-- @tparam table settings `broker_timeout`, `message_bytes_max`,
-- `result_expires`
-- @treturn Client
function client.new(transport, settings)
  local timeout_ms = settings.broker_timeout * 1000
  local asked = requests.new(transport)
  local self = setmetatable({
    transport = transport,
    settings = settings,
    timeout_ms = timeout_ms,
    requests = asked,
    producer = producer.new(asked, settings),
    waits = waits.new(transport, asked, timeout_ms),
    retried = {}, -- by producer: how often its flow was done again from here
  }, Client)
  connect_events(self)
  return self
end

-- Before anything is made: what a finalizer makes at the end of the program is
-- not finalized any more.
local function check_open(self, about)
  if self.transport.is_closed then
    errors.raise(errors.unavailable({ reason = self.transport:why() }, about))
  end
end

--- Sends a task.
-- @tparam Message message
-- @tparam table args
-- @tparam ?table extra
-- @treturn string the engine's id
-- @raise TaskError of kind CannotTravel, TooLarge, BrokerUnavailable
function Client:send(message, args, extra)
  check_open(self, { name = message.name })
  local inbox, ahead = nil, nil
  if message.is_plain and message.keeps_result then
    inbox, ahead = self.waits:anticipate()
  end
  local _ <close> = ahead
  local id, problem, wanted_id = scheduler.await("enqueueing", function(wake)
    local sent, why, code = self.producer:send(message, args, extra, wake,
      inbox)
    if not sent then
      errors.raise(errors.cannot_travel(why, code, message.name))
    end
  end, slot.REPLY)
  if not id then
    errors.raise(errors.unavailable(problem, {
      id = message.shown_id or wanted_id,
      name = message.name,
      indeterminate = problem.sent,
    }))
  end
  self.waits:note_sent(id, inbox and problem == true)
  return id
end

-- Where a list broke off.
local function raise_bulk(sent, message)
  local problem = sent.problem
  local e
  if problem.code then
    e = errors.cannot_travel(problem.reason, problem.code, message.name)
  else
    e = errors.unavailable(problem, {
      name = message.name,
      indeterminate = #sent.unknown > 0,
    })
  end
  e.accepted, e.unknown = sent.accepted, sent.unknown
  errors.raise(e)
end

--- Sends many calls of a task.
-- @tparam Message message
-- @tparam {table,...} list
-- @tparam ?table extra
-- @treturn {table,...} parts of the list: `from`, `to`, and the `id` of the
-- first task; `ids` where those of the others do not follow from that
-- @raise TaskError as for @{Client:send}; its fields `accepted` and `unknown`
-- list the parts that were accepted, and that may have been
function Client:send_many(message, list, extra)
  check_open(self, { name = message.name, accepted = {}, unknown = {} })
  local sent = scheduler.await("enqueueing", function(wake)
    self.producer:send_many(message, list, extra, wake)
  end, slot.REPLY)
  if sent.problem then
    raise_bulk(sent, message)
  end
  return sent.accepted
end

--- Calls a function in Redis.
-- @tparam string name a function that is harmless when repeated
-- @tparam {string,...} args
-- @tparam ?string id for an error: of the task or flow that it is about
-- @return its reply
-- @treturn ?table a problem, see @{taskengine.requests}
-- @raise TaskError of kind BrokerUnavailable when the app was closed
function Client:try(name, args, id)
  check_open(self, { id = id })
  return scheduler.await("a question to Redis", function(wake)
    self.requests:send(name, args, self.timeout_ms, wake)
  end, slot.REPLY)
end

--- Asks Redis.
-- @tparam string name a function that is harmless when repeated
-- @tparam {string,...} args
-- @tparam ?string id for an error: of the task or flow that it is about
-- @return its reply
-- @raise TaskError of kind BrokerUnavailable
function Client:ask(name, args, id)
  local reply, problem = self:try(name, args, id)
  if problem then
    errors.raise(errors.unavailable(problem, { id = id }))
  end
  return reply
end

--- What is known of a task now.
-- @tparam string id any
-- @treturn string an outcome; `=` and the engine's id when it waits or runs, or
-- has left none; `?` when it was never enqueued
-- @raise TaskError of kind BrokerUnavailable
function Client:outcome(id)
  return self:ask("te1_outcome", { id }, id)[1]
end

--- What is known of a task of long ago: with a look whether it is anywhere,
-- which costs more.
-- @tparam string id any
-- @treturn string as for @{Client:outcome}; `-` when it has left no outcome
-- @raise TaskError of kind BrokerUnavailable
function Client:look(id)
  local known = self:ask("te1_look", { id }, id)[1]
  return known == ">" and self:outcome(id) or known
end

--- The engine's id of a task, before it is waited for. An id of the caller's
-- own has to be mapped, because the inbox only ever names the engine's. And a
-- wait does not begin while Redis cannot be reached; one that has begun
-- outlasts that.
-- @tparam string id any
-- @tparam ?boolean is_old its outcome may be gone already: Redis is asked
-- @treturn string `=` and the engine's id; or what @{Client:look} says
-- @raise TaskError of kind BrokerUnavailable
function Client:resolve(id, is_old)
  if is_old then
    return self:look(id)
  elseif core.envelope.seq(id) and not self.transport:why() then
    return "=" .. id
  end
  return self:outcome(id)
end

--- Waits for a task to end.
-- @tparam string id any
-- @tparam ?number timeout in seconds; for ever when missing
-- @tparam ?boolean is_old see @{Client:resolve}
-- @treturn ?string the outcome, or `?`; nil when the time is up
-- @raise TaskError of kind BrokerUnavailable
function Client:wait(id, timeout, is_old)
  check_open(self, { id = id })
  local known = self:resolve(id, is_old)
  if known:sub(1, 1) ~= "=" then
    return known
  end
  id = known:sub(2)
  local record, problem = scheduler.await("waiting for a result",
    function(wake)
      local timer
      local function on_outcome(_, outcome, why)
        if timer then
          timer:close()
        end
        wake(outcome, why)
      end
      self.waits:add(id, on_outcome)
      if timeout and timeout <= WAIT_SECONDS_MAX then
        timer = core.loop.timer(timeout * 1000, function()
          self.waits:remove(id, on_outcome)
          wake(nil)
        end)
      end
      return {
        close = function()
          self.waits:remove(id, on_outcome)
          if timer then
            timer:close()
          end
        end,
      }
    end, slot.OUTCOME)
  if problem then
    errors.raise(errors.unavailable(problem, { id = id }))
  end
  return record
end

--- Ends its connections. Who still waits for something hears that.
function Client:close()
  self.transport:close()
  self.requests:give_up("the app was closed")
  self.waits:give_up("the app was closed")
end

return client
