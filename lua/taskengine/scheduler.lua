--- Waiting: in a fiber it yields to the event loop, elsewhere it runs it.
--
-- A *fiber* is a coroutine that the scheduler runs: a task in a worker's
-- child, or what `te.spawn` started. The code of this layer waits in one way,
-- @{scheduler.await}, wherever it is called.
-- @module taskengine.scheduler

local caller = require("taskengine.caller")
local core = require("taskengine.core")
local coroutines = require("taskengine.coroutines")
local errors = require("taskengine.errors")
local slot = require("taskengine.slot")

local scheduler = {}

-- The fiber that runs; nil in plain Lua.
local current

-- See scheduler.on_switch.
local switch

-- See scheduler.on_run, scheduler.on_park and scheduler.before_wait.
local on_run, on_park, before_wait

-- See scheduler.interrupt.
local interruption

--- The running fiber.
-- @treturn ?Fiber nil in plain Lua
function scheduler.current()
  return current
end

--- Sets who hears which fiber the loop goes on with: a function that gets the
-- fiber, and nil when it has stopped.
-- @tparam ?function fn
function scheduler.on_switch(fn)
  switch = fn
end

--- Sets who hears which fiber runs, however it was started: a function that
-- gets the fiber, and nil when none does.
-- @tparam ?function fn
function scheduler.on_run(fn)
  on_run = fn
end

--- Sets who hears that a fiber begins to wait.
-- @tparam ?function fn gets the fiber
function scheduler.on_park(fn)
  on_park = fn
end

--- Sets who is asked before a fiber begins something that it waits for, and
-- may raise an error in its place.
-- @tparam ?function fn gets the fiber
function scheduler.before_wait(fn)
  before_wait = fn
end

--- Ends what plain Lua waits for: each wait there raises this object instead
-- of going on.
-- @param object what to raise; nil lets waits go on again
function scheduler.interrupt(object)
  interruption = object
end

--- A coroutine in the scheduler's hand.
-- @type Fiber
-- @tfield ?table task the task that it belongs to, see @{taskengine.runner}
-- @tfield ?boolean is_main the task's own, not one that it spawned
-- @tfield boolean is_closed
-- @tfield ?function on_stop called with the fiber when it stops otherwise
-- than to wait: ok, and what it yielded or returned, or its error
local Fiber = {}
Fiber.__index = Fiber

--- Makes a fiber; @{scheduler.resume} starts it.
-- @tparam function body
-- @tparam[opt] table fields its first fields
-- @treturn Fiber
function scheduler.fiber(body, fields)
  local fiber = setmetatable(fields or {}, Fiber)
  fiber.co = coroutines.create(body)
  return fiber
end

--- Runs a fiber until it stops. Its maker knows that it runs.
-- @tparam Fiber fiber
-- @param ... for its body, when it starts or has given way
function scheduler.resume(fiber, ...)
  local outer = current
  current = fiber
  if on_run then
    on_run(fiber)
  end
  local ok, first = coroutines.run(fiber.co, ...)
  current = outer
  if on_run then
    on_run(outer)
  end
  if fiber.on_stop and not coroutines.is_wait(first) then
    fiber:on_stop(ok, first)
  end
end

--- Runs a fiber until it stops, for the loop.
-- @tparam Fiber fiber
-- @param ... for its body, when it starts
function scheduler.go_on(fiber, ...)
  if switch then
    switch(fiber)
    scheduler.resume(fiber, ...)
    switch(current)
  else
    scheduler.resume(fiber, ...)
  end
end

--- Whether @{scheduler.interrupt_fiber} may end what a fiber waits for. It is
-- not to end a question to Redis: the answer comes soon, and without it nobody
-- would know what became of the question.
-- @tparam Fiber fiber
-- @treturn boolean
function scheduler.can_interrupt(fiber)
  local wait = fiber.wait
  return wait ~= nil and wait.reason ~= slot.REPLY
end

-- Nobody waits any more for what will wake nobody then.
local function drop(wait)
  if wait.handle then
    wait.handle:close()
  end
end

--- Ends what a fiber waits for: the wait raises an object.
-- @tparam Fiber fiber
-- @param object
function scheduler.interrupt_fiber(fiber, object)
  local wait = fiber.wait
  drop(wait)
  wait.raised, wait.woken, fiber.wait = object, true, nil
  scheduler.go_on(fiber)
end

--- Ends a fiber where it waits.
function Fiber:close()
  if self.wait then
    drop(self.wait)
    self.wait.fiber = nil
    self.wait = nil
  end
  self.is_closed = true
  coroutines.close(self.co)
end

-- Yields until the wait is over.
local function park(what, wait, reason)
  local fiber = wait.fiber
  wait.parked, wait.reason, fiber.wait = true, reason, wait
  if on_park then
    on_park(fiber)
  end
  if reason then
    slot.leave(fiber, reason)
  end
  local problem = coroutines.suspend()
  if reason then
    slot.enter(fiber, reason)
  end
  if problem then
    drop(wait)
    wait.fiber, fiber.wait = nil, nil
    caller.raise(what .. " " .. problem)
  elseif wait.raised then
    errors.raise(wait.raised)
  end
end

local function await_in_fiber(what, start, reason)
  local problem = coroutines.obstacle()
  if problem then
    caller.raise(what .. " " .. problem)
  elseif before_wait then
    before_wait(current)
  end
  local wait = { fiber = current, parked = false, woken = false }
  local fiber = current
  wait.handle = start(function(a, b, c)
    if wait.woken then
      return
    end
    wait.woken, wait.a, wait.b, wait.c = true, a, b, c
    if wait.parked and wait.fiber then
      fiber.wait = nil
      scheduler.go_on(fiber)
    end
  end)
  if not wait.woken then
    park(what, wait, reason)
  end
  return wait.a, wait.b, wait.c
end

-- How often a wait in plain Lua looks up from the loop, so that Ctrl-C, on
-- which lua5.4 raises an error in the Lua code that runs next, finds some.
local PULSE_MS <const> = 200

local function pulse() end

-- lua5.4 raises it only once, and here it would end nothing but a callback.
local function on_callback_error(problem)
  if tostring(problem):find("interrupted!", 1, true) then
    interruption = "interrupted!"
  else
    io.stderr:write("taskengine: error in a callback: ", tostring(problem),
      "\n")
  end
end

local function raise_interruption()
  local object = interruption
  if object == "interrupted!" then
    interruption = nil
  end
  error(object, 0)
end

local function await_in_loop(start)
  core.loop.on_error(on_callback_error)
  local _ <close> = core.loop.timer(PULSE_MS, pulse, PULSE_MS)
  local done, a, b, c = false, nil, nil, nil
  local wait = { handle = start(function(...)
    if not done then
      done, a, b, c = true, ...
    end
  end) }
  while not done do
    if interruption then
      drop(wait)
      raise_interruption()
    end
    core.loop.run("once")
  end
  return a, b, c
end

--- Waits for something.
-- @tparam string what the function that waits, for messages
-- @tparam function start gets `wake`, a function to be called by the loop,
-- once, with up to three values; later calls do nothing; it may return an
-- object that is closed when the wait ends otherwise
-- @tparam[opt] string reason `slot.OUTCOME` or `slot.FIBER`, when a task that
-- waits for this need not have a slot; `slot.REPLY` when it comes soon
-- @return the values
-- @raise where Lua cannot yield
function scheduler.await(what, start, reason)
  if current then
    return await_in_fiber(what, start, reason)
  end
  return await_in_loop(start)
end

return scheduler
