--- Plans of flows in plain Lua, by docs/protocol.md and nothing else.
--
--     local plan = flow_plan.new("flow")
--     local a = plan:node {}
--     local b = plan:node { after = { { "f", a } } }
--     plan:send(shard)
-- @module spec.support.flow_plan

local envelope = require("spec.support.envelope")

local flow_plan = {}

local Plan = {}
Plan.__index = Plan

local ERRBACK <const> = 1 << 31
local MEMBER <const> = 2
-- Edges whose target takes the outcome of their source.
local HAS_VALUE <const> = { f = true, c = true, i = true, e = true }

--- An empty plan.
-- @tparam string name of the producer, padded to 12 characters
-- @tparam[opt] table opts `ttl_s`; `ranges`: neighbours that need nothing, or
-- that a node takes, are named together, not each
-- @treturn Plan
function flow_plan.new(name, opts)
  return setmetatable({
    producer = name .. ("f"):rep(12 - #name),
    ttl_s = opts and opts.ttl_s or 3600,
    has_ranges = opts and opts.ranges,
    nodes = {},
    templates = {},
  }, Plan)
end

--- A template of these parts of an envelope.
-- @tparam table parts
-- @treturn string
function flow_plan.template(parts)
  local copy = { id = ("-"):rep(20), body = "-" }
  for name, value in pairs(parts) do
    copy[name] = value
  end
  return envelope.new(copy):sub(21, -2)
end

--- Adds a node.
-- @tparam table node `after`: list of { kind, number of the node before };
-- `parts` of its envelope; `virtual`; `delay_ms`; `body`; `grows`: who is in
-- front may add to that; `joins`: where it is added, it becomes a member
-- @treturn int its number
function Plan:node(node)
  table.insert(self.nodes, node)
  return #self.nodes
end

--- Revokes the flow.
-- @param shard
-- @tparam string mode as of te1_revoke
-- @treturn string the reply
function Plan:revoke(shard, mode)
  return shard:call("revoke", "R\x80", 60, mode, self:id(0))[1]
end

--- The id of a node's task; of the flow for 0.
-- @tparam int i
-- @treturn string
function Plan:id(i)
  return envelope.id(self.producer, i)
end

local function number_of(list, names, bytes)
  if bytes == "" then
    return 0
  elseif not names[bytes] then
    table.insert(list, bytes)
    names[bytes] = #list
  end
  return names[bytes]
end

-- The out-edges of each node, from the edges that come in.
local function edges_of(nodes)
  local out = {}
  for i, node in ipairs(nodes) do
    for _, edge in ipairs(node.after or {}) do
      local from = edge[2]
      out[from] = (out[from] or "")
        .. string.pack(">c1BI4", edge[1], node.grows and MEMBER or 0, i)
    end
    if node.joins then
      out[i] = (out[i] or "") .. string.pack(">c1BI4", "m", 0, 0)
    end
    if node.delegate then
      out[i] = (out[i] or "") .. string.pack(">c1BI4", "d", 0, node.delegate)
    end
  end
  return out
end

local function inputs_of(node, has_ranges)
  local ranges, out = {}, {}
  for _, edge in ipairs(node.after or {}) do
    local kind, from, last = edge[1], edge[2], ranges[#ranges]
    if has_ranges and last and last.kind == kind and last.to == from - 1 then
      last.to = from
    elseif HAS_VALUE[kind] then
      table.insert(ranges, { kind = kind, from = from, to = from })
    end
  end
  for k, range in ipairs(ranges) do
    out[k] = string.pack(">c1BI4I4", range.kind, 0, range.from, range.to)
  end
  return table.concat(out)
end

local function need_of(node)
  local after = node.after or {}
  return #after | (after[1] and after[1][1] == "e" and ERRBACK or 0)
end

--- The records of all nodes, and what they share.
-- @treturn table `records`; lists `t`, `o`, `i`; `sources`: numbers
function Plan:compiled()
  local out = { records = {}, t = {}, o = {}, i = {}, sources = {} }
  local names = { t = {}, o = {}, i = {} }
  local edges = edges_of(self.nodes)
  for i, node in ipairs(self.nodes) do
    local t = node.virtual and 0 or number_of(out.t, names.t,
      flow_plan.template(node.parts or {}))
    out.records[i] = string.pack(">I2I4I4I4I4", t,
      number_of(out.o, names.o, edges[i] or ""), need_of(node),
      number_of(out.i, names.i, inputs_of(node, self.has_ranges)),
      node.delay_ms or 0)
      .. (node.body or "\x91\x90")
    if not (node.after and node.after[1]) then
      table.insert(out.sources, i)
    end
  end
  return out
end

-- The nodes that need nothing, as ranges of first and last.
local function ranges_of(sources, has_ranges)
  local ranges = {}
  for _, i in ipairs(sources) do
    local last = ranges[#ranges]
    if has_ranges and last and last[2] == i - 1 then
      last[2] = i
    else
      table.insert(ranges, { i, i })
    end
  end
  return ranges
end

--- The pieces of te1_flow.
-- @treturn {string,...}
function Plan:pieces()
  local compiled, args = self:compiled(), {}
  for _, letter in ipairs { "t", "o", "i" } do
    for k, bytes in ipairs(compiled[letter]) do
      table.move({ letter, k, bytes }, 1, 3, #args + 1, args)
    end
  end
  table.move({ "n", 1, #self.nodes }, 1, 3, #args + 1, args)
  table.move(compiled.records, 1, #self.nodes, #args + 1, args)
  for _, range in ipairs(ranges_of(compiled.sources, self.has_ranges)) do
    table.move({ "s", range[1], range[2] }, 1, 3, #args + 1, args)
  end
  for letter, id in pairs { d = self.delegate, c = self.parent } do
    table.move({ letter, id }, 1, 2, #args + 1, args)
  end
  return args
end

--- Sends it in one call, and seals it.
-- @tparam Shard shard
-- @tparam[opt] string inbox
-- @tparam[opt] int node that it awaits
-- @treturn table the reply
function Plan:send(shard, inbox, node)
  return shard:call("flow", self.producer, 3, #self.nodes, self.ttl_s, "",
    inbox or "", node or "", table.unpack(self:pieces()))
end

--- Adds it to a flow, for a task there.
-- @tparam Shard shard
-- @tparam Plan flow
-- @tparam int node the task's
-- @tparam string name of the addition
-- @treturn table the reply
function Plan:add_to(shard, flow, node, name)
  return shard:call("flow_add", flow.producer, node, name, #self.nodes,
    table.unpack(self:pieces()))
end

return flow_plan
