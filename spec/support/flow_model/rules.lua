--- What a flow's nodes do by themselves: what each waits for, what its end
-- means to others.
-- @module spec.support.flow_model.rules

local rules = {}

local OPEN <const> = { waits = true, released = true, delegated = true }
local FAILED <const> = { failed = true, needs = true, revoked = true }
local GOES_ON <const> = { c = true, i = true }
local LETTERS <const> = { S = "done", G = "done", F = "failed", R = "revoked" }
--- The outcome of a result that is not kept, and of a flow that went well.
rules.NIL = "S\\192"

function rules.is_open(node)
  return OPEN[node.state] ~= nil
end

-- What the outcome of a task makes of its node.
local function state_for(outcome)
  return LETTERS[outcome:sub(1, 1)] or "done"
end

-- An errback runs for the first failure, and is skipped when there was none.
local function verdict_of_errback(flow, node)
  local says, waits = { causes = {} }, false
  for _, edge in ipairs(node.after) do
    local from = flow.nodes[edge[2]]
    waits = waits or OPEN[from.state]
    says.run = says.run or FAILED[from.state]
  end
  says.skip = not waits and not says.run
  return says
end

--- What those ahead of a node say to it by now: `run`; `skip`; the causes for
-- which it fails. Nothing while that is open.
function rules.verdict(flow, node)
  if node.after[1] and node.after[1][1] == "e" then
    return verdict_of_errback(flow, node)
  end
  local says, waits = { causes = {} }, false
  for _, edge in ipairs(node.after) do
    local goes_on, from = GOES_ON[edge[1]], flow.nodes[edge[2]]
    if OPEN[from.state] then
      waits = true
    elseif from.state == "skipped" and not goes_on then
      says.skip = true
    elseif FAILED[from.state] and not goes_on then
      says.causes[from.cause or from.id] = true
    end
  end
  says.run = not waits and not says.skip and not next(says.causes)
  return says
end

--- A node waits again, as if nothing had come to it.
function rules.reset(model, flow, node)
  flow.again[node.number] = nil
  model.dead[node.id] = nil
  node.state, node.outcome, node.cause = "waits", nil, nil
  node.released, node.ended, node.attempt = 0, 0, 0
end

--- The outcome of a node as it is told: of one that failed for another, that
-- one's error is part of it. Nobody is told how one ended that is to be done
-- again.
function rules.outcome(model, node)
  if node.of.again[node.number] then
    return nil
  elseif not node.outcome and node.cause then
    local cause = model.nodes[node.cause]
    local outcome = cause and cause.outcome or ""
    local error = outcome == "skipped" and "Skipped"
      or outcome:match("^[FR] (.*)$")
    return ("needs %s of %s"):format(node.cause, error or "nothing")
  end
  return node.outcome
end

-- Nothing is known of how a node ended, or it has not.
local function is_gone(model, node)
  local outcome = rules.outcome(model, node)
  return not outcome or outcome == "-"
end

--- Whether a node takes what is gone, where only a success will do.
function rules.is_forgotten(model, flow, node)
  for _, edge in ipairs(node.after) do
    if edge[1] == "f" and is_gone(model, flow.nodes[edge[2]]) then
      return true
    end
  end
  return false
end

--- What a node takes.
function rules.inputs(model, flow, node)
  local inputs = {}
  for _, edge in ipairs(node.after) do
    local from = flow.nodes[edge[2]]
    if edge[1] ~= "s" then
      inputs[#inputs + 1] = is_gone(model, from) and "-" .. from.id
        or rules.outcome(model, from)
    end
  end
  return inputs
end

--- Who waits for it hears of an end.
function rules.tell(model, id, outcome)
  if model.waits[id] then
    model.waits[id] = nil
    table.insert(model.told, id .. " " .. outcome)
  end
end

--- A node ends. Who waits may be told another outcome than is kept.
function rules.end_node(model, flow, node, state, outcome, cause, told)
  assert(OPEN[node.state], "it ends twice")
  node.state, node.outcome, node.cause = state, outcome, cause
  model.happened[state] = true
  node.ended = model:moment(flow)
  if state == "failed" or state == "revoked" then
    flow.roots[node.id] = true
  end
  rules.tell(model, node.id, told or rules.outcome(model, node))
end

--- A task ends with an outcome.
-- @tparam Model model
-- @tparam table task
-- @tparam string outcome
-- @tparam[opt] string counter another than that of the outcome
function rules.settle(model, task, outcome, counter)
  local flow, node = model:node_of(task.id)
  local state = state_for(outcome)
  local kept = state == "done" and node.keeps_nothing and rules.NIL or outcome
  model.tasks[task.id] = nil
  node.attempt = task.attempt
  rules.end_node(model, flow, node, state, kept, nil, outcome)
  model:count(task.queue, counter or state)
  if state == "failed" then
    model.dead[task.id] = true
  end
end

--- A node becomes a task.
function rules.release(model, flow, node)
  local delay = node.delay_ms or 0
  node.state, node.released, node.ended = "released", model:moment(flow), 0
  node.attempt = 0
  model:count(node.queue, "enqueued")
  model.tasks[node.id] = {
    id = node.id, queue = node.queue, priority = node.priority,
    attempt = 0, deaths = 0, reaps = 0, delivery = 0,
    node = node.number, flow = flow.producer,
    expiry = node.lives_ms > 0 and model.now + node.lives_ms or 0,
    inputs = rules.inputs(model, flow, node),
    place = delay > 0 and "due" or "ready",
    when = delay > 0 and model.now + delay or nil,
  }
  if delay == 0 then
    model:make_ready(model.tasks[node.id])
  end
end

--- Nobody needs a flow any more. A second time it can only be killed.
function rules.revoke_flow(flow, outcome, mode)
  if not flow or flow.is_over
    or flow.revoked and (mode ~= "t" or flow.mode == "t") then
    return false
  end
  flow.revoked, flow.mode = flow.revoked or outcome, mode
  return true
end

--- A task that waits for the flow that it delegated to ends without it.
function rules.revoke_delegated(model, task, outcome, mode)
  rules.revoke_flow(model.flows[task.to], outcome, mode)
  rules.settle(model, task, outcome)
end

--- How what a task delegated to has ended; nil while it has not.
function rules.delegate_end(model, task)
  local flow = model.flows[task.to]
  local sink = flow and flow.nodes[flow.sink]
  return sink and not OPEN[sink.state] and not flow.again[flow.sink] and sink
    or nil
end

--- A task ends as what it delegated to. Where its outcome names nodes there,
-- that flow stays for its own.
function rules.end_delegated(model, task, sink)
  model.happened["ended by its delegate"] = true
  if sink.cause or sink.outcome:sub(1, 1) == "G" then
    sink.of.held_by[model:node_of(task.id)] = true
  end
  if not sink.cause and sink.state ~= "skipped" then
    return rules.settle(model, task, sink.outcome)
  end
  local flow, node = model:node_of(task.id)
  model.tasks[task.id] = nil
  flow.roots[sink.cause or ""] = sink.cause and true
  rules.end_node(model, flow, node, sink.state, sink.outcome, sink.cause)
  model:count(task.queue, sink.cause and "failed" or "revoked")
end

--- Whether a flow stays for one that goes on.
function rules.is_held(flow)
  for other in pairs(flow.held_by) do
    if not other.is_over or rules.is_held(other) then
      return true
    end
  end
  return false
end

--- How many nodes have not ended.
function rules.count_open(flow)
  local open = 0
  for _, node in ipairs(flow.nodes) do
    open = open + (OPEN[node.state] and 1 or 0)
  end
  return open
end

--- All nodes may have ended: the flow has then. One that is retried is held
-- open by one until all of its nodes have been seen to.
function rules.close(model, flow)
  flow.left = rules.count_open(flow) + (flow.is_retrying and 1 or 0)
  if flow.left == 0 and not flow.is_over then
    flow.is_over = true
    flow.outcome = flow.revoked
      or not flow.root and rules.NIL or nil
    rules.tell(model, flow.id, rules.flow_outcome(model, flow))
  end
end

--- The outcome of a flow; nil while it goes on.
function rules.flow_outcome(model, flow)
  return flow.is_over and (flow.outcome
    or rules.outcome(model, { of = flow, cause = flow.root })) or nil
end

return rules
