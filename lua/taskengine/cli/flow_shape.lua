--- The shape of a flow: what stands below what, and which branches are alike.
-- @module taskengine.cli.flow_shape

local flow_shape = {}

--- So many that are alike are shown one by one; more are one.
flow_shape.ALIKE_MAX = 12

-- Names that tell branches apart.
local NAMES_MAX <const> = 32

--- A shape.
-- @type Shape
-- @tfield Graph graph
-- @tfield table children node to those below it, in order; 0 is the beginning
local Shape = {}
Shape.__index = Shape

-- Nodes in an order in which each stands behind what it waits for, and each
-- node's place there. Node 0 stands for the beginning.
local function in_order(graph)
  local waiting, missing = {}, {}
  local order, at = { 0 }, 2
  for i = 1, graph.count do
    missing[i] = #graph.after[i]
    for _, from in ipairs(graph.after[i]) do
      waiting[from] = waiting[from] or {}
      table.insert(waiting[from], i)
    end
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
  return children
end

--- Makes one.
-- @tparam Graph graph
-- @treturn Shape
function flow_shape.new(graph)
  return setmetatable({ graph = graph, children = children_of(graph) }, Shape)
end

--- All nodes of a branch, from its top down.
-- @tparam int top
-- @treturn {int,...}
function Shape:members(top)
  local list, at = { top }, 1
  while list[at] do
    for _, child in ipairs(self.children[list[at]] or {}) do
      list[#list + 1] = child
    end
    at = at + 1
  end
  return list
end

local function names_of(self, top)
  local names, list = {}, self:members(top)
  for i = 1, math.min(#list, NAMES_MAX) do
    names[i] = self.graph.nodes[list[i]].task or "(gather)"
  end
  return table.concat(names, " > ") .. (#list > NAMES_MAX and " > ..." or ""),
    #list
end

--- Gathers branches that are alike, the first of them where it stood. A few are
-- not compared.
-- @tparam {int,...} branches the nodes at their tops
-- @treturn {table,...} lists of them, each with `names`, those of its tasks
function Shape:alike(branches)
  local groups, by_names = {}, {}
  if #branches <= flow_shape.ALIKE_MAX then
    for i, top in ipairs(branches) do
      groups[i] = { top }
    end
    return groups
  end
  for _, top in ipairs(branches) do
    local names, count = names_of(self, top)
    local key = count .. names
    local group = by_names[key]
    if not group then
      group = { names = names }
      groups[#groups + 1], by_names[key] = group, group
    end
    group[#group + 1] = top
  end
  return groups
end

--- Those below a node: branches, and what waits for more than that node.
-- @tparam int node 0 for the beginning
-- @treturn {int,...} branches
-- @treturn {int,...} joins
function Shape:split(node)
  local branches, joins = {}, {}
  for _, child in ipairs(self.children[node] or {}) do
    local is_join = #self.graph.after[child] > 1
    table.insert(is_join and joins or branches, child)
  end
  return branches, joins
end

return flow_shape
