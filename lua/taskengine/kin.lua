--- Which task sends a task.
-- @module taskengine.kin

local scheduler = require("taskengine.scheduler")

local kin = {}

local ID_BYTES <const> = 20

--- The task whose code runs.
-- @treturn ?string the engine's id; nil where no task runs
function kin.parent()
  local fiber = scheduler.current()
  local task = fiber and fiber.task
  return task and task.envelope and task.envelope:sub(1, ID_BYTES)
end

return kin
