--- Flows as the user writes them: named nodes, and what each waits for.
-- @module taskengine.canvas.graph

local check = require("taskengine.check")
local suggest = require("taskengine.suggest")

local graph = {}

--- The policies, and the letters of their edges, see docs/protocol.md.
graph.POLICIES = { fail = "f", continue = "c", ignore = "i" }

local is_policy = check.one_of { "fail", "continue", "ignore" }

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  return keys
end

-- What a node waits for: a list of `name` and `kind`, those with a policy
-- last.
local function read_after(where, after)
  if after == nil then
    return {}
  elseif type(after) ~= "table" then
    return nil, check.problem(where .. ": after", check.table, after)
  end
  local list, seen = {}, {}
  for _, key in ipairs(sorted_keys(after)) do
    local value = after[key]
    local entry
    if math.type(key) == "integer" and key >= 1 and key <= #after then
      entry = { name = value, kind = "f", place = key }
    elseif not is_policy(value) then
      return nil, check.problem(("%s: after: the policy for '%s'"):format(where,
        tostring(key)), is_policy, value)
    else
      entry = { name = key, kind = graph.POLICIES[value],
        place = math.huge, policy = value }
    end
    if type(entry.name) ~= "string" then
      return nil, check.problem(where .. ": after: the name of a node",
        check.string, entry.name)
    elseif seen[entry.name] then
      return nil, ("%s: after: '%s' stands there twice"):format(where,
        entry.name)
    end
    seen[entry.name] = true
    list[#list + 1] = entry
  end
  table.sort(list, function(a, b)
    if a.place ~= b.place then
      return a.place < b.place
    end
    return a.name < b.name
  end)
  return list
end

local function read_node(name, given, is_canvas, describe)
  local where = ("the node '%s'"):format(tostring(name))
  if type(name) ~= "string" then
    return nil, check.problem("the name of a node", check.string, name)
  elseif type(given) ~= "table" then
    return nil, check.problem(where, check.table, given)
  elseif is_canvas(given) then
    return nil, ("%s: a table expected, with the signature as its first"
      .. " element: { %s, after = { ... } }"):format(where, given.kind == "task"
      and given.task.name .. ":s(...)" or given.kind)
  elseif not is_canvas(given[1]) then
    return nil, ("%s: a signature expected as its first element, got %s")
      :format(where, describe(given[1]))
  end
  for key in pairs(given) do
    if key ~= 1 and key ~= "after" then
      return nil, ("%s: unknown field '%s'%s"):format(where, tostring(key),
        suggest.hint(tostring(key), { "after" }))
    end
  end
  local after, problem = read_after(where, given.after)
  return after and { name = name, canvas = given[1], after = after }, problem
end

local function check_present(nodes)
  local names = sorted_keys(nodes)
  for _, name in ipairs(names) do
    for _, entry in ipairs(nodes[name].after) do
      if not nodes[entry.name] then
        return ("the node '%s' waits for '%s', which is not in the flow%s")
          :format(name, entry.name, suggest.hint(entry.name, names))
      end
    end
  end
end

-- One cycle among the nodes that never became free, as a sentence.
local function name_cycle(nodes, left)
  local name = sorted_keys(left)[1]
  local path, place = {}, {}
  while not place[name] do
    path[#path + 1], place[name] = name, #path + 1
    for _, entry in ipairs(nodes[name].after) do
      if left[entry.name] then
        name = entry.name
        break
      end
    end
  end
  path[#path + 1] = name
  return "a cycle, in which each waits for the next: "
    .. table.concat(path, " -> ", place[name])
end

-- The nodes that wait for each, and for how many each waits.
local function count_edges(nodes)
  local waiting, missing = {}, {}
  for name, node in pairs(nodes) do
    missing[name] = #node.after
    for _, entry in ipairs(node.after) do
      waiting[entry.name] = waiting[entry.name] or {}
      table.insert(waiting[entry.name], name)
    end
  end
  return waiting, missing
end

-- The nodes in an order in which each stands behind what it waits for; the
-- same order each time.
local function in_order(nodes)
  local waiting, missing = count_edges(nodes)
  local order, left = {}, {}
  for _, name in ipairs(sorted_keys(nodes)) do
    left[name] = true
    if missing[name] == 0 then
      order[#order + 1] = nodes[name]
    end
  end
  local at = 1
  while order[at] do
    local name = order[at].name
    left[name], at = nil, at + 1
    local freed = waiting[name] or {}
    table.sort(freed)
    for _, other in ipairs(freed) do
      missing[other] = missing[other] - 1
      if missing[other] == 0 then
        order[#order + 1] = nodes[other]
      end
    end
  end
  if next(left) then
    return nil, name_cycle(nodes, left)
  end
  for _, node in ipairs(order) do
    node.is_sink = waiting[node.name] == nil
  end
  return order
end

local function check_about(about)
  if type(about) ~= "table" then
    return check.problem("its description", check.table, about)
  elseif about.name ~= nil and not check.name(about.name) then
    return check.problem("name", check.name, about.name)
  elseif type(about.nodes) ~= "table" then
    return check.problem("nodes", check.table, about.nodes)
  elseif next(about.nodes) == nil then
    return "nodes: at least one expected"
  end
  for key in pairs(about) do
    if key ~= "name" and key ~= "nodes" then
      return ("unknown field '%s'%s"):format(tostring(key),
        suggest.hint(tostring(key), { "name", "nodes" }))
    end
  end
end

--- Reads a flow.
-- @tparam table about see @{taskengine.canvas.flow}
-- @tparam function is_canvas whether a value can be a node
-- @tparam function describe what a value is that cannot
-- @treturn[1] {table,...} the nodes, each behind what it waits for: `name`,
-- `canvas`, `after` (a list of `name`, `kind`, a letter of
-- @{graph.POLICIES}, and the `policy` where one is said), `is_sink`
-- @return[2] nil
-- @treturn[2] string what is wrong
function graph.read(about, is_canvas, describe)
  local problem = check_about(about)
  if problem then
    return nil, problem
  end
  local nodes = {}
  for _, name in ipairs(sorted_keys(about.nodes)) do
    nodes[name], problem = read_node(name, about.nodes[name], is_canvas,
      describe)
    if not nodes[name] then
      return nil, problem
    end
  end
  problem = check_present(nodes)
  if problem then
    return nil, problem
  end
  return in_order(nodes)
end

return graph
