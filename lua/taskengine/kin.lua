--- Which task sends a task.
-- @module taskengine.kin

local header = require("taskengine.header")
local scheduler = require("taskengine.scheduler")

local kin = {}

--- The task whose code runs.
-- @treturn ?string the engine's id; nil where no task runs
function kin.parent()
  local fiber = scheduler.current()
  local task = fiber and fiber.task
  return task and task.envelope and header.id(task.envelope)
end

return kin
