--- What waits in which queue, as Redis has it now.
-- @module taskengine.cli.survey

local link = require("taskengine.cli.link")

local survey = {}

local BATCH <const> = "1000"
local PRIORITY_MAX <const> = 9

--- How many of each queue are due later. Redis is asked in parts, between
-- which others get their turn.
-- @tparam Client way
-- @treturn table queue to number
-- @raise TaskError of kind BrokerUnavailable
function survey.due(way)
  local counts = {}
  local more, at, id = 1, "", ""
  while more == 1 do
    local reply = way:ask("te1_survey_due", { BATCH, at, id })
    more, at, id = reply[1], reply[2], reply[3]
    for i = 4, #reply, 2 do
      counts[reply[i]] = (counts[reply[i]] or 0) + reply[i + 1]
    end
  end
  return counts
end

-- Priority to number, or nil when all have none.
local function read_levels(row)
  local levels, has_any = {}, false
  for priority = 0, PRIORITY_MAX do
    local count = row[3 + priority]
    if count > 0 then
      levels[tostring(priority)] = count
      has_any = has_any or priority > 0
    end
  end
  return has_any and levels or nil
end

--- What Redis knows of queues and workers.
-- @tparam Client way
-- @treturn table as @{taskengine.cli.link.status}; each queue also has
-- `in_flight`, unless that is too much to be looked at, and `priorities`, how
-- many are ready of which, if any is not 0
-- @raise TaskError of kind BrokerUnavailable
function survey.all(way)
  local status, rows = link.status(way), {}
  for _, row in ipairs(way:ask("te1_survey", {})) do
    rows[row[1]] = row
  end
  for _, queue in ipairs(status.queues) do
    local row = rows[queue.name]
    if row then
      queue.in_flight = row[2] >= 0 and row[2] or nil
      queue.priorities = read_levels(row)
    end
  end
  return status
end

return survey
