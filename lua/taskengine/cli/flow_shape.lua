--- The shape of a flow: what stands below what, and which parts are alike.
--
-- What stands below a node are branches, each begun by a node. Some of them may
-- be joined by a node that waits for these only: then they are a part together
-- with that, which others may join in turn.
-- @module taskengine.cli.flow_shape

local flow_shape = {}

--- So many that are alike are shown one by one; more are one.
flow_shape.ALIKE_MAX = 12

-- Names that tell parts apart.
local NAMES_MAX <const> = 32

--- A part: a branch, or several with what joins them.
-- @table Part
-- @tfield ?int top the node that begins a branch
-- @tfield ?{Part,...} parts
-- @tfield ?{int,...} joins nodes that wait for several of the parts

--- A shape.
-- @type Shape
-- @tfield Graph graph
-- @tfield table children node to those below it, in order; 0 is the beginning
-- @tfield table parent node to the one that it is below
local Shape = {}
Shape.__index = Shape

-- For each node those that wait for it. What waits for few comes first: it
-- joins some of what another joins, as where a task adds a group to its own.
local function waiting_for(graph)
  local waiting = {}
  for i = 1, graph.count do
    for _, from in ipairs(graph.after[i]) do
      waiting[from] = waiting[from] or {}
      table.insert(waiting[from], i)
    end
  end
  for _, others in pairs(waiting) do
    table.sort(others, function(a, b)
      local before_a, before_b = #graph.after[a], #graph.after[b]
      return before_a < before_b or before_a == before_b and a < b
    end)
  end
  return waiting
end

-- Nodes in an order in which each stands behind what it waits for, and each
-- node's place there. Node 0 stands for the beginning.
local function in_order(graph)
  local waiting, missing = waiting_for(graph), {}
  local order, at = { 0 }, 2
  for i = 1, graph.count do
    missing[i] = #graph.after[i]
    if missing[i] == 0 then
      order[#order + 1] = i
    end
  end
  while order[at] do
    for _, other in ipairs(waiting[order[at]] or {}) do
      missing[other] = missing[other] - 1
      if missing[other] == 0 then
        order[#order + 1] = other
      end
    end
    at = at + 1
  end
  local place = {}
  for i, node in ipairs(order) do
    place[node] = i
  end
  return order, place
end

-- The last node that all ways to two nodes have in common.
local function meet(parent, place, a, b)
  while a ~= b do
    if place[a] > place[b] then
      a = parent[a]
    else
      b = parent[b]
    end
  end
  return a
end

-- Those below each node, which is the last that all ways to them pass.
local function children_of(graph)
  local order, place = in_order(graph)
  local parent, children = {}, {}
  for k = 2, #order do
    local node = order[k]
    local above
    for _, from in ipairs(graph.after[node]) do
      above = above and meet(parent, place, above, from) or above or from
    end
    above = above or 0
    parent[node] = above
    children[above] = children[above] or {}
    table.insert(children[above], node)
  end
  return children, parent
end

--- Makes one.
-- @tparam Graph graph
-- @treturn Shape
function flow_shape.new(graph)
  local children, parent = children_of(graph)
  return setmetatable({ graph = graph, children = children, parent = parent },
    Shape)
end

-- Puts the nodes with which a part begins at the end of a list: its branches,
-- and what joins them.
local function add_tops(list, part)
  list[#list + 1] = part.top
  for _, inner in ipairs(part.parts or {}) do
    add_tops(list, inner)
  end
  table.move(part.joins or {}, 1, #(part.joins or {}), #list + 1, list)
end

--- All nodes of a part, from its tops down.
-- @tparam Part part
-- @treturn {int,...}
function Shape:members(part)
  local list, at = {}, 1
  add_tops(list, part)
  while list[at] do
    for _, child in ipairs(self.children[list[at]] or {}) do
      list[#list + 1] = child
    end
    at = at + 1
  end
  return list
end

local function names_of(self, part)
  local names, list = {}, self:members(part)
  for i = 1, math.min(#list, NAMES_MAX) do
    names[i] = self.graph.nodes[list[i]].task or "(gather)"
  end
  return table.concat(names, " > ") .. (#list > NAMES_MAX and " > ..." or ""),
    #list
end

--- Gathers parts that are alike, the first of them where it stood. A few are
-- not compared.
-- @tparam {Part,...} parts
-- @treturn {table,...} lists of them, each with `names`, those of its tasks
function Shape:alike(parts)
  local groups, by_names = {}, {}
  if #parts <= flow_shape.ALIKE_MAX then
    for i, part in ipairs(parts) do
      groups[i] = { part }
    end
    return groups
  end
  for _, part in ipairs(parts) do
    local names, count = names_of(self, part)
    local key = count .. names
    local group = by_names[key]
    if not group then
      group = { names = names }
      groups[#groups + 1], by_names[key] = group, group
    end
    group[#group + 1] = part
  end
  return groups
end

-- What is whole by now, and has this part in it.
local function whole(part)
  while part.inside do
    part = part.inside
  end
  return part
end

-- The one right below a node that leads to another; nil when it is the node.
local function top_of(self, node, from)
  while from and from ~= node and self.parent[from] ~= node do
    from = self.parent[from]
  end
  return from ~= node and from or nil
end

-- The parts below a node that lead to one that waits for several, in order.
local function joined_by(self, node, join, part_of)
  local list, seen = {}, {}
  for _, from in ipairs(self.graph.after[join]) do
    local top = top_of(self, node, from)
    local part = top and part_of[top] and whole(part_of[top])
    if part and not seen[part] then
      seen[part] = true
      list[#list + 1] = part
    end
  end
  table.sort(list, function(a, b)
    return a.place < b.place
  end)
  return list
end

local function join_parts(parts, join)
  local first = parts[1]
  if #parts == 1 and first.joins then
    table.insert(first.joins, join)
    return first
  end
  local part = { parts = parts, joins = { join }, place = first.place }
  for _, inner in ipairs(parts) do
    inner.inside = part
  end
  return part
end

--- What stands below a node.
-- @tparam int node 0 for the beginning
-- @treturn {Part,...}
function Shape:parts(node)
  local all, part_of = {}, {}
  for place, child in ipairs(self.children[node] or {}) do
    local before = #self.graph.after[child] > 1
      and joined_by(self, node, child, part_of) or {}
    local part = #before > 0 and join_parts(before, child)
      or { top = child, place = place }
    part_of[child] = part
    all[#all + 1] = part
  end
  local parts, seen = {}, {}
  for _, part in ipairs(all) do
    if not part.inside and not seen[part] then
      seen[part] = true
      parts[#parts + 1] = part
    end
  end
  table.sort(parts, function(a, b)
    return a.place < b.place
  end)
  return parts
end

return flow_shape
