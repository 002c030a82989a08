--- What a task may use of its process: time, until it is told to come to an
-- end, and memory.
--
-- Of time: when a task's *soft* limit is over, an error is raised in it, once.
-- That is at the next line if its code runs, and where it waits if it waits.
-- A function that it spawned and that computes then gets the error as well, or
-- the task would not have its turn.
--
-- A task that was revoked while it runs hears of it in the same way, at once.
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

-- Long ago.
local AT_ONCE <const> = 1

-- Whether a fiber is to hear that its task was revoked.
local function is_revoked(fiber)
  local task = fiber.task
  return task.is_revoked and fiber.revoked ~= task.token
end

-- When a fiber is to hear of its task's limit, or that it was revoked; 0:
-- never, or not again.
local function due_of(fiber)
  local task = fiber and fiber.task
  if not task then
    return 0
  elseif is_revoked(fiber) then
    return AT_ONCE
  end
  return fiber.warned ~= task.token and task.soft_ms or 0
end

-- The error, for a fiber that has not had it.
local function warn(fiber)
  local task = fiber.task
  local fields
  if is_revoked(fiber) then
    fiber.revoked = task.token
    fields = { kind = "Revoked", message = "revoked while it ran" }
  else
    fiber.warned = task.token
    fields = {
      kind = "SoftTimeLimitExceeded",
      message = ("ran longer than its soft time limit of %.14g s")
        :format(task.soft_s),
    }
  end
  set_alarm(due_of(scheduler.current()))
  return errors.new(fields)
end

local function raise_due(fiber)
  local due = due_of(fiber)
  if due ~= 0 and due <= core.loop.now() then
    errors.raise(warn(fiber))
  end
end

-- A hook of the code that runs when the time is over, or when the master rings
-- because some task was revoked: those that wait it tells by itself. The code
-- of this layer is left alone: it may be in the midst of something.
local function on_alarm()
  if caller.is_ours(debug.getinfo(2, "S").source) then
    return true
  end
  local fiber = scheduler.current()
  local task = fiber and fiber.task
  if task and limits.is_asked(task.token) then
    task.is_revoked = true
  end
  raise_due(fiber)
end

-- The loop's turn: a task that computes has the alarm, and one that asks Redis
-- something hears of it when it goes on.
local function on_timer(fiber)
  if due_of(fiber) ~= 0 and scheduler.can_interrupt(fiber) then
    scheduler.interrupt_fiber(fiber, warn(fiber))
  end
end

local function stop_timer(task)
  if task.timer then
    task.timer:close()
    task.timer = nil
  end
end

-- A fiber begins to wait.
local function on_park(fiber)
  local task, due = fiber.task, fiber.is_main and due_of(fiber) or 0
  if due == 0 or task.timer and task.timer_ms <= due then
    return
  end
  stop_timer(task)
  task.timer_ms = due
  task.timer = core.loop.timer(math.max(due - core.loop.now(), 0), function()
    task.timer = nil
    on_timer(fiber)
  end)
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
  scheduler.before_wait(raise_due)
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
  task.soft_ms, task.is_revoked, task.memory_max = nil, nil, nil
  stop_timer(task)
end

--- Whether the master asks a task to end; set by a worker's child.
-- @tparam int token
-- @treturn boolean
function limits.is_asked()
  return false
end

--- Whether a task is asked to end. A task is a table that is used again.
-- @tparam table task
-- @tparam int token which one is meant
-- @treturn boolean
function limits.is_cancelled(task, token)
  return task.token == token
    and (task.is_revoked or limits.is_asked(token)) or false
end

--- A task was revoked while it runs, and its fiber is about to go on: it hears
-- of that at its next line.
-- @tparam table task
function limits.note_revoked(task)
  task.is_revoked = true
end

--- A task was revoked while it runs: an error is raised in it, once. That is
-- where it waits, or at its next line.
-- @tparam Fiber fiber its own
function limits.revoke(fiber)
  limits.note_revoked(fiber.task)
  on_timer(fiber)
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
