--- A compiled canvas as lines that people can read.
--
--     1 add(1, 2)
--     2 sum() <- f1 [0]
--
-- A node, its arguments, what it waits for (`f1` for an edge of kind `f` from
-- node 1, `f1-3` for three), and in brackets what its inputs form. `*` stands
-- for a node that only gathers.
-- @module spec.support.plan_text

local compile = require("taskengine.canvas.compile")
local plan = require("taskengine.canvas.plan")

local plan_text = {}

local function args_of(made, node)
  local one = made.what[node]
  local out = {}
  for _, list in ipairs { made.front[node] or {}, one.args } do
    for i = 1, list.n or #list do
      local value = list[i]
      out[#out + 1] = type(value) == "table" and "list" or tostring(value)
    end
  end
  return table.concat(out, ", ")
end

-- The edges to each node: kind and source.
local function edges_to(made)
  local into = {}
  for node = 1, made.count do
    local bytes = made:edges(node) or ""
    for at = 1, #bytes, 6 do
      local kind, flags, target = string.unpack(">c1Bi4", bytes, at)
      local is_relative = flags & plan.RELATIVE ~= 0
      target = is_relative and node + target or target
      into[target] = into[target] or {}
      table.insert(into[target], { kind = kind, node = node })
    end
  end
  return into
end

local function edges_text(edges)
  local out, i = {}, 1
  table.sort(edges, function(a, b)
    return a.node < b.node
  end)
  while edges[i] do
    local from = edges[i]
    local to = from
    while edges[i + 1] and edges[i + 1].kind == from.kind
      and edges[i + 1].node == to.node + 1 do
      i = i + 1
      to = edges[i]
    end
    out[#out + 1] = from.kind .. from.node
      .. (to ~= from and "-" .. to.node or "")
    i = i + 1
  end
  return table.concat(out, " ")
end

local function inputs_text(made, node)
  local out, bytes = {}, made.inputs[node] or ""
  for at = 1, #bytes, 10 do
    local kind, flags, low, high = string.unpack(">c1Bi4i4", bytes, at)
    local base = flags == plan.RELATIVE and node or 0
    low, high = low + base, high + base
    out[#out + 1] = kind .. low .. (high > low and "-" .. high or "")
  end
  return table.concat(out, " ")
end

local function shape_text(shape)
  local out = {}
  for i, entry in ipairs(shape or {}) do
    out[i] = type(entry) == "table" and entry[1] .. entry[2] or tostring(entry)
  end
  return table.concat(out, " ")
end

local function line_of(made, node, edges)
  local one = made.what[node]
  local head = one == plan.JOIN and "*"
    or ("%s(%s)"):format(one.task.name, args_of(made, node))
  local into, inputs = edges_text(edges), inputs_text(made, node)
  local text = ("%d %s"):format(node, head)
  if into ~= "" then
    text = text .. " <- " .. into
    -- Said only where it is not the same.
    text = text .. (inputs ~= into and " takes " .. inputs or "")
  end
  local shape = shape_text(made.shape[node])
  return text .. (shape ~= "" and " [" .. shape .. "]" or "")
end

--- The lines of a plan.
-- @tparam Plan made
-- @treturn {string,...}
function plan_text.of(made)
  local into, lines = edges_to(made), {}
  for node = 1, made.count do
    local edges = into[node] or {}
    assert(#edges == made.need[node], "an edge is missing")
    lines[node] = line_of(made, node, edges)
  end
  return lines
end

--- Compiles a canvas.
-- @tparam Canvas one
-- @treturn {string,...} its lines
-- @treturn table its result
function plan_text.compile(one)
  local made = compile.plan(one)
  return plan_text.of(made), made.result
end

return plan_text
