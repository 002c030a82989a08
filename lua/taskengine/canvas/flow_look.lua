--- Reads what Redis has of a flow: te1_flow_look, see docs/protocol.md.
--
-- What comes out of Redis is checked: what is too short to be read counts as
-- not there.
-- @module taskengine.canvas.flow_look

local core = require("taskengine.core")
local header = require("taskengine.header")

local flow_look = {}

-- In one question.
local CELLS_MAX <const>, PIECES_MAX <const> = 10000, 1000
-- State, flags; when it was released and when it ended.
local CELL <const> = ">c1BI5I5"
local CELL_BYTES <const> = CELL:packsize()
local NO_CELL <const> = ("\0"):rep(CELL_BYTES)
-- Released, delegated: until such a node ends something else stands there.
local UNENDED <const> = { r = true, g = true }
-- Template, edges, how many it waits for, inputs; more follows.
local RECORD <const> = ">I2I4I4I4"
local EDGE <const>, INPUT <const> = ">c1Bi4", ">c1Bi4i4"
local RELATIVE <const> = 1

--- A look at a flow.
-- @type Look
-- @tfield string id the flow's
local Look = {}
Look.__index = Look

--- Makes one. It asks Redis as it is used; pages of cells are kept, so it is
-- for one use.
-- @tparam Client client
-- @tparam string id of the flow, or of any of its nodes
-- @treturn Look
function flow_look.new(client, id)
  local producer = header.producer(id)
  return setmetatable({
    client = client,
    producer = producer,
    id = core.envelope.id(producer, 0),
  }, Look)
end

local function ask(self, what, from, count)
  return self.client:ask("te1_flow_look",
    { self.producer, what, from, count }, self.id)
end

local function state_of(word, sealed)
  return sealed == 0 and "incomplete" or word:sub(1, 1) == "R" and "revoked"
    or word == "done" and "done" or "running"
end

-- Node to name, as the sender noted it.
local function read_labels(bytes, nodes)
  local given, labels = core.codec.decode(bytes or ""), {}
  for node, label in pairs(type(given) == "table" and given or {}) do
    if math.type(node) == "integer" and node >= 1 and node <= nodes
      and type(label) == "string" then
      labels[node] = label
    end
  end
  return labels
end

--- The flow itself.
-- @treturn ?table nil when nothing is known of it; `nodes`, how many it has;
-- `left`, how many have not ended; `state`: incomplete (not all of it was
-- sent), running, done or revoked; `name`, which may be empty; `age` in
-- seconds; `labels`, node to name
-- @raise TaskError of kind BrokerUnavailable
function Look:head()
  local now, made, nodes, left, sealed, state, name, _, labels =
    table.unpack(ask(self, "h", 0, 0))
  return now and {
    nodes = nodes,
    left = left,
    state = state_of(state, sealed),
    name = name,
    age = (now - made) / 1000,
    labels = read_labels(labels, nodes),
  }
end

--- How a node stands.
-- @tparam int node
-- @treturn string the letter of its state
-- @treturn int when it was released, milliseconds after the flow was sent; or 0
-- @treturn int when it ended; or 0
-- @raise TaskError of kind BrokerUnavailable
function Look:cell(node)
  local page = (node - 1) // CELLS_MAX
  if page ~= self.page then
    self.page = page
    self.cells = ask(self, "c", page * CELLS_MAX + 1, CELLS_MAX)
  end
  local at = (node - 1) % CELLS_MAX * CELL_BYTES + 1
  local is_there = #self.cells >= at + CELL_BYTES - 1
  local state, _, released, ended = CELL:unpack(
    is_there and self.cells or NO_CELL, is_there and at or 1)
  return state, released, UNENDED[state] and 0 or ended
end

--- A template, a list of edges or of inputs.
-- @tparam string letter `t`, `o` or `i`
-- @tparam int number
-- @treturn string empty when it is not there
-- @raise TaskError of kind BrokerUnavailable
function Look:piece(letter, number)
  return number > 0 and ask(self, letter, number, 1)[1] or ""
end

--- All templates, or lists of edges.
-- @tparam string letter
-- @treturn {string,...}
-- @raise TaskError of kind BrokerUnavailable
function Look:pieces(letter)
  local all = {}
  repeat
    local reply = ask(self, letter, #all + 1, PIECES_MAX)
    table.move(reply, 1, #reply, #all + 1, all)
  until #reply == 0
  return all
end

-- What a node is, by the numbers of its pieces.
local function read_record(bytes)
  if type(bytes) ~= "string" or #bytes < RECORD:packsize() then
    return { template = 0, edges = 0, inputs = 0 }
  end
  local template, edges, _, inputs = RECORD:unpack(bytes)
  return { template = template, edges = edges, inputs = inputs }
end

--- What a node is made of.
-- @tparam int node
-- @treturn table the numbers of its `template`, `edges` and `inputs`, 0 for
-- none
-- @raise TaskError of kind BrokerUnavailable
function Look:record(node)
  return read_record(ask(self, "n", node, 1)[1])
end

--- What the nodes are made of, as many as were sent.
-- @treturn {table,...} see @{Look:record}
-- @raise TaskError of kind BrokerUnavailable
function Look:records()
  local all = {}
  repeat
    local reply = ask(self, "n", #all + 1, PIECES_MAX)
    for _, bytes in ipairs(reply) do
      all[#all + 1] = read_record(bytes)
    end
  until #reply == 0
  return all
end

-- A node that may be counted from the one that names it.
local function absolute(flags, number, node)
  return flags & RELATIVE ~= 0 and node + number or number
end

--- Where a node's edges lead.
-- @tparam string edges
-- @tparam int node
-- @treturn {int,...}
function flow_look.targets(edges, node)
  local targets = {}
  for at = 1, #edges - EDGE:packsize() + 1, EDGE:packsize() do
    local _, flags, target = EDGE:unpack(edges, at)
    targets[#targets + 1] = absolute(flags, target, node)
  end
  return targets
end

--- Whose results a node's inputs are.
-- @tparam string inputs
-- @tparam int node
-- @treturn {table,...} ranges of nodes, each from `first` to `last`
function flow_look.sources(inputs, node)
  local ranges = {}
  for at = 1, #inputs - INPUT:packsize() + 1, INPUT:packsize() do
    local _, flags, low, high = INPUT:unpack(inputs, at)
    ranges[#ranges + 1] = {
      first = absolute(flags, low, node), last = absolute(flags, high, node),
    }
  end
  return ranges
end

return flow_look
