--- A flow as Redis has it: its nodes, how they stand, what follows what.
--
-- What comes out of Redis is checked: a node's number has to be one.
-- @module taskengine.cli.flow_graph

local flow_look = require("taskengine.canvas.flow_look")
local header = require("taskengine.header")

local flow_graph = {}

-- In a template: how long queue and name are; they follow.
local LENGTHS_AT <const> = header.LENGTHS_AT - header.ID_BYTES
local NAMES_AT <const> = header.NAMES_AT - header.ID_BYTES

--- What a node's state is called.
flow_graph.STATES = {
  ["\0"] = "waiting",
  r = "released",
  g = "delegated",
  d = "success",
  f = "failure",
  n = "unmet",
  R = "revoked",
  s = "skipped",
}

--- A flow.
-- @table Graph
-- @tfield string id
-- @tfield string name may be empty
-- @tfield string state incomplete (not all of it was sent), running, done or
-- revoked
-- @tfield int count of nodes
-- @tfield int sent of these
-- @tfield int left that have not ended
-- @tfield number age seconds since it was sent
-- @tfield {Node,...} nodes
-- @tfield {{int,...},...} after for each node those that it waits for

--- A node.
-- @table Node
-- @tfield ?string task nil for one that only gathers
-- @tfield ?string queue the task's
-- @tfield ?string label what the flow calls it
-- @tfield string state one of @{flow_graph.STATES}
-- @tfield ?number released seconds after the flow was sent
-- @tfield ?number ended

-- Of a task: its name and its queue.
local function names(template)
  if #template < NAMES_AT then
    return nil
  end
  local queue, name = template:byte(LENGTHS_AT, LENGTHS_AT + 1)
  return template:sub(NAMES_AT + queue, NAMES_AT + queue + name - 1),
    template:sub(NAMES_AT, NAMES_AT + queue - 1)
end

local function read_cell(node, state, released, ended)
  node.state = flow_graph.STATES[state] or "unknown"
  node.released = released > 0 and released / 1000 or nil
  node.ended = ended > 0 and ended / 1000 or nil
end

-- Lets each node know what its edges lead to.
local function follow(after, i, edges)
  for _, target in ipairs(flow_look.targets(edges, i)) do
    if after[target] then
      table.insert(after[target], i)
    end
  end
end

local function read_records(look, graph)
  local templates, edges = look:pieces("t"), look:pieces("o")
  local records = look:records()
  graph.sent = math.min(#records, graph.count)
  for i = 1, graph.sent do
    local node, record = graph.nodes[i], records[i]
    node.task, node.queue = names(templates[record.template] or "")
    follow(graph.after, i, edges[record.edges] or "")
  end
end

--- Reads a flow.
-- @tparam Client way
-- @tparam string id its id, or that of any of its nodes
-- @treturn ?Graph nil when nothing is known of it
-- @raise TaskError of kind BrokerUnavailable
function flow_graph.read(way, id)
  local look = flow_look.new(way, id)
  local head = look:head()
  if not head then
    return nil
  end
  local graph = {
    id = look.id,
    name = head.name,
    state = head.state,
    count = head.nodes,
    left = head.left,
    age = head.age,
    nodes = {},
    after = {},
  }
  for i = 1, graph.count do
    graph.nodes[i], graph.after[i] = {}, {}
    read_cell(graph.nodes[i], look:cell(i))
  end
  read_records(look, graph)
  for i, label in pairs(head.labels) do
    graph.nodes[i].label = label
  end
  return graph
end

return flow_graph
