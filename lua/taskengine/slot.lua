--- Which tasks take no slot, because they wait for others.
--
-- A worker's child runs a limited number of tasks at a time. One that waits
-- for another task's outcome must not count, or two that wait for each other's
-- children would block the child for ever.
-- @module taskengine.slot

local slot = {}

--- What a fiber waits for: the outcome of another task.
slot.OUTCOME = "outcome"
--- What a fiber waits for: the end of another fiber of its task.
slot.FIBER = "fiber"
--- What a fiber waits for, in its slot: Redis, which answers soon.
slot.REPLY = "reply"

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

local function change(fiber, reason, step)
  local task = fiber.task
  if not task or not slot.tell or reason == slot.REPLY then
    return
  end
  if fiber.is_main then
    task.main_waits = step > 0
  end
  if reason == slot.OUTCOME then
    task.outcome_waits = task.outcome_waits + step
  end
  update(task)
end

--- A fiber begins to wait.
-- @tparam Fiber fiber
-- @tparam string reason `slot.OUTCOME`, `slot.FIBER` or `slot.REPLY`
function slot.leave(fiber, reason)
  change(fiber, reason, 1)
end

--- A fiber goes on.
-- @tparam Fiber fiber
-- @tparam string reason as it was for @{slot.leave}
function slot.enter(fiber, reason)
  change(fiber, reason, -1)
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
