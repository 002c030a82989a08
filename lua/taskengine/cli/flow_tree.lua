--- A flow as a tree for people.
--
-- What follows a node alone stands below it. Where several follow, each begins
-- a branch; what waits for all of them stands behind the branches, as far to
-- the left as where they began. Where something waits for some of them only,
-- these and that are one branch. Branches that are alike, and steps that are
-- alike, are one line when they are more than a dozen.
-- @module taskengine.cli.flow_tree

local flow_shape = require("taskengine.cli.flow_shape")

local flow_tree = {}

local ALIKE_MAX <const> = flow_shape.ALIKE_MAX

local function name_of(node)
  local task = node.task or "(gather)"
  return node.label and node.label ~= task
    and ("%s: %s"):format(node.label, task) or task
end

local function seconds(node)
  return node.released and node.ended and node.ended - node.released
end

-- What can run, or runs, has taken so long until now.
local function so_far(graph, node)
  return node.state == "released" and node.released and graph.age
    and math.max(graph.age - node.released, 0)
end

local function state_text(graph, node)
  local took, until_now = seconds(node), so_far(graph, node)
  return node.state:upper() .. (took and ("  %.3f s"):format(took)
    or until_now and ("  %.3f s so far"):format(until_now) or "")
end

-- How often each state, and how long they took.
local function summary(nodes)
  local counts, order, total, longest, n = {}, {}, 0, 0, 0
  for _, node in ipairs(nodes) do
    if not counts[node.state] then
      order[#order + 1], counts[node.state] = node.state, 0
    end
    counts[node.state] = counts[node.state] + 1
    local took = seconds(node)
    if took then
      total, longest, n = total + took, math.max(longest, took), n + 1
    end
  end
  table.sort(order)
  for i, state in ipairs(order) do
    order[i] = ("%s %d"):format(state:upper(), counts[state])
  end
  return table.concat(order, ", ")
    .. (n > 0 and ("  mean %.3f s, longest %.3f s"):format(total / n, longest)
      or "")
end

local function emit(self, prefix, text)
  self.lines[#self.lines + 1] = prefix .. text
end

local function fold(self, group, prefix)
  local nodes = {}
  for _, part in ipairs(group) do
    for _, node in ipairs(self.shape:members(part)) do
      nodes[#nodes + 1] = self.graph.nodes[node]
    end
  end
  emit(self, prefix, ("%d x %s  %s"):format(#group, group.names,
    summary(nodes)))
end

-- What stands in the list of branches: a part, or a group that is folded.
local function entries_of(self, parts)
  local entries = {}
  for _, group in ipairs(self.shape:alike(parts)) do
    if #group > ALIKE_MAX then
      entries[#entries + 1] = group
    else
      table.move(group, 1, #group, #entries + 1, entries)
    end
  end
  return entries
end

-- Steps that are alike, from a node on, each followed by the next alone.
local function steps_from(self, node)
  local nodes, list = self.graph.nodes, { node }
  local name = name_of(nodes[node])
  while true do
    local below = self.shape.children[list[#list]] or {}
    local following = below[1]
    if #below ~= 1 or #self.graph.after[following] > 1
      or name_of(nodes[following]) ~= name then
      return list
    end
    list[#list + 1] = following
  end
end

local function write_steps(self, list, prefix)
  local nodes = {}
  for i, node in ipairs(list) do
    nodes[i] = self.graph.nodes[node]
  end
  if #list > ALIKE_MAX then
    emit(self, prefix, ("%s, %d steps  %s"):format(name_of(nodes[1]), #list,
      summary(nodes)))
    return
  end
  for _, node in ipairs(nodes) do
    emit(self, prefix, name_of(node) .. "  " .. state_text(self.graph, node))
  end
end

-- The lines to come, the next one last.
local function push(self, item)
  self.stack[#self.stack + 1] = item
end

-- Branches; the first of them on a line that has begun, where `first` is not
-- `rest`.
local function push_branches(self, parts, first, rest)
  local entries = entries_of(self, parts)
  for i = #entries, 1, -1 do
    local is_last = i == #entries
    local mark = is_last and "└─ " or "├─ "
    if i == 1 and first ~= rest then
      mark = is_last and "── " or "┬─ "
    end
    push(self, {
      entry = entries[i],
      first = (i == 1 and first or rest) .. mark,
      rest = rest .. (is_last and "   " or "│  "),
    })
  end
end

-- Branches, and behind them what joins them.
local function push_joined(self, part, first, rest)
  for i = #part.joins, 1, -1 do
    push(self, { entry = { top = part.joins[i] }, first = rest, rest = rest })
  end
  if #part.parts == 1 then
    push(self, { entry = part.parts[1], first = first, rest = rest })
  else
    push_branches(self, part.parts, first, rest)
  end
end

local function push_below(self, node, rest)
  local parts = self.shape:parts(node)
  if #parts ~= 1 then
    push_branches(self, parts, rest, rest)
  elseif parts[1].joins then
    push_joined(self, parts[1], rest, rest)
  else
    push(self, { entry = parts[1], first = rest, rest = rest })
  end
end

local function write(self, item)
  local entry = item.entry
  if entry.names then
    fold(self, entry, item.first)
    return
  elseif entry.joins then
    push_joined(self, entry, item.first, item.rest)
    return
  end
  local list = steps_from(self, entry.top)
  if #list <= ALIKE_MAX then
    list = { entry.top }
  end
  write_steps(self, list, item.first)
  push_below(self, list[#list], item.rest)
end

--- The lines of a flow.
-- @tparam Graph graph
-- @treturn {string,...}
function flow_tree.lines(graph)
  local self = {
    graph = graph,
    shape = flow_shape.new(graph),
    lines = {},
    stack = {},
  }
  push_below(self, 0, "")
  while #self.stack > 0 do
    write(self, table.remove(self.stack))
  end
  return self.lines
end

return flow_tree
