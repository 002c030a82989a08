--- A flow as a picture: text for Graphviz.
--
-- Branches that are alike, and long runs of steps that are alike,
-- are one node when they are more than a dozen.
-- @module taskengine.cli.flow_dot

local flow_shape = require("taskengine.cli.flow_shape")

local flow_dot = {}

local ALIKE_MAX <const> = flow_shape.ALIKE_MAX

local COLOURS <const> = {
  waiting = "white", released = "lightyellow", delegated = "lightyellow",
  success = "palegreen", failure = "salmon", unmet = "mistyrose",
  revoked = "lightgrey", skipped = "lightgrey",
}

local function name_of(node)
  return node.task or "gather"
end

-- The node that stands for another in the picture, by way of others.
local function find(stands_for, i)
  while stands_for[i] ~= i do
    i = stands_for[i]
  end
  return i
end

-- What stands inside of a part, as lists of parts.
local function push_inside(shape, part, stack)
  stack[#stack + 1] = part.parts or shape:parts(part.top)
  for _, join in ipairs(part.joins or {}) do
    stack[#stack + 1] = shape:parts(join)
  end
end

-- Lets the first of many parts that are alike stand for all of them.
local function fold_parts(shape, stands_for)
  local stack = { shape:parts(0) }
  while #stack > 0 do
    for _, group in ipairs(shape:alike(table.remove(stack))) do
      local is_folded = #group > ALIKE_MAX
      local first = is_folded and shape:members(group[1])
      push_inside(shape, group[1], stack)
      for k = 2, #group do
        for place, i in ipairs(is_folded and shape:members(group[k]) or {}) do
          stands_for[i] = first[place]
        end
        if not is_folded then
          push_inside(shape, group[k], stack)
        end
      end
    end
  end
end

-- The step before a node, when both are alike and nothing else follows that.
local function step_before(graph, shape, i)
  local from = graph.after[i][1]
  if from and #graph.after[i] == 1 and from < i
    and #shape.children[from] == 1 and not graph.nodes[i].label
    and name_of(graph.nodes[from]) == name_of(graph.nodes[i]) then
    return from
  end
end

-- Lets the first of a long run of steps that are alike stand for all of them.
local function fold_runs(graph, shape, stands_for)
  local first, length = {}, {}
  for i = 1, graph.count do
    local from = step_before(graph, shape, i)
    first[i] = from and first[from] or i
    length[first[i]] = (length[first[i]] or 0) + 1
  end
  for i = 1, graph.count do
    if length[first[i]] > ALIKE_MAX then
      stands_for[i] = first[i]
    end
  end
  return length
end

-- The node that stands for each in the picture, and what each that is drawn
-- stands for.
local function fold(graph)
  local shape, stands_for, drawn = flow_shape.new(graph), {}, {}
  for i = 1, graph.count do
    stands_for[i] = i
  end
  fold_parts(shape, stands_for)
  local length = fold_runs(graph, shape, stands_for)
  for i = 1, graph.count do
    local other = find(stands_for, i)
    stands_for[i] = other
    drawn[other] = drawn[other] or { class = {}, is_run =
      length[other] and length[other] > ALIKE_MAX }
    table.insert(drawn[other].class, i)
  end
  return stands_for, drawn
end

local function quoted(text)
  return '"' .. text:gsub('[\\"]', "\\%0"):gsub("%c", "?") .. '"'
end

-- The worst of some states.
local ORDER <const> = {
  "failure", "unmet", "revoked", "delegated", "released", "waiting",
  "success", "skipped",
}

local function state_of(graph, class)
  local seen = {}
  for _, i in ipairs(class) do
    seen[graph.nodes[i].state] = true
  end
  for _, state in ipairs(ORDER) do
    if seen[state] then
      return state
    end
  end
  return "waiting"
end

local function label_of(graph, shown)
  local node = graph.nodes[shown.class[1]]
  local name = name_of(node)
  local text = node.label and node.label ~= name
    and node.label .. ": " .. name or name
  local count = #shown.class
  if count > 1 then
    return ("%s x %d%s"):format(text, count, shown.is_run and " in a row"
      or "")
  end
  return text
end

local function node_lines(graph, drawn, lines)
  for i = 1, graph.count do
    local shown = drawn[i]
    if shown then
      local node = graph.nodes[i]
      lines[#lines + 1] = ("  n%d [label=%s, shape=%s, fillcolor=%s];"):format(
        i, quoted(label_of(graph, shown)), node.task and "box" or "ellipse",
        COLOURS[state_of(graph, shown.class)])
    end
  end
end

local function edge_lines(graph, stands_for, lines)
  local seen = {}
  for i = 1, graph.count do
    for _, from in ipairs(graph.after[i]) do
      local a, b = stands_for[from], stands_for[i]
      local line = ("  n%d -> n%d;"):format(a, b)
      if a ~= b and not seen[line] then
        seen[line] = true
        lines[#lines + 1] = line
      end
    end
  end
end

--- The lines of a picture.
-- @tparam Graph graph
-- @treturn {string,...}
function flow_dot.lines(graph)
  local stands_for, drawn = fold(graph)
  local lines = {
    "digraph flow {",
    "  rankdir=LR;",
    ("  label=%s;"):format(quoted(graph.name)),
    '  node [style="filled,rounded", fontname="sans-serif"];',
  }
  node_lines(graph, drawn, lines)
  edge_lines(graph, stands_for, lines)
  lines[#lines + 1] = "}"
  return lines
end

return flow_dot
