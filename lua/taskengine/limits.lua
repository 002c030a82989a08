--- What a task may use of its process: time, until it is told to come to an
-- end, and memory.
--
-- Of time: when a task's *soft* limit is over, an error is raised in it, once.
-- That is at the next line if its code runs, and where it waits if it waits.
-- A function that it spawned and that computes then gets the error as well, or
-- the task would not have its turn.
--
-- Of memory: what is refused is an error of Lua's in the code that asked. What
-- that left half done nobody knows, so the process ends when its tasks have.
-- @module taskengine.limits

local caller = require("taskengine.caller")
local core = require("taskengine.core")
local coroutines = require("taskengine.coroutines")
local errors = require("taskengine.errors")
local scheduler = require("taskengine.scheduler")
local size = require("taskengine.size")

local limits = {}

-- Lua's words for memory that it did not get; behind what came on the way.
local NO_MEMORY <const> = "not enough memory$"

local MIB <const> = 1024 * 1024

-- Of tasks without one, in bytes; nil: no limit.
local memory_max

-- What the Lua state took when that was first counted; nil: it is not.
local counted

-- When the alarm goes off.
local alarm_ms = 0

local function set_alarm(ms)
  if ms ~= alarm_ms then
    alarm_ms = ms
    core.guard.alarm(ms)
  end
end

-- When a fiber is to hear of its task's limit; 0: never, or not again.
local function due_of(fiber)
  local task = fiber and fiber.task
  return task and fiber.warned ~= task.token and task.soft_ms or 0
end

-- The error, for a fiber that has not had it.
local function warn(fiber)
  fiber.warned = fiber.task.token
  set_alarm(due_of(scheduler.current()))
  return errors.new {
    kind = "SoftTimeLimitExceeded",
    message = ("ran longer than its soft time limit of %.14g s")
      :format(fiber.task.soft_s),
  }
end

-- A hook of the code that runs when the time is over. The code of this layer
-- is left alone: it may be in the midst of something.
local function on_alarm()
  if caller.is_ours(debug.getinfo(2, "S").source) then
    return true
  end
  errors.raise(warn(scheduler.current()))
end

-- The loop's turn: a task that computes has the alarm.
local function on_timer(fiber)
  if due_of(fiber) ~= 0 and scheduler.can_interrupt(fiber) then
    scheduler.interrupt_fiber(fiber, warn(fiber))
  end
end

-- A fiber begins to wait.
local function on_park(fiber)
  local task = fiber.task
  if fiber.is_main and not task.soft_timer and due_of(fiber) ~= 0 then
    local left_ms = math.max(task.soft_ms - core.loop.now(), 0)
    task.soft_timer = core.loop.timer(left_ms, function()
      task.soft_timer = nil
      on_timer(fiber)
    end)
  end
end

local function memory_of(task)
  return task and task.memory_max or memory_max
end

-- The code of a fiber runs from now on; nil: none does.
local function on_run(fiber)
  set_alarm(due_of(fiber))
  if counted then
    core.guard.limit_memory(fiber and memory_of(fiber.task) or 0)
  end
end

local function count_memory()
  counted = counted or core.guard.count_memory()
  return counted
end

-- Why a limit cannot be; nil when it can.
local function problem_with(where, bytes)
  local used = count_memory()
  if used >= bytes then
    return ("%smemory_limit: the files that are loaded take %.1f MiB, more"
      .. " than the limit of %.1f MiB: set a larger one"):format(where,
      used / MIB, bytes / MIB)
  end
end

-- The first task whose own limit cannot be.
local function problem_of_tasks(tasks)
  for name, one in pairs(tasks) do
    local limit = one.options.memory_limit
    local problem = limit
      and problem_with(("task '%s': "):format(name), size.bytes(limit))
    if problem then
      return problem
    end
  end
end

--- Begins to watch over the fibers of this process.
-- @tparam ?int bytes how much memory the Lua state may take while tasks run
-- that have no such limit of their own; no limit when missing
-- @tparam {[string]=Task,...} tasks by name
-- @treturn[1] boolean true
-- @return[2] nil
-- @treturn[2] string why it cannot be: a sentence
function limits.install(bytes, tasks)
  coroutines.resume_with(core.guard.resume)
  local ok, problem = core.guard.on_alarm(on_alarm)
  if not ok then
    return nil, errors.sentence(problem)
  end
  scheduler.on_run(on_run)
  scheduler.on_park(on_park)
  problem = bytes and problem_with("", bytes) or problem_of_tasks(tasks)
  if problem then
    return nil, problem
  end
  memory_max = bytes
  return true
end

--- A task begins; its fiber runs.
-- @tparam table task
-- @tparam int soft_ms its soft limit
function limits.begin(task, soft_ms)
  task.soft_s = soft_ms / 1000
  task.soft_ms = core.loop.now() + soft_ms
  set_alarm(task.soft_ms)
end

--- A task with a memory limit of its own begins; its fiber runs.
-- @tparam table task
-- @tparam int bytes
function limits.begin_memory(task, bytes)
  count_memory()
  task.memory_max = bytes
  core.guard.limit_memory(bytes)
end

--- A task ends, perhaps where it waits.
-- @tparam table task
function limits.finish(task)
  task.memory_max = nil
  if task.soft_ms then
    task.soft_ms = nil
    if task.soft_timer then
      task.soft_timer:close()
      task.soft_timer = nil
    end
  end
end

--- What a failure is that Lua had no more to say of than that it got no
-- memory.
-- @tparam table fields of the failure; the kind is set
-- @tparam table task that failed
-- @treturn table the fields
function limits.name_failure(fields, task)
  local bytes = memory_of(task)
  if bytes and fields.kind == "Error" and core.guard.is_exhausted()
    and fields.message:find(NO_MEMORY) then
    fields.kind = "MemoryLimitExceeded"
    fields.message = ("%s: its process may use %.14g MiB"):format(
      fields.message, bytes / MIB)
  end
  return fields
end

--- Whether memory was refused: the process should end when its tasks have.
-- @treturn boolean
function limits.is_broken()
  return counted ~= nil and core.guard.is_exhausted()
end

return limits
