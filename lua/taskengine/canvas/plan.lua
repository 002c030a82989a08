--- A plan under construction: nodes and edges, as numbers and short strings.
--
-- Nodes are numbered from 1. What many have in common is the same string, and
-- so is there once: all steps of a long chain have the edge "to the next" and
-- the input "from the one before".
-- @module taskengine.canvas.plan

local plan = {}

--- An edge or an input counts from its own node.
plan.RELATIVE = 1
--- An edge from a member of a group to what gathers it, which may grow.
plan.MEMBER = 2

-- Of so many sources, or more, the edges to one target name it by its number
-- and are alike, which makes their ends one step; of fewer they say how far it
-- is, which is alike wherever the canvas repeats itself, or is added to a flow
-- again. Among the first nodes of one that is sent that is not often.
local MANY <const> = 17
local FIRST_NODES <const> = 256
-- From here on the edges of one node are put together at the end.
local LONG_BYTES <const> = 240

--- A plan.
-- @type Plan
-- @tfield int count of nodes
-- @tfield table what node to the signature; to `plan.JOIN` for one that only
-- gathers
-- @tfield table options node to options that it has from what it is part of
-- @tfield table front node to the arguments in front of its own
-- @tfield table shape node to what its inputs form
-- @tfield table names node to the names of what it gathers
local Plan = {}
Plan.__index = Plan

--- What stands for a signature where a node only gathers.
plan.JOIN = {}

--- Makes an empty plan.
-- @tparam[opt] boolean is_addition it is for a flow that is there
-- @treturn Plan
function plan.new(is_addition)
  return setmetatable({
    count = 0,
    first_nodes = is_addition and 0 or FIRST_NODES,
    what = {}, options = {}, front = {}, shape = {}, names = {},
    out = {}, inputs = {}, need = {}, is_errback = {},
  }, Plan)
end

--- Adds a node.
-- @tparam table what a signature, or `plan.JOIN`
-- @tparam[opt] table options
-- @tparam[opt] table front
-- @treturn int its number
function Plan:add(what, options, front)
  local node = self.count + 1
  self.count = node
  self.what[node], self.need[node] = what, 0
  self.options[node], self.front[node] = options, front
  return node
end

--- Where results come out of a part of the plan: of one node, or of several,
-- which form a table.
-- @table Outlet
-- @tfield int count of nodes
-- @tfield int first
-- @tfield int last with first: they stand side by side
-- @tfield ?{int,...} list they do not
-- @tfield boolean is_table
-- @tfield ?Outlet sealed the node that gathers them
-- @tfield ?{string,...} names of them, where the table has those
-- @tfield ?{[string]=int,...} nodes of a flow by name, all of them
-- @tfield ?{Part,...} feed what an empty one waits for

--- The outlet of one node.
-- @tparam int node
-- @treturn Outlet
function plan.one(node)
  return { count = 1, first = node, last = node, is_table = false }
end

--- The outlet of several.
-- @tparam {int,...} list of nodes
-- @treturn Outlet
function plan.several(list)
  local first, n = list[1] or 1, #list
  local is_run = true
  for i = 2, n do
    if list[i] ~= first + i - 1 then
      is_run = false
      break
    end
  end
  return { count = n, first = first, last = first + n - 1, is_table = true,
    list = not is_run and list or nil }
end

--- A node of an outlet.
-- @tparam Outlet outlet
-- @tparam int i
-- @treturn int
function plan.node_at(outlet, i)
  return outlet.list and outlet.list[i] or outlet.first + i - 1
end

-- Adds an edge to a node that may have others.
local function add_edge(self, node, edge)
  local there = self.out[node]
  if not there then
    self.out[node] = edge
  elseif type(there) == "table" then
    there[#there + 1] = edge
  elseif #there < LONG_BYTES then
    self.out[node] = there .. edge
  else
    self.out[node] = { there, edge }
  end
end

local function add_edges(self, outlet, kind, target)
  local is_absolute = outlet.count >= MANY
    or outlet.count > 1 and target <= self.first_nodes
  local flags = outlet.is_table and not outlet.names and plan.MEMBER or 0
  local edge = is_absolute and string.pack(">c1Bi4", kind, flags, target)
  for i = 1, outlet.count do
    local node = plan.node_at(outlet, i)
    add_edge(self, node, edge
      or string.pack(">c1Bi4", kind, flags | plan.RELATIVE, target - node))
  end
end

local function pack_input(kind, node, low, high, is_absolute)
  local base = is_absolute and 0 or node
  return string.pack(">c1Bi4i4", kind, is_absolute and 0 or plan.RELATIVE,
    low - base, high - base)
end

-- The inputs from an outlet, runs of neighbours in one entry.
local function inputs_from(outlet, kind, node, is_absolute)
  if not outlet.list then
    return pack_input(kind, node, outlet.first, outlet.last, is_absolute)
  end
  local parts, list, i = {}, outlet.list, 1
  while list[i] do
    local to = i
    while list[to + 1] == list[to] + 1 do
      to = to + 1
    end
    parts[#parts + 1] = pack_input(kind, node, list[i], list[to], is_absolute)
    i = to + 1
  end
  return table.concat(parts)
end

-- What an input forms, as the child reads it: 0, an argument of its own; n,
-- the next n form a table; or the letter of the policy and how far before this
-- node the one is that may have failed.
local function shape_of(part, node)
  local outlet = part.outlet
  if part.kind ~= "f" then
    return { part.kind, node - outlet.first }
  end
  return outlet.is_table and outlet.count or 0
end

local function add_shape(self, node, part, before)
  local shape, entry = self.shape[node], shape_of(part, node)
  if not shape then
    if entry == 0 then
      return -- as it is without
    end
    shape = {}
    for i = 1, before do
      shape[i] = 0
    end
    self.shape[node] = shape
  end
  shape[#shape + 1] = entry
end

--- What a part of the plan waits for: one of several such.
-- @table Part
-- @tfield Outlet outlet
-- @tfield string kind the letter of its edges
-- @tfield ?boolean is_wide many nodes wait for the same

--- Lets a node wait for what is in a feed.
-- @tparam int node
-- @tparam {Part,...} feed
-- @tparam ?boolean is_immutable it takes no values
function Plan:connect(node, feed, is_immutable)
  local inputs = {}
  for place, part in ipairs(feed) do
    local outlet, kind = part.outlet, part.kind
    local is_order = is_immutable and kind == "f"
    add_edges(self, outlet, is_order and "s" or kind, node)
    self.need[node] = self.need[node] + outlet.count
    self.is_errback[node] = kind == "e" or nil
    if not is_immutable then
      inputs[#inputs + 1] = inputs_from(outlet, kind, node, part.is_wide)
      add_shape(self, node, part, place - 1)
    end
  end
  if #inputs > 0 then
    self.inputs[node] = table.concat(inputs)
  end
end

--- Gathers several nodes in one, which has their table as its result.
-- @tparam Outlet outlet
-- @treturn Outlet of one node; the same one when it is one already
function Plan:seal(outlet)
  if not outlet.is_table then
    return outlet
  elseif not outlet.sealed then
    local node = self:add(plan.JOIN)
    self.names[node] = outlet.names
    if outlet.count > 0 then
      self:connect(node, { { outlet = outlet, kind = "f" } })
    elseif outlet.feed then
      self:connect(node, outlet.feed, true)
    end
    self.shape[node] = nil -- it is the table
    outlet.sealed = plan.one(node)
  end
  return outlet.sealed
end

--- Lets a node deliver its result to a task that is not in the plan.
-- @tparam int node
function Plan:deliver(node)
  add_edge(self, node, string.pack(">c1Bi4", "d", 0, 0))
end

--- Lets a node become a member of the groups of the task that adds it.
-- @tparam int node
function Plan:join(node)
  add_edge(self, node, string.pack(">c1Bi4", "m", 0, 0))
end

--- The edges that leave a node.
-- @tparam int node
-- @treturn ?string
function Plan:edges(node)
  local out = self.out[node]
  return type(out) == "table" and table.concat(out) or out
end

return plan
