--- Flows, and what is added to them, drawn from a source of chance.
-- @module spec.support.flow_draw

local flow_plan = require("spec.support.flow_plan")

local flow_draw = {}

local KINDS <const> = { "f", "f", "s", "c", "i" }
local NO_RESULT <const> = 1

local function draw_parts(chance, queues)
  return {
    queue = chance:pick(queues),
    priority = chance:upto(6) == 1 and 1 or 0,
    expiry_ms = chance:upto(8) == 1 and chance:upto(400) or 0,
    flags = chance:upto(8) == 1 and NO_RESULT or 0,
  }
end

-- Errbacks need one failure of one or two nodes.
local function draw_sources(chance, i)
  local after = { { "e", chance:upto(i - 1) } }
  if i > 2 and chance:upto(3) == 1 then
    after[2] = { "e", after[1][2] % (i - 1) + 1 }
  end
  return after
end

local function draw_node(chance, queues, i)
  local node = {
    after = {},
    virtual = chance:upto(5) == 1,
    delay_ms = chance:upto(8) == 1 and chance:upto(500) or 0,
    parts = draw_parts(chance, queues),
  }
  if i > 1 and chance:upto(8) == 1 then
    node.virtual, node.after = false, draw_sources(chance, i)
    return node
  end
  for from = math.max(i - 4, 1), i - 1 do
    if chance:upto(2) == 1 then
      table.insert(node.after, { chance:pick(KINDS), from })
    end
  end
  node.grows = chance:upto(2) == 1
  return node
end

--- A flow.
-- @tparam table chance
-- @tparam {string,...} queues
-- @tparam int ttl_s
-- @treturn Plan
function flow_draw.plan(chance, queues, ttl_s)
  local plan = flow_plan.new("flow", { ttl_s = ttl_s })
  for i = 1, 1 + chance:upto(11) do
    plan:node(draw_node(chance, queues, i))
  end
  return plan
end

--- A flow by which a task is to end: with the last of its nodes.
-- @tparam table chance
-- @tparam {string,...} queues
-- @tparam string name of its producer
-- @tparam string id of the task
-- @treturn Plan
function flow_draw.delegate(chance, queues, name, id)
  local plan = flow_plan.new(name, { ttl_s = 60 })
  for i = 1, chance:upto(3) do
    plan:node(draw_node(chance, queues, i))
  end
  plan.nodes[#plan.nodes].delegate, plan.delegate = 0, id
  return plan
end

--- Its pieces in two or three calls, the last of which seals it.
-- @tparam Plan plan
-- @tparam table chance
-- @treturn {table,...} arguments of te1_flow
function flow_draw.calls(plan, chance)
  local compiled, calls = plan:compiled(), {}
  for k = 1, 1 + chance:upto(2) do
    calls[k] = { plan.producer, k == 1 and 2 or 0, #plan.nodes, plan.ttl_s, "",
      "", "" }
  end
  local function add(...)
    local call, piece = chance:pick(calls), { ... }
    table.move(piece, 1, #piece, #call + 1, call)
  end
  for _, letter in ipairs { "t", "o", "i" } do
    for k, bytes in ipairs(compiled[letter]) do
      add(letter, k, bytes)
    end
  end
  for i, record in ipairs(compiled.records) do
    add("n", i, 1, record)
  end
  for _, i in ipairs(compiled.sources) do
    add("s", i, i)
  end
  calls[#calls][2] = 1
  return calls
end

--- One to three nodes, each behind the one before it or not; the last one, at
-- least, is a member.
-- @tparam table chance
-- @tparam {string,...} queues
-- @treturn Plan
function flow_draw.addition(chance, queues)
  local added, count = flow_plan.new("added"), chance:upto(3)
  for i = 1, count do
    added:node {
      after = i > 1 and chance:upto(2) == 1
        and { { chance:pick(KINDS), i - 1 } } or {},
      parts = { queue = chance:pick(queues) },
      joins = i == count or chance:upto(2) == 1,
    }
  end
  return added
end

return flow_draw
