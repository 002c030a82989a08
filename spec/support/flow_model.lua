--- What the functions do for flows, in plain tables: the reference for
-- `spec/unit/functions/flow_faults_spec.lua`.
--
-- A model is told of each call and answers with the reply that is due. What
-- nodes do by themselves (`flow_model.rules`) may be done at once or be left
-- for later calls, and in any order: there a model follows what is seen in
-- Redis, if it is among what the rules allow (`flow_model.moves`). Then both
-- must agree (`flow_model.difference`), and nothing that the rules ask for may
-- be left where no work is.
--
-- Outcomes are words, see `spec.support.flow_words`.
-- @module spec.support.flow_model

local moves = require("spec.support.flow_model.moves")
local difference = require("spec.support.flow_model.difference")
local rules = require("spec.support.flow_model.rules")

local flow_model = {}

local Model = {}
Model.__index = Model

local DELEGATE_GONE <const> = "F Forgotten"
local DEATHS_MAX <const>, REAPS_MAX <const> = 3, 10
local PUT_OFF <const> = "R Expired"
local AGAIN <const> = {
  failed = true, needs = true, revoked = true, skipped = true,
}
-- A join in such a state can have more members.
local GROWS <const> = {
  waits = true, needs = true, revoked = true, skipped = true,
}

--- An empty shard.
-- @treturn Model
function flow_model.new()
  return setmetatable({
    now = 0,
    flows = {}, -- by producer: those that were sealed
    nodes = {}, -- by id
    tasks = {}, -- by id: released, and not ended
    stale = {}, -- by id: what is left in its queue of one revoked there
    tombstones = {}, -- their ids
    dead = {}, -- ids
    waits = {}, -- ids that somebody waits for
    told = {}, -- outcomes that came to them, with the id in front
    counters = {}, -- by queue and name
    happened = {}, -- what nodes and tasks have done by themselves
  }, Model)
end

--- The time in a flow.
-- @treturn int ms
function Model:moment(flow)
  return math.max(self.now - flow.made, 1)
end

function Model:node_of(id)
  local node = self.nodes[id]
  return node.of, node
end

--- The tasks there are, in order.
function Model:task_ids()
  local ids = {}
  for id in pairs(self.tasks) do
    ids[#ids + 1] = id
  end
  table.sort(ids)
  return ids
end

function Model:count(queue, name)
  local counters = self.counters[queue] or {}
  self.counters[queue] = counters
  counters[name] = (counters[name] or 0) + 1
end

function Model:make_ready(task)
  task.place = task.priority > 0 and "prioritised" or "ready"
  task.since = self.now
end

--- What was revoked in a ready list has come out of it.
function Model:drop_stale(id)
  local stale = self.stale[id]
  self.happened["came out stale"] = true
  stale.count = stale.count - 1
  if stale.count == 0 then
    self.stale[id], self.tombstones[id] = nil, nil
  end
  self:count(stale.queue, "revoked")
end

--- A flow is sealed.
-- @tparam Plan plan
-- @tparam int made when its first piece came, ms
function Model:seal(plan, made)
  local flow = {
    producer = plan.producer, id = plan:id(0), made = made, nodes = {},
    again = {}, roots = {}, sink = #plan.nodes,
    held_by = {}, is_held = false, is_over = false,
  }
  self.flows[plan.producer] = flow
  self:extend(plan)
end

--- A flow has got more nodes.
-- @tparam Plan plan
function Model:extend(plan)
  local flow = self.flows[plan.producer]
  for i = #flow.nodes + 1, #plan.nodes do
    local drawn = plan.nodes[i]
    local parts = drawn.parts or {}
    flow.nodes[i] = {
      id = plan:id(i), number = i, of = flow, after = drawn.after,
      virtual = drawn.virtual, delay_ms = drawn.delay_ms, grows = drawn.grows,
      queue = parts.queue, priority = parts.priority or 0,
      lives_ms = parts.expiry_ms or 0, keeps_nothing = parts.flags == 1,
      state = "waits", released = 0, ended = 0, attempt = 0,
    }
    self.nodes[plan:id(i)] = flow.nodes[i]
  end
end

--- Redis has carried out a call.
-- @tparam table seen what is there now
-- @tparam table call what it may have done beside what it was told to
-- @treturn {string,...} where both differ
function Model:follow(seen, call)
  moves.follow(self, seen, call)
  return difference.of(self, seen)
end

--- The task that a worker has under a field; nil when it has not.
function Model:held(wid, field)
  local task = self.tasks[field:sub(1, 20)]
  return task and task.place == "in flight" and task.wid == wid
    and task.field == field and task or nil
end

local function leave(task)
  task.wid, task.field, task.is_unread = nil, nil, nil
  task.mode, task.request = nil, nil
end

local function give_back(self, task)
  leave(task)
  task.delivery = task.delivery + 1
  self:make_ready(task)
end

-- What a worker tells of a task that has not ended.
local TOLD <const> = {}

function TOLD.h(self, task)
  give_back(self, task)
end

function TOLD.b(self, task)
  self:count(task.queue, "redelivered")
  give_back(self, task)
end

function TOLD.l(self, task, outcome)
  task.deaths = task.deaths + 1
  self:count(task.queue, "lost")
  if task.deaths == DEATHS_MAX then
    return rules.settle(self, task, outcome)
  end
  give_back(self, task)
end

function TOLD.r(self, task, delay, outcome)
  if task.expiry > 0 and task.expiry <= self.now + delay then
    return rules.settle(self, task, outcome or PUT_OFF,
      not outcome and "expired" or nil)
  elseif outcome then
    task.attempt = task.attempt + 1
    self:count(task.queue, "retried")
  end
  give_back(self, task)
  if delay > 0 then
    task.place, task.when = "due", self.now + delay
  end
end

function TOLD.w(self, task, producer)
  local _, node = self:node_of(task.id)
  if not self.flows[producer] then
    task.deaths = task.deaths + 1
    if task.deaths == DEATHS_MAX then
      return rules.settle(self, task, DELEGATE_GONE)
    end
    return give_back(self, task)
  end
  leave(task)
  node.state, task.place, task.to = "delegated", "delegated", producer
end

-- The outcome and the mode of a task that is asked to end, or whose flow was
-- revoked: it ends where it would not have.
local function request_of(self, task)
  local flow = self:node_of(task.id)
  return task.request or flow.revoked, task.mode or flow.mode
end

-- What else there is to do where a task ends in place of that.
local INSTEAD <const> = {}

function INSTEAD.w(self, outcome, mode, producer)
  rules.revoke_flow(self.flows[producer], outcome, mode)
end

--- A worker tells of a task.
-- @tparam string wid
-- @tparam string field
-- @tparam string what `o`, or a letter in `TOLD`
-- @param ... words that go with it
-- @treturn int 1 when it was still the worker's, or 0
function Model:finish(wid, field, what, ...)
  local task = self:held(wid, field)
  if not task then
    return 0
  end
  local outcome, mode = request_of(self, task)
  if what == "o" then
    rules.settle(self, task, (...))
  elseif outcome then
    rules.settle(self, task, outcome)
    if INSTEAD[what] then
      INSTEAD[what](self, outcome, mode, ...)
    end
  else
    TOLD[what](self, task, ...)
  end
  return 1
end

--- A worker is gone.
-- @tparam string wid
-- @tparam string outcome of what was lost too often
-- @tparam {[string]=boolean,...} started fields of what it ran; nil for all
-- @treturn int how many tasks it had
function Model:reap(wid, outcome, started)
  local count = 0
  for _, id in ipairs(self:task_ids()) do
    local task = self.tasks[id]
    if task and task.wid == wid then
      count = count + 1
      self:lose(task, outcome, not started or started[task.field])
    end
  end
  return count
end

function Model:lose(task, outcome, has_started)
  local request = request_of(self, task)
  if request then
    return rules.settle(self, task, request)
  elseif task.is_unread then
    leave(task)
    return self:make_ready(task)
  elseif has_started then
    task.reaps = task.reaps + 1
    self:count(task.queue, "lost")
    if task.reaps == REAPS_MAX then
      return rules.settle(self, task, outcome)
    end
  end
  give_back(self, task)
end

--- What runs is asked to end. The first outcome stays.
function Model:request(task, mode, outcome)
  if not task.mode or mode == "t" then
    task.mode, task.request = mode, task.request or outcome
  end
end

--- What stands in a ready list ends there.
function Model:bury(task, outcome)
  local flow, node = self:node_of(task.id)
  local stale = self.stale[task.id] or { count = 0, queue = task.queue }
  stale.count = stale.count + 1
  self.stale[task.id], self.tombstones[task.id] = stale, true
  self.tasks[task.id] = nil
  rules.end_node(self, flow, node, "revoked", outcome)
end

-- A task is revoked, wherever it is.
local function revoke_task(self, task, outcome, mode)
  local attempt = self.nodes[task.id].attempt
  if task.place == "in flight" then
    if mode == "w" then
      return "running"
    end
    self:request(task, mode, outcome)
    return "asked"
  elseif task.place == "delegated" then
    rules.revoke_delegated(self, task, outcome, mode)
  elseif task.place == "ready" then
    self:bury(task, outcome)
  else
    rules.settle(self, task, outcome)
    self.nodes[task.id].attempt = attempt
  end
  return "revoked"
end

--- Somebody revokes a task.
-- @tparam string id
-- @tparam string outcome
-- @tparam string mode
-- @treturn string the reply
function Model:revoke(id, outcome, mode)
  local node = self.nodes[id]
  if not node then
    return "unknown"
  elseif node.of.again[node.number] then
    rules.reset(self, node.of, node)
  end
  if not rules.is_open(node) then
    return "finished"
  elseif node.state == "waits" then
    rules.end_node(self, node.of, node, "revoked", outcome)
    return "revoked"
  end
  return revoke_task(self, self.tasks[id], outcome, mode)
end

--- Somebody revokes a flow.
-- @treturn string the reply
function Model:revoke_flow(producer, outcome, mode)
  return rules.revoke_flow(self.flows[producer], outcome, mode)
    and "revoked" or "finished"
end

--- What did not go well is to be done again.
-- @treturn string the reply
function Model:retry(producer)
  local flow = self.flows[producer]
  if not flow then
    return "missing"
  elseif not flow.is_over then
    return "running"
  elseif not flow.root and not flow.revoked then
    return "nothing"
  end
  flow.is_over, flow.outcome = false, nil
  flow.is_retrying, flow.is_set_up = true, true
  flow.root, flow.revoked, flow.mode, flow.roots = nil, nil, nil, {}
  for i, node in ipairs(flow.nodes) do
    flow.again[i] = AGAIN[node.state]
  end
  return "retried"
end

-- What becomes of a member when its flow is to be done again.
local REQUEUED <const> = {
  retried = "requeued", running = "running", nothing = "missing",
}

--- Somebody asks to run one of the dead again.
-- @treturn string the reply
function Model:requeue(id)
  local node = self.nodes[id]
  if not self.dead[id] then
    return "missing"
  elseif node.of.again[node.number] then
    return "requeued" -- as it is to be done again by now
  end
  local flow = self.flows[id:sub(1, 12)]
  if flow and flow.is_set_up then
    return "requeued" -- with all that is done again there
  end
  return REQUEUED[self:retry(id:sub(1, 12))]
end

--- The outcome of a task or a flow; nil while it has none.
function Model:outcome(id)
  local node, flow = self.nodes[id], self.flows[id:sub(1, 12)]
  if node then
    return rules.outcome(self, node)
  end
  return flow and rules.flow_outcome(self, flow)
end

--- Somebody forgets an outcome.
-- @treturn int the reply
function Model:forget(id)
  local node = self.nodes[id]
  local outcome = self:outcome(id)
  if not outcome or outcome == "-"
    or node and (not node.of.is_over or node.of.is_held) then
    return 0
  end
  local entry = node or self.flows[id:sub(1, 12)]
  entry.outcome = "-"
  return 1
end

--- A queue is purged of what is ready, or of what is due.
-- @tparam string queue
-- @tparam string outcome
-- @tparam {[string]=boolean,...} places
-- @treturn int how many tasks have ended
-- @treturn int how many had before
function Model:purge(queue, outcome, places)
  local ended, before = 0, 0
  for id, stale in pairs(places.ready and self.stale or {}) do
    for _ = 1, stale.queue == queue and stale.count or 0 do
      before = before + 1
      self:drop_stale(id)
    end
  end
  for _, id in ipairs(self:task_ids()) do
    local task = self.tasks[id]
    if task.queue == queue and places[task.place] then
      ended = ended + 1
      rules.settle(self, task, outcome)
    end
  end
  return ended, before
end

--- The nodes that gather what a node is member of, and by which edges.
-- @treturn {table,...} `node`, `kind`
function Model:joins(id)
  local joins, from = {}, self.nodes[id]
  for _, node in ipairs(from.of.nodes) do
    for _, edge in ipairs(node.grows and node.after or {}) do
      if edge[2] == from.number and GROWS[node.state] then
        joins[#joins + 1] = { node = node, kind = edge[1] }
      end
    end
  end
  return joins
end

--- Whether a task may add members: the verdict that is due.
-- @treturn int
function Model:verdict_of_addition(id)
  local node = self.nodes[id]
  if node.of.revoked or node.state ~= "released" then
    return 2
  end
  return self:joins(id)[1] and 0 or 1
end

--- Tombstones go once no ready list is there.
function Model:heartbeat()
  for _, task in pairs(self.tasks) do
    if task.place == "ready" then
      return
    end
  end
  if not next(self.stale) then
    self.tombstones = {}
  end
end

return flow_model
