--- Sends tasks: single ones, and many at a time.
--
-- Single tasks share a lane: what is enqueued in one turn of the loop, or
-- while a batch is under way, goes out together. Many at a time have lanes of
-- their own, as many as keep both ends busy.
-- @module taskengine.producer

local bulk = require("taskengine.bulk")
local core = require("taskengine.core")
local kin = require("taskengine.kin")
local lane = require("taskengine.lane")

local producer = {}

--- What sends tasks for one client.
-- @type Producer
local Producer = {}
Producer.__index = Producer

--- Makes one.
-- @tparam Requests requests
-- @tparam table settings `broker_timeout`, `message_bytes_max`
-- @treturn Producer
function producer.new(requests, settings)
  return setmetatable({
    requests = requests,
    timeout_ms = settings.broker_timeout * 1000,
    message_bytes_max = settings.message_bytes_max,
    idle = {}, -- lanes for many
  }, Producer)
end

local function flush_soon(self)
  if not self.will_flush then
    self.will_flush = true
    core.loop.defer(function()
      self.will_flush = false
      self.single:flush()
    end)
  end
end

--- Sends a task.
-- @tparam Message message
-- @tparam table args its arguments
-- @tparam ?table extra what else goes into the body
-- @tparam function callback gets the id, and whether its outcome comes to the
-- inbox; or nil, a problem and the id that it would have had
-- @tparam ?string inbox where the outcome is to come to
-- @treturn[1] boolean true
-- @return[2] nil
-- @treturn[2] string why the arguments cannot travel; nothing was sent
-- @treturn[2] string the codec's code
function Producer:send(message, args, extra, callback, inbox)
  self.single = self.single or lane.new(self.requests, self.timeout_ms)
  local id = message.own_id or core.envelope.id(self.single:next())
  local envelope, why, code = core.envelope.pack(message.template, id, args,
    extra, self.message_bytes_max)
  if not envelope then
    return nil, why, code
  end
  self.single:add(message, { envelope }, #envelope, callback, inbox,
    kin.parent())
  flush_soon(self)
  return true
end

--- Sends many calls of a task.
-- @tparam Message message
-- @tparam {table,...} list of lists of arguments
-- @tparam ?table extra what else goes into each body
-- @tparam function callback gets the @{taskengine.bulk.Bulk} when it has ended
function Producer:send_many(message, list, extra, callback)
  bulk.send {
    requests = self.requests,
    timeout_ms = self.timeout_ms,
    bytes_max = self.message_bytes_max,
    free = self.idle,
    message = message,
    list = list,
    extra = extra,
    parent = kin.parent(),
    on_end = callback,
  }
end

return producer
