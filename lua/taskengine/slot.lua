--- Which tasks take no slot, because they wait for others.
--
-- A worker's child runs a limited number of tasks at a time. One that waits
-- for another task's outcome must not count, or two that wait for each other's
-- children would block the child for ever.
-- @module taskengine.slot

local scheduler = require("taskengine.scheduler")

local slot = {}

--- What is told that a task frees its slot, or takes it again; set by a
-- worker's child.
-- @tparam int token
-- @tparam boolean is_free
slot.tell = nil

-- Free while the task's own fiber waits, for outcomes itself or for fibers of
-- its own of which some do.
local function update(task)
  local is_free = task.main_waits and task.outcome_waits > 0 or false
  if is_free ~= task.is_free then
    task.is_free = is_free
    slot.tell(task.token, is_free)
  end
end

local function change(for_outcome, step)
  local fiber = scheduler.current()
  local task = fiber and fiber.task
  if not task or not slot.tell then
    return
  end
  if fiber.is_main then
    task.main_waits = step > 0
  end
  if for_outcome then
    task.outcome_waits = task.outcome_waits + step
  end
  update(task)
end

--- The running fiber begins to wait.
-- @tparam boolean for_outcome of another task; otherwise for another fiber
function slot.leave(for_outcome)
  change(for_outcome, 1)
end

--- The running fiber goes on.
-- @tparam boolean for_outcome as it was for @{slot.leave}
function slot.enter(for_outcome)
  change(for_outcome, -1)
end

--- A task begins.
-- @tparam table task its `token` is set
function slot.begin(task)
  task.main_waits, task.outcome_waits, task.is_free = false, 0, false
end

--- A task ends, perhaps where it waits.
-- @tparam table task
function slot.finish(task)
  if task.is_free then
    slot.tell(task.token, false)
  end
end

return slot
