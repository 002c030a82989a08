--- Why a flow that was sent does not go on.
-- @module taskengine.cli.flow_notes

local link = require("taskengine.cli.link")

local flow_notes = {}

local INCOMPLETE <const> = "waits: it begins when its sender has sent all of"
  .. " it; if nobody does, it goes a day after its last piece came"
local UNSERVED <const> = "waits: %d %s in the queue %s, which no worker serves"

-- How many tasks of each queue can run, or run.
local function count_released(graph)
  local counts, queues = {}, {}
  for _, node in ipairs(graph.nodes) do
    local queue = node.state == "released" and node.queue
    if queue and not counts[queue] then
      queues[#queues + 1] = queue
    end
    if queue then
      counts[queue] = (counts[queue] or 0) + 1
    end
  end
  table.sort(queues)
  return queues, counts
end

--- What it waits for, beside its own tasks.
-- @tparam Client way
-- @tparam Graph graph
-- @treturn {string,...} lines
-- @raise TaskError of kind BrokerUnavailable
function flow_notes.lines(way, graph)
  if graph.state == "incomplete" then
    return { INCOMPLETE }
  end
  local queues, counts = count_released(graph)
  local lines, served = {}, {}
  for _, queue in ipairs(queues[1] and link.status(way).queues or {}) do
    served[queue.name] = queue.workers > 0
  end
  for _, queue in ipairs(queues) do
    if not served[queue] then
      lines[#lines + 1] = UNSERVED:format(counts[queue],
        counts[queue] == 1 and "task" or "tasks", queue)
    end
  end
  return lines
end

return flow_notes
