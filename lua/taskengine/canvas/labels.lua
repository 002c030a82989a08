--- The names of the nodes of flows.
--
-- That of a node in a flow that is itself a node is both names, with a dot
-- between.
-- @module taskengine.canvas.labels

local caller = require("taskengine.caller")
local suggest = require("taskengine.suggest")

local labels = {}

local function raise_none(known, name)
  if #known == 0 then
    caller.raise("node: no names are kept of this flow: it is no te.flow, "
      .. "or they take more than 64 KiB; app:result takes the id of a node, "
      .. "which taskengine flow --json shows")
  end
  table.sort(known)
  caller.raise(("node: the flow has no node '%s'%s"):format(tostring(name),
    suggest.hint(tostring(name), known)))
end

--- The node of a name.
-- @tparam {[int]=string,...} given node to name
-- @tparam string name
-- @treturn int
-- @raise when no node has that name, or several have, or there are no names
function labels.find(given, name)
  local nodes, known = {}, {}
  for node, label in pairs(given) do
    known[#known + 1] = label
    if label == name then
      nodes[#nodes + 1] = node
    end
  end
  if #nodes == 0 then
    raise_none(known, name)
  elseif #nodes > 1 then
    caller.raise(("node: %d nodes are called '%s'; app:result takes the id of"
      .. " one, which taskengine flow --json shows"):format(#nodes, name))
  end
  return nodes[1]
end

return labels
