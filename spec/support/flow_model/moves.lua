--- How a model follows what it sees: of what its rules allow, at any time or
-- during the call that was just made, that is done which Redis has done.
-- @module spec.support.flow_model.moves

local rules = require("spec.support.flow_model.rules")

local moves = {}

local NOWHERE <const> = {}
local EXPIRED <const>, FORGOTTEN <const> = "R Expired", "F Forgotten"

-- One after the other, what failed waits again when the flow is retried.
local function reset(model, flow, node, seen)
  local there = seen.flows[flow.producer].nodes[node.number]
  if there.state == node.state and there.ended == node.ended
    and seen.pending[flow.producer] then
    return false
  end
  rules.reset(model, flow, node)
  return true
end

local FROM_WAITING <const> = {}

function FROM_WAITING.released(model, flow, node, _, says)
  if says.run and not node.virtual and not flow.revoked
    and not rules.is_forgotten(model, flow, node) then
    rules.release(model, flow, node)
    return true
  end
end

function FROM_WAITING.done(model, flow, node, _, says)
  if says.run and node.virtual and not flow.revoked
    and not rules.is_forgotten(model, flow, node) then
    local inputs = rules.inputs(model, flow, node)
    rules.end_node(model, flow, node, "done",
      "G(" .. table.concat(inputs, ", ") .. ")")
    return true
  end
end

function FROM_WAITING.failed(model, flow, node, _, says)
  if says.run and not flow.revoked
    and rules.is_forgotten(model, flow, node) then
    rules.end_node(model, flow, node, "failed", FORGOTTEN)
    return true
  end
end

function FROM_WAITING.needs(model, flow, node, there, says)
  local cause = (there.outcome or ""):match("^needs (%S+)")
  if says.causes[cause] and not flow.revoked then
    rules.end_node(model, flow, node, "needs", nil, cause)
    return true
  end
end

function FROM_WAITING.skipped(model, flow, node, _, says)
  if says.skip then
    rules.end_node(model, flow, node, "skipped", "skipped")
    return true
  end
end

function FROM_WAITING.revoked(model, flow, node)
  if flow.revoked then
    rules.end_node(model, flow, node, "revoked", flow.revoked)
    return true
  end
end

-- Whether a task may come out of its queue in this call.
local function comes_out(model, task, call)
  return call.takes_out and (task.place == "ready"
    or task.place == "prioritised"
    or task.place == "due" and task.when <= model.now)
end

local WAITING <const> = { due = true, prioritised = true }

-- Whether a task is seen to stand in its ready list still.
local function stays_ready(model, task, seen)
  local stale, places = model.stale[task.id], seen.tasks[task.id] or NOWHERE
  return task.place == "ready"
    and (places.ready or 0) > (stale and stale.count or 0)
end

-- It ends with its flow, where it waits or as it comes out.
local function end_with_flow(model, flow, node, seen, call)
  local task = model.tasks[node.id]
  local there = seen.flows[flow.producer].nodes[node.number]
  if not flow.revoked or there.outcome ~= flow.revoked then
    return false
  elseif stays_ready(model, task, seen) then
    model:bury(task, flow.revoked)
    model.happened["buried with its flow"] = true
    return true
  elseif WAITING[task.place] or comes_out(model, task, call) then
    rules.settle(model, task, flow.revoked)
    node.attempt = there.attempt -- nobody read it where it stood
    return true
  end
  return false
end

-- A released task ends without having run.
local function end_released(model, flow, node, seen, call)
  local task = model.tasks[node.id]
  if end_with_flow(model, flow, node, seen, call) then
    return true
  elseif comes_out(model, task, call) and task.expiry > 0
    and task.expiry <= model.now then
    rules.settle(model, task, EXPIRED, "expired")
    return true
  elseif task.is_unread and call.takes_back
    and (task.request or flow.revoked) then
    rules.settle(model, task, task.request or flow.revoked)
    return true
  end
  return false
end

local function end_delegated(model, flow, node, there)
  local task = model.tasks[node.id]
  local sink = task and rules.delegate_end(model, task)
  if sink and there.outcome ~= flow.revoked then
    rules.end_delegated(model, task, sink)
    return true
  elseif flow.revoked and there.state == "revoked" then
    rules.revoke_delegated(model, task, flow.revoked, flow.mode)
    return true
  end
  return false
end

local function move_node(model, flow, node, seen, call)
  local there = seen.flows[flow.producer].nodes[node.number]
  if flow.again[node.number] then
    return reset(model, flow, node, seen)
  elseif there.state == node.state then
    return false
  elseif node.state == "waits" then
    local move = FROM_WAITING[there.state]
    return move and (there.state == "revoked" or not next(flow.again))
      and move(model, flow, node, there, rules.verdict(flow, node)) or false
  elseif node.state == "released" and there.state == "revoked" then
    return end_released(model, flow, node, seen, call)
  end
  return node.state == "delegated" and end_delegated(model, flow, node, there)
    or false
end

-- Whether anything was ready in a queue before this call.
local function has_older(model, queue)
  for _, task in pairs(model.tasks) do
    if (task.place == "ready" or task.place == "prioritised")
      and task.queue == queue and task.since < model.now then
      return true
    end
  end
  for _, stale in pairs(model.stale) do
    if stale.queue == queue then
      return true
    end
  end
  return false
end

-- Whether a task that is ready may be given to that worker in this call: out of
-- its queue; or, where it need not wait there, straight.
local function is_given(model, task, there, call)
  local number = string.unpack(">I4", there.field, 21)
  local is_fetched = number == call.number and there.wid == call.wid
  if call.takes_out and is_fetched then
    return true
  end
  return (call.straight and is_fetched
      or call.hands_over and number >= 1 << 31)
    and task.priority == 0 and task.expiry == 0
    and (call.takes_out or not has_older(model, task.queue))
end

local TASK_MOVES <const> = {}

function TASK_MOVES.due(model, task, _, call)
  if call.promotes and task.when <= model.now then
    task.when = nil
    model:make_ready(task)
    return true
  end
end

function TASK_MOVES.ready(model, task, there, call)
  if there and there.place == "in flight"
    and is_given(model, task, there, call) then
    task.place, task.wid, task.field = "in flight", there.wid, there.field
    task.is_unread = there.is_unread
    model.happened[call.straight and "straight"
      or there.is_unread and "handed over" or "fetched"] = true
    return true
  end
end

TASK_MOVES.prioritised = TASK_MOVES.ready

TASK_MOVES["in flight"] = function(model, task, there, call)
  local flow = model:node_of(task.id)
  if task.is_unread and call.takes_back
    and not (there and there.is_unread and there.field == task.field) then
    task.wid, task.field, task.is_unread = nil, nil, nil
    model:make_ready(task)
    model.happened["taken back"] = true
    return true
  elseif there and there.mode ~= task.mode and flow.revoked
    and flow.mode ~= "w" then
    local mode = task.mode
    model:request(task, flow.mode, flow.revoked)
    return task.mode ~= mode
  end
end

-- Of a task, where it is: what is left in its queue of a revoked one is not
-- it.
local function place_of(places)
  for _, there in ipairs(places) do
    if there.place ~= "ready" then
      return there
    end
  end
  return places[1]
end

local function move_task(model, task, seen, call)
  local there = place_of(seen.tasks[task.id] or NOWHERE)
  local move = TASK_MOVES[task.place]
  if not move or there and there.place == task.place
    and there.field == task.field and there.mode == task.mode then
    return false
  end
  return move(model, task, there, call) or false
end

-- What is left in its queue of a task that was revoked there comes out.
local function move_stale(model, id, seen, call)
  local task, places = model.tasks[id], seen.tasks[id] or NOWHERE
  local expected = model.stale[id].count
    + (task and task.place == "ready" and 1 or 0)
  if call.takes_out and (places.ready or 0) < expected then
    model:drop_stale(id)
    return true
  end
  return false
end

local function move_all(model, seen, call)
  local moved = false
  for id in pairs(model.stale) do
    moved = move_stale(model, id, seen, call) or moved
  end
  for _, flow in pairs(model.flows) do
    for _, node in ipairs(flow.nodes) do
      moved = move_node(model, flow, node, seen, call) or moved
    end
  end
  for _, id in ipairs(model:task_ids()) do
    moved = move_task(model, model.tasks[id], seen, call) or moved
  end
  return moved
end

local function close(model, flow, seen)
  local there = seen.flows[flow.producer]
  if flow.roots[there.root] and not flow.root then
    flow.root = there.root
  end
  local is_through = there.left == rules.count_open(flow)
    or not seen.pending[flow.producer]
  if flow.is_retrying and not next(flow.again) and is_through then
    flow.is_retrying = false
  end
  flow.is_set_up = flow.is_retrying and there.is_set_up
  rules.close(model, flow)
  flow.is_held = there.is_held -- which may be done later than it is due
end

--- Does what Redis is seen to have done, as far as it may.
-- @tparam Model model
-- @tparam table seen see `spec.support.flow_seen`
-- @tparam table call what it may do: `takes_out` of queues, `promotes`,
-- `takes_back`, `hands_over`, `straight`; `wid` and `number` of what is given
function moves.follow(model, seen, call)
  local moved
  repeat
    moved = move_all(model, seen, call)
  until not moved
  for _, flow in pairs(model.flows) do
    close(model, flow, seen)
  end
end

return moves
