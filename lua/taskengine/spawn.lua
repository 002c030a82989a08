--- Functions that run beside each other in one process, and pauses in them.
-- @module taskengine.spawn

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local core = require("taskengine.core")
local coroutines = require("taskengine.coroutines")
local failure = require("taskengine.failure")
local scheduler = require("taskengine.scheduler")
local slot = require("taskengine.slot")

local spawn = {}

-- 30 years
local SECONDS_MAX <const> = 1e9
local is_pause = check.seconds(0, SECONDS_MAX)

--- Waits; other fibers of this process go on meanwhile.
-- @tparam number seconds
function spawn.sleep(seconds)
  if not is_pause(seconds) then
    caller.raise(check.problem("te.sleep", is_pause, seconds))
  end
  scheduler.await("te.sleep", function(wake)
    return core.loop.timer(seconds * 1000, wake)
  end)
end

--- A function that was spawned.
-- @type Spawned
local Spawned = {
  __name = "taskengine.Spawned",
  __cannot_travel = "what te.spawn returns cannot be sent; what get() of it"
    .. " returns can",
}
Spawned.__index = Spawned

-- Keeps the error as it was raised; what is said of it is for who only reads.
local function handle(object)
  return { raised = object, described = failure.describe(object) }
end

-- An error of which nothing more is known.
local function bare(object)
  return {
    raised = object,
    described = { message = tostring(object), traceback = "" },
  }
end

-- Makes up for a handler that got no stack or memory, or was not even called.
local function complete(ok, ...)
  if ok then
    return table.pack(ok, ...)
  end
  local problem = ...
  if type(problem) ~= "table" then
    problem = bare(problem)
  elseif type(problem.described) ~= "table" then
    problem = bare(problem.raised)
  end
  return table.pack(false, problem)
end

local function wake_all(self)
  local waiting = self.waiting
  self.waiting = {}
  for wake in pairs(waiting) do
    wake(true)
  end
end

--- Hears of an error that nobody asked for, see @{spawn.start}; a worker's
-- child writes it to the log.
-- @tparam string text
function spawn.on_error(text)
  io.stderr:write("taskengine: ", text, "\n")
end

local function tell_unseen(self)
  if self.values and not self.values[1] and not self.is_seen then
    self.is_seen = true
    local e = self.values[2].described
    spawn.on_error(("error in a function spawned%s: %s\n%s"):format(self.whose,
      e.message, e.traceback))
  end
end

-- Nobody can ask any more.
Spawned.__gc = tell_unseen

local YIELDED <const> = "attempt to yield from outside a coroutine"

local function on_stop(fiber, ok, problem)
  local self = fiber.spawned
  if not self.values then
    coroutines.close(fiber.co)
    self.values =
      table.pack(false, bare(ok and YIELDED or tostring(problem)))
  end
  local group = fiber.task and fiber.task.spawned
  if group then
    group.running[fiber] = nil
    if not self.values[1] then
      group.failures = group.failures + 1
      group.failed[self] = group.failures
    end
  end
  wake_all(self)
end

local BY_KEY <const> = { __mode = "k" }

-- What a task has spawned: the fibers that run; and what failed, with its
-- place in the order. Who drops one of these has been told of it by then.
local function join_task(fiber, task)
  fiber.task = task
  task.spawned = task.spawned
    or { running = {}, failed = setmetatable({}, BY_KEY), failures = 0 }
  task.spawned.running[fiber] = true
end

local function tell_failures(group)
  local failed = {}
  for self in pairs(group.failed) do
    failed[#failed + 1] = self
  end
  table.sort(failed, function(a, b)
    return group.failed[a] < group.failed[b]
  end)
  for _, self in ipairs(failed) do
    tell_unseen(self)
  end
end

--- A task has ended: ends with it what it has spawned and still runs, and
-- tells of the errors that nobody asked for.
-- @tparam table task that has spawned something
function spawn.end_with(task)
  local group = task.spawned
  task.spawned = nil
  for fiber in pairs(group.running) do
    fiber:close()
  end
  tell_failures(group)
end

--- Runs a function beside this one: it begins when this one waits.
--
-- In a task it lasts until the task ends at the latest; a task that needs its
-- outcome waits for it. An error that nobody has asked for, with `get` or
-- `wait`, when the task ends is written to the worker's log then; in plain Lua,
-- and in a file that is loaded, to stderr, when the object that this returns
-- is collected: at the end of the program at the latest. A task's object that
-- is collected before the task ends is written of then, too.
-- @tparam function fn
-- @param ... its arguments
-- @treturn Spawned
function spawn.start(fn, ...)
  if type(fn) ~= "function" then
    caller.raise(check.problem("te.spawn", check.callable, fn))
  end
  coroutines.install()
  local parent = scheduler.current()
  local task = parent and parent.task
  local self = setmetatable({
    waiting = {},
    whose = task and (" by task %s %s"):format(task.name, task.id) or "",
  }, Spawned)
  local args = table.pack(...)
  local fiber = scheduler.fiber(function()
    self.values = complete(xpcall(fn, handle,
      table.unpack(args, 1, args.n)))
  end, { spawned = self, on_stop = on_stop })
  if task then
    join_task(fiber, task)
  end
  core.loop.defer(function()
    if not fiber.is_closed then
      scheduler.go_on(fiber)
    end
  end)
  return self
end

-- False when the time is up.
local function await_end(self, timeout)
  if self.values then
    return true
  end
  return scheduler.await("waiting for a spawned function",
    function(wake)
      local timer
      local function on_end()
        if timer then
          timer:close()
        end
        wake(true)
      end
      self.waiting[on_end] = true
      if timeout then
        timer = core.loop.timer(timeout * 1000, function()
          self.waiting[on_end] = nil
          wake(false)
        end)
      end
      return {
        close = function()
          self.waiting[on_end] = nil
          if timer then
            timer:close()
          end
        end,
      }
    end, slot.FIBER)
end

--- Waits for the function to end and returns its values.
-- @return what it returned
-- @raise what it raised
function Spawned:get()
  await_end(self)
  self.is_seen = true
  local values = self.values
  if not values[1] then
    error(values[2].raised, 0)
  end
  return table.unpack(values, 2, values.n)
end

--- Waits for the function to end, without raising its error.
-- @tparam[opt] number timeout in seconds
-- @treturn[1] boolean true
-- @return[1] what it returned
-- @treturn[2] boolean false
-- @return[2] what it raised
-- @return[3] nil: the time is up; it goes on
-- @treturn[3] string `"timeout"`
function Spawned:wait(timeout)
  if timeout ~= nil and not is_pause(timeout) then
    caller.raise(check.problem("wait: timeout", is_pause, timeout))
  end
  if not await_end(self, timeout) then
    return nil, "timeout"
  end
  self.is_seen = true
  local values = self.values
  if not values[1] then
    return false, values[2].raised
  end
  return table.unpack(values, 1, values.n)
end

caller.guard_methods(Spawned, "spawned")

return spawn
