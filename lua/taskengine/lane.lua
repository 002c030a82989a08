--- Batches of tasks on their way to Redis, one after the other.
--
-- A lane is a *producer*: an id, and numbers that count its tasks. Redis
-- remembers the last number it accepted, so a batch can be sent again without
-- making a task twice. That the number proves anything needs two rules, kept
-- here: batches are sent one at a time, in the order of their numbers; and
-- once one was refused or not answered in time, no later number of that
-- producer is sent. The lane goes on as a new producer then.
-- @module taskengine.lane

local batch = require("taskengine.batch")
local core = require("taskengine.core")
local tally = require("taskengine.tally")

local lane = {}

-- te1_enqueue: the producer is retired, or its last number is not known any
-- more. Nothing was done.
local DONE <const>, UNUSABLE <const> = 0, 2

-- Redis forgets a producer after a week.
local IDLE_MS_MAX <const> = 86400 * 1000

--- A lane.
-- @type Lane
local Lane = {}
Lane.__index = Lane

local function renew(self)
  self.producer, self.last = core.envelope.new_producer(), 0
end

--- Makes a lane.
-- @tparam Requests requests
-- @tparam number timeout_ms how long a batch may wait for its answer
-- @treturn Lane
function lane.new(requests, timeout_ms)
  local self = setmetatable({
    requests = requests,
    timeout_ms = timeout_ms,
    queue = {}, -- batches, the one under way first
    used_ms = core.loop.now(),
  }, Lane)
  renew(self)
  return self
end

--- Whether no batch is there.
-- @treturn boolean
function Lane:is_idle()
  return #self.queue == 0
end

-- The batch that has room, a new one if need be.
local function open_batch(self, bytes)
  local newest = self.queue[#self.queue]
  if newest and newest:has_room(bytes) then
    return newest
  end
  newest = batch.new(self.producer, self.last + 1)
  newest.deadline_ms = core.loop.now() + self.timeout_ms
  self.queue[#self.queue + 1] = newest
  return newest
end

-- A producer of which Redis may know nothing any more would be refused.
local function freshen(self)
  local now = core.loop.now()
  if self:is_idle() and now - self.used_ms > IDLE_MS_MAX then
    renew(self)
  end
  self.used_ms = now
end

--- The producer and number that the next task gets; to be followed by
-- @{Lane:add} without anything in between.
-- @treturn string
-- @treturn int
function Lane:next()
  freshen(self)
  return self.producer, self.last + 1
end

local send

-- The batch under way was not accepted, so nothing behind it may be sent.
local function give_up(self, first, problem)
  local dropped = self.queue
  self.queue = {}
  renew(self)
  first:fail(problem)
  for i = 2, #dropped do
    dropped[i]:fail({ reason = problem.reason, sent = false })
  end
end

local function start_over(self)
  renew(self)
  for _, waiting in ipairs(self.queue) do
    waiting:renumber(self.producer, self.last + 1)
    self.last = self.last + waiting.count
  end
  self.queue[1].is_renumbered = true
  send(self)
end

local function on_answer(self, first, reply, problem)
  if reply and reply[2] == UNUSABLE then
    if not first.is_renumbered then
      return start_over(self)
    end
    problem = { reason = "Redis knows no new producer", sent = false }
  end
  if problem then
    return give_up(self, first, problem)
  end
  table.remove(self.queue, 1)
  if tally.listener then
    tally.listener:accepted(self.requests, first.producer,
      first.first + first.count - 1, first.count)
  end
  first:succeed(table.move(reply, 3, #reply, 1, {}), reply[2] == DONE)
  self:flush() -- unless somebody whom it told has done so
end

function send(self)
  local first = self.queue[1]
  first.is_sent = true
  local left_ms = first.deadline_ms - core.loop.now()
  self.requests:send("te1_enqueue", first.args, left_ms,
    function(reply, problem)
      on_answer(self, first, reply, problem)
    end)
end

--- Sends what was added, unless a batch is under way: then it follows.
function Lane:flush()
  local first = self.queue[1]
  if first and not first.is_sent then
    send(self)
  end
end

--- Adds tasks with the numbers of @{Lane:next}. They go out with the next
-- @{Lane:flush}, at the latest behind the batch under way.
-- @tparam Message message
-- @tparam {string,...} envelopes
-- @tparam int bytes of them all
-- @tparam function callback gets the id of the first; or nil, a problem and
-- the id that it would have had
-- @tparam ?string inbox and
-- @tparam ?string parent as for @{taskengine.batch.Batch:add}
function Lane:add(message, envelopes, bytes, callback, inbox, parent)
  if tally.listener then
    tally.listener:queued(self.requests, message.queue)
  end
  open_batch(self, bytes):add(message, envelopes, bytes, callback, inbox,
    parent)
  self.last = self.last + #envelopes
end

return lane
