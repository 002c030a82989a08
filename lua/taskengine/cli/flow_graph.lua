--- A flow as Redis has it: its nodes, how they stand, what follows what.
--
-- What comes out of Redis is checked: a node's number has to be one.
-- @module taskengine.cli.flow_graph

local core = require("taskengine.core")

local flow_graph = {}

local PRODUCER_BYTES <const> = 12
local CELL_BYTES <const>, HEAD_BYTES <const>, EDGE_BYTES <const> = 12, 18, 6
-- In one question to te1_flow_look.
local CELLS_MAX <const>, PIECES_MAX <const> = 10000, 1000
-- In a template, 1-based: how long queue and name are; they follow.
local LENGTHS_AT <const>, NAMES_AT <const> = 79, 83
local RELATIVE <const> = 1

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

local function look(way, producer, what, from, count)
  return way:ask("te1_flow_look", { producer, what, from, count })
end

-- All templates, or edges: `letter` says which.
local function read_pieces(way, producer, letter)
  local all = {}
  repeat
    local reply = look(way, producer, letter, #all + 1, PIECES_MAX)
    table.move(reply, 1, #reply, #all + 1, all)
  until #reply == 0
  return all
end

-- Of a task: its name and its queue.
local function names(template)
  if #template < NAMES_AT then
    return nil
  end
  local queue, name = template:byte(LENGTHS_AT, LENGTHS_AT + 1)
  return template:sub(NAMES_AT + queue, NAMES_AT + queue + name - 1),
    template:sub(NAMES_AT, NAMES_AT + queue - 1)
end

local function read_cell(node, cell)
  local state, _, released, ended = string.unpack(">c1BI5I5", cell)
  node.state = flow_graph.STATES[state] or "unknown"
  node.released = released > 0 and released / 1000 or nil
  node.ended = ended > 0 and ended / 1000 or nil
end

local function read_cells(way, producer, nodes, count)
  for from = 1, count, CELLS_MAX do
    local cells = look(way, producer, "c", from, CELLS_MAX)
    for i = from, math.min(from + CELLS_MAX - 1, count) do
      local at = (i - from) * CELL_BYTES + 1
      read_cell(nodes[i], #cells >= at + CELL_BYTES - 1
        and cells:sub(at, at + CELL_BYTES - 1) or ("\0"):rep(CELL_BYTES))
    end
  end
end

-- Lets each node know what its edges lead to.
local function follow(after, i, edges, count)
  for at = 1, #edges - EDGE_BYTES + 1, EDGE_BYTES do
    local _, flags, target = string.unpack(">c1Bi4", edges, at)
    target = flags & RELATIVE ~= 0 and i + target or target
    if target >= 1 and target <= count then
      table.insert(after[target], i)
    end
  end
end

local function read_heads(way, producer, graph)
  local templates = read_pieces(way, producer, "t")
  local edges = read_pieces(way, producer, "o")
  local from = 1
  while from <= graph.count do
    local heads = look(way, producer, "n", from, PIECES_MAX)
    if #heads == 0 then
      return
    end
    for k, head in ipairs(heads) do
      if type(head) == "string" and #head >= HEAD_BYTES then
        local template, out = string.unpack(">I2I4", head)
        local node = graph.nodes[from + k - 1]
        node.task, node.queue = names(templates[template] or "")
        follow(graph.after, from + k - 1, edges[out] or "", graph.count)
      end
    end
    from = from + #heads
    graph.sent = graph.sent + #heads
  end
end

local function add_labels(graph, bytes)
  local labels = bytes ~= "" and core.codec.decode(bytes)
  for i, label in pairs(type(labels) == "table" and labels or {}) do
    if graph.nodes[i] and type(label) == "string" then
      graph.nodes[i].label = label
    end
  end
end

local function state_of(text, sealed)
  return sealed == 0 and "incomplete" or text:sub(1, 1) == "R" and "revoked"
    or text == "done" and "done" or "running"
end

--- Reads a flow.
-- @tparam Client way
-- @tparam string id its id, or that of any of its nodes
-- @treturn ?Graph nil when nothing is known of it
-- @raise TaskError of kind BrokerUnavailable
function flow_graph.read(way, id)
  local producer = id:sub(1, PRODUCER_BYTES)
  local head = look(way, producer, "h", 0, 0)
  if not head[1] then
    return nil
  end
  local graph = {
    id = core.envelope.id(producer, 0),
    name = head[7],
    state = state_of(head[6], head[5]),
    count = head[3],
    sent = 0,
    left = head[4],
    age = (head[1] - head[2]) / 1000,
    nodes = {},
    after = {},
  }
  for i = 1, graph.count do
    graph.nodes[i], graph.after[i] = {}, {}
  end
  read_cells(way, producer, graph.nodes, graph.count)
  read_heads(way, producer, graph)
  add_labels(graph, head[9] or "")
  return graph
end

return flow_graph
