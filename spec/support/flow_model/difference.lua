--- Where a model and what is seen in Redis differ, in plain words.
-- @module spec.support.flow_model.difference

local rules = require("spec.support.flow_model.rules")

local difference = {}

local NODE <const> = { "state", "released", "ended", "attempt" }
local FLOW <const> = { "left", "root", "revoked", "is_over" }
local TASK <const> = {
  "place", "queue", "attempt", "deaths", "reaps", "delivery", "priority",
  "expiry", "node", "flow", "when", "wid", "field", "mode", "request", "to",
}

local URGENCY <const> = { w = 0, c = 1, t = 2 }

local function add(list, ...)
  list[#list + 1] = string.format(...)
end

local function show(value)
  return value == nil and "none" or (tostring(value):gsub("[^%g ]", "."))
end

local function compare(list, what, fields, mine, there)
  for _, field in ipairs(fields) do
    if mine[field] ~= there[field] then
      add(list, "%s: %s is %s, and must be %s", what, field,
        show(there[field]), show(mine[field]))
    end
  end
end

local function compare_outcome(list, what, is, must)
  if is ~= must then
    add(list, "%s: its outcome is %s, and must be %s", what, show(is),
      show(must))
  end
end

-- Nothing of a flow that goes on expires, all does of one that is over, unless
-- one that goes on needs it.
local function compare_expiry(list, flow, there, is_quiet)
  local has_end = flow.is_over and not rules.is_held(flow)
  if is_quiet then
    compare(list, "flow " .. flow.id,
      { "is_held", "expires", "is_to_go", "outcomes_expire" }, {
        is_held = rules.is_held(flow), expires = has_end, is_to_go = has_end,
        outcomes_expire = has_end and "all" or "none",
      }, there)
  end
  if there.is_marked ~= (flow.revoked ~= nil and not flow.is_over) then
    add(list, "flow %s: whether it is among the revoked", flow.id)
  end
end

local function compare_flow(list, model, flow, seen)
  local there, is_quiet = seen.flows[flow.producer], not next(seen.pending)
  compare(list, "flow " .. flow.id, FLOW, flow, there)
  if not flow.root and next(flow.roots) then
    add(list, "flow %s: its root is none of those that failed first", flow.id)
  end
  compare_outcome(list, "flow " .. flow.id, there.outcome,
    rules.flow_outcome(model, flow))
  if there.count ~= #flow.nodes then
    add(list, "flow %s has %s nodes", flow.id, show(there.count))
  end
  compare_expiry(list, flow, there, is_quiet)
  for i, node in ipairs(flow.nodes) do
    compare(list, "node " .. node.id, NODE, node, there.nodes[i])
    compare_outcome(list, "node " .. node.id, there.nodes[i].outcome,
      rules.outcome(model, node))
  end
end

-- An errback that was set off by one failure has nothing of others that were
-- to come; but has those that came in the same call, in whatever order.
local function is_input(model, is, must, node, k)
  if is == must then
    return true
  elseif not is or node.after[1][1] ~= "e" then
    return false
  end
  local from = node.of.nodes[node.after[k][2]]
  return is:sub(1, 1) == "-"
    or must:sub(1, 1) == "-" and is == rules.outcome(model, from)
end

local function compare_inputs(list, model, task, there)
  local _, node = model:node_of(task.id)
  local is_same = #there.inputs == #task.inputs
  for k, input in ipairs(task.inputs) do
    is_same = is_same and is_input(model, there.inputs[k], input, node, k)
  end
  if not is_same then
    add(list, "task %s takes (%s), and must take (%s)", task.id,
      table.concat(there.inputs, ", "), table.concat(task.inputs, ", "))
  end
end

local NOWHERE <const> = {}

local function compare_task(list, model, task, seen)
  local places = seen.tasks[task.id] or NOWHERE
  local stale = model.stale[task.id]
  local expected = 1 + (stale and stale.count or 0)
  if #places ~= expected then
    add(list, "task %s is in %d places, and must be in %d: %s", task.id,
      #places, expected, task.place)
    return
  end
  local there = places[#places]
  for _, other in ipairs(places) do
    there = other.place == task.place and other or there
  end
  compare(list, "task " .. task.id, TASK, task, there)
  compare_inputs(list, model, task, there)
end

local function compare_tasks(list, model, seen)
  for _, id in ipairs(model:task_ids()) do
    compare_task(list, model, model.tasks[id], seen)
  end
  for id, places in pairs(seen.tasks) do
    local stale = model.stale[id]
    if not model.tasks[id] and #places ~= (stale and stale.count or 0) then
      add(list, "task %s is %s, and must be nowhere", id, places[1].place)
    end
  end
  if seen.stray then
    add(list, "what nobody has is asked to end: %s", show(seen.stray))
  end
end

local function compare_sets(list, what, is, must)
  for id in pairs(is) do
    if not must[id] then
      add(list, "%s is among the %s", id, what)
    end
  end
  for id in pairs(must) do
    if not is[id] then
      add(list, "%s is not among the %s", id, what)
    end
  end
end

local function compare_counters(list, model, seen)
  for queue, counters in pairs(seen.counters) do
    local mine = model.counters[queue] or NOWHERE
    for name, n in pairs(counters) do
      if n ~= (mine[name] or 0) then
        add(list, "queue %s has %d %s, and must have %d", queue, n, name,
          mine[name] or 0)
      end
    end
  end
end

-- What a node in a state has still to do when there is no work left for its
-- flow.
local OVERDUE <const> = {}

function OVERDUE.waits(_, flow, node)
  local says = rules.verdict(flow, node)
  return (flow.revoked or says.run or says.skip or next(says.causes))
    and "does not go on"
end

function OVERDUE.delegated(model, flow, node, seen)
  local task = model.tasks[node.id]
  if rules.delegate_end(model, task) and not seen.pending[task.to] then
    return "goes on waiting for its delegate"
  end
  return flow.revoked and "outlives its flow"
end

function OVERDUE.released(model, flow, node)
  local task = model.tasks[node.id]
  if not flow.revoked then
    return false
  elseif task.place == "in flight" then
    return URGENCY[task.mode or "w"] < URGENCY[flow.mode]
      and "is not asked to end"
  end
  return "outlives its flow"
end

local function overdue(model, flow, node, seen)
  if flow.again[node.number] then
    return "is to wait again"
  end
  local judge = OVERDUE[node.state]
  return judge and judge(model, flow, node, seen)
end

local function find_overdue(list, model, seen)
  for producer, flow in pairs(model.flows) do
    for _, node in ipairs(seen.pending[producer] and NOWHERE or flow.nodes) do
      local problem = overdue(model, flow, node, seen)
      if problem then
        add(list, "node %s %s: it %s, and nothing is left to be done", node.id,
          problem, node.state)
      end
    end
  end
end

--- What is not as it must be.
-- @tparam Model model
-- @tparam table seen
-- @treturn {string,...} a sentence each; none when all is well
function difference.of(model, seen)
  local list = {}
  for _, flow in pairs(model.flows) do
    compare_flow(list, model, flow, seen)
  end
  compare_tasks(list, model, seen)
  compare_sets(list, "dead", seen.dead, model.dead)
  compare_sets(list, "tombstones", seen.tombstones, model.tombstones)
  compare_counters(list, model, seen)
  find_overdue(list, model, seen)
  table.sort(list)
  return list
end

return difference
