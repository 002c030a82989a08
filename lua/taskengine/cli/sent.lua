--- What a script has sent, and how much of that is known to have ended.
--
-- Of plain tasks that is heard one by one, as their results are read. Of a
-- workflow a script often reads one result, at its end, so Redis is asked now
-- and then how far it is.
-- @module taskengine.cli.sent

local core = require("taskengine.core")
local flow_look = require("taskengine.canvas.flow_look")
local header = require("taskengine.header")
local plan = require("taskengine.canvas.plan")

local sent = {}

local TIMEOUT_MS <const> = 10000
-- In the reply of te1_flow_look.
local NODES <const>, LEFT <const> = 3, 4
-- Nodes that have not ended and are in no queue: they wait for others, or for
-- the flow that stands in for them.
local IS_HELD_BACK <const> = { ["\0"] = true, g = true }
-- So many flows are asked for those at the end of a script.
local FLOWS_MAX <const> = 1000

--- What was sent.
-- @type Sent
local Sent = {}
Sent.__index = Sent

--- Makes an empty one.
-- @treturn Sent
function sent.new()
  return setmetatable({
    lanes = {}, -- producer to `requests` and `last`, its newest number
    plain = 0, -- tasks of those
    plain_ended = 0,
    flows = {}, -- producer to a flow
    in_flows = 0, -- tasks of those that Redis has accepted
    in_flows_ended = 0,
    open = {}, -- flows that Redis is asked about, from first to last
    first = 1,
    last = 0,
  }, Sent)
end

--- Notes plain tasks that were accepted, see @{taskengine.tally}.
-- @tparam Requests requests
-- @tparam string producer
-- @tparam int last
-- @tparam int count
function Sent:accepted(requests, producer, last, count)
  self.lanes[producer] = { requests = requests, last = last }
  self.plain = self.plain + count
end

-- A task counts unless it is there for failures only. The sinks are what
-- nothing waits for: when they have succeeded, all the others have ended.
local function new_flow(requests, producer, made)
  local flow = {
    requests = requests,
    producer = producer,
    nodes = made.count,
    count = made.count,
    uncounted = {},
    sinks = {},
    ended = 0,
  }
  for node = 1, made.count do
    local is_errback = made.is_errback[node]
    if is_errback or made.what[node] == plan.JOIN then
      flow.uncounted[node] = true
      flow.count = flow.count - 1
    end
    flow.sinks[node] = not is_errback and not made:edges(node) or nil
  end
  return flow
end

--- Notes a flow that is about to be sent: from now on it may have to be
-- revoked.
-- @tparam Requests requests
-- @tparam string producer
-- @tparam Plan made
function Sent:flow_begins(requests, producer, made)
  if not self.flows[producer] then
    self.flows[producer] = new_flow(requests, producer, made)
  end
end

local function watch(self, flow)
  self.last = self.last + 1
  self.open[self.last] = flow
end

--- Notes that Redis has all of a flow.
-- @tparam string producer
function Sent:flow_accepted(producer)
  local flow = self.flows[producer]
  if not flow.is_accepted then
    flow.is_accepted = true
    self.in_flows = self.in_flows + flow.count
    watch(self, flow)
  end
end

local function set_ended(self, flow, ended)
  ended = math.min(math.max(ended, flow.ended), flow.count)
  self.in_flows_ended = self.in_flows_ended + ended - flow.ended
  flow.ended = ended
end

local function node_ended(self, flow, node, is_success)
  if flow.is_over then
    return
  elseif not flow.uncounted[node] then
    set_ended(self, flow, flow.ended + 1)
  end
  if is_success then
    flow.sinks[node] = nil
    if not next(flow.sinks) then
      flow.is_over, flow.uncounted, flow.sinks = true, nil, nil
      set_ended(self, flow, flow.count)
    end
  end
end

--- Notes that an outcome is known, see @{taskengine.tally}.
-- @tparam string id
-- @tparam boolean is_success
-- @tparam boolean is_old
function Sent:ended(id, is_success, is_old)
  local producer = header.producer(id)
  local flow = self.flows[producer]
  if flow then
    node_ended(self, flow, core.envelope.seq(id), is_success)
  elseif self.lanes[producer] or not is_old then
    self.plain_ended = self.plain_ended + 1
  end
end

--- How many tasks were sent, and of how many of them it is known that they have
-- ended.
-- @treturn int
-- @treturn int
function Sent:counts()
  return self.plain + self.in_flows,
    math.min(self.plain_ended, self.plain) + self.in_flows_ended
end

--- Whether nothing was sent, not even in part.
-- @treturn boolean
function Sent:is_empty()
  return not (next(self.lanes) or next(self.flows))
end

-- The flow that was not asked about for the longest time, if it goes on.
local function take_open(self)
  while self.first <= self.last do
    local flow = self.open[self.first]
    self.open[self.first] = nil
    self.first = self.first + 1
    if not flow.is_over then
      return flow
    end
  end
end

--- Asks how far one of the flows is, each in its turn.
function Sent:look()
  local flow = not self.is_looking and take_open(self)
  if not flow then
    return
  end
  self.is_looking = true
  flow.requests:send("te1_flow_look", { flow.producer, "h", 0, 0 }, TIMEOUT_MS,
    function(reply)
      self.is_looking = false
      local left = reply and reply[LEFT]
      if left then
        set_ended(self, flow, left == 0 and flow.count or reply[NODES] - left)
      end
      if left ~= 0 then
        watch(self, flow)
      end
    end)
end

local function held_back_in(look, flow)
  local count = 0
  for node = 1, flow.nodes do
    if not flow.uncounted[node] and IS_HELD_BACK[look:cell(node)] then
      count = count + 1
    end
  end
  return count
end

--- How many tasks of workflows wait in no queue, because they wait for others.
-- @tparam Client way
-- @treturn ?int nil when there are too many workflows to be asked about
-- @raise TaskError of kind BrokerUnavailable
function Sent:count_held_back(way)
  local count, asked = 0, 0
  for producer, flow in pairs(self.flows) do
    if flow.is_accepted and not flow.is_over then
      asked = asked + 1
      if asked > FLOWS_MAX then
        return nil
      end
      local look = flow_look.new(way, core.envelope.id(producer, 0))
      local head = look:head()
      if head and head.state == "running" then
        count = count + held_back_in(look, flow)
      end
    end
  end
  return count
end

--- What is to be revoked now, in this order: each flow as a whole, of which
-- nothing starts then any more; and all tasks, from the newest to the oldest of
-- each producer.
-- @treturn {table,...} the `requests` to be asked; the `producer`; its numbers
-- from `first` to `last` but for those in the set `uncounted`; `is_whole` for a
-- flow
function Sent:sources()
  local sources, tasks = {}, {}
  for producer, flow in pairs(self.flows) do
    if not flow.is_over then
      flow.is_over = true
      sources[#sources + 1] = { requests = flow.requests, producer = producer,
        first = 0, last = 0, uncounted = {}, is_whole = true }
      tasks[#tasks + 1] = { requests = flow.requests, producer = producer,
        first = 1, last = flow.nodes, uncounted = flow.uncounted }
    end
  end
  for producer, lane in pairs(self.lanes) do
    tasks[#tasks + 1] = { requests = lane.requests, producer = producer,
      first = 1, last = lane.last, uncounted = {} }
  end
  return table.move(tasks, 1, #tasks, #sources + 1, sources)
end

return sent
