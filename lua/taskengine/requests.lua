--- Calls of functions in Redis that are repeated until they are answered.
--
-- Only for calls that are harmless when repeated, as all of ours are: when
-- the connection is lost nobody knows whether a call was carried out, so it
-- is sent again, in the order of the first time. What is not answered in
-- time ends with a *problem*, a table:
--
--    reason   a sentence
--    sent     it may have been carried out
--    is_refusal  Redis has answered, with an error: it would again
--    is_passing  with one that passes by itself: it may not again
--
-- A *transport* is the way to Redis: taskengine.transport_redis, or in a
-- worker's child taskengine.transport_child. It has
--
--    fcall(self, name, args, callback)  callback(reply), or callback(nil,
--              message, code) with `EDOWN` (not carried out), `ELOST` (nobody
--              knows), or `EREPLY` (an error from Redis, or of the worker in
--              front of it); the callback never runs before fcall has
--              returned
--    inbox(self)        the key, behind the prefix, where outcomes arrive
--    listen(self, on)   whether any are waited for
--    why(self)          a sentence on why Redis cannot be reached, or nil
--    close(self)
--
-- and calls what it finds in its fields on_up(), on_down(why, fatal),
-- on_item(item), and on_gap() (items may have been missed).
-- @module taskengine.requests

local core = require("taskengine.core")
local refusal = require("taskengine.refusal")

local requests = {}

--- Requests under way.
-- @type Requests
local Requests = {}
Requests.__index = Requests

--- Makes an empty set.
-- @tparam table transport
-- @treturn Requests
function requests.new(transport)
  return setmetatable({
    transport = transport,
    pending = {}, -- by number, in the order of sending
    last = 0,
  }, Requests)
end

local function finish(self, request, reply, problem)
  self.pending[request.number] = nil
  request.timer:close()
  request.callback(reply, problem)
end

-- A call may fail behind the moment when Redis can be reached again.
local function resend_soon(self)
  if not self.will_resend and not self.transport:why() then
    self.will_resend = true
    core.loop.defer(function()
      self.will_resend = false
      self:resend()
    end)
  end
end

local function transmit(self, request)
  request.under_way = true
  self.transport:fcall(request.name, request.args, function(reply, why, code)
    if not self.pending[request.number] then
      return -- its time was up
    elseif not code then
      finish(self, request, reply)
    elseif code == "EREPLY" then
      local is_passing = refusal.is_passing(why)
      finish(self, request, nil, {
        reason = refusal.sentence(why),
        sent = request.may_be_done or false, -- the first time, perhaps
        is_refusal = not is_passing,
        is_passing = is_passing,
      })
    else
      request.under_way = false
      request.may_be_done = request.may_be_done or code ~= "EDOWN"
      resend_soon(self)
    end
  end)
end

local function expire(self, request)
  local why = self.transport:why()
  finish(self, request, nil, {
    reason = why and "the broker cannot be reached: " .. why
      or ("the broker did not answer within %.3g s")
        :format(request.timeout_ms / 1000),
    sent = request.under_way or request.may_be_done or false,
  })
end

-- The loop looks at its timers before it reads. What came while this program
-- computed counts, so it is read first: between the first turn and the second.
local function on_timer(self, request)
  core.loop.defer(function()
    core.loop.defer(function()
      if self.pending[request.number] then
        expire(self, request)
      end
    end)
  end)
end

--- Sends a request.
-- @tparam string name the function in Redis
-- @tparam {string,...} args
-- @tparam number timeout_ms
-- @tparam function callback gets the reply, or nil and a problem
function Requests:send(name, args, timeout_ms, callback)
  self.last = self.last + 1
  local request = {
    number = self.last,
    name = name,
    args = args,
    callback = callback,
    timeout_ms = timeout_ms,
  }
  request.timer = core.loop.timer(math.max(timeout_ms, 0), function()
    on_timer(self, request)
  end)
  self.pending[request.number] = request
  transmit(self, request)
end

local function in_order(self)
  local list = {}
  for _, request in pairs(self.pending) do
    list[#list + 1] = request
  end
  table.sort(list, function(a, b)
    return a.number < b.number
  end)
  return list
end

--- Sends again what is not answered; to be called when Redis can be reached.
function Requests:resend()
  for _, request in ipairs(in_order(self)) do
    if not request.under_way then
      transmit(self, request)
    end
  end
end

--- Gives up all that is not answered.
-- @tparam string reason a sentence
function Requests:give_up(reason)
  for _, request in ipairs(in_order(self)) do
    if self.pending[request.number] then
      finish(self, request, nil, {
        reason = reason,
        sent = request.under_way or request.may_be_done or false,
      })
    end
  end
end

return requests
