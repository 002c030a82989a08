--- Waiting for a condition, with a limit, while the loop runs.
-- @module spec.support.wait

local loop = require("taskengine.core").loop

local wait = {}

local TICK_MS <const> = 2
local LIMIT_S <const> = 10

--- Runs the loop until `fn` returns something true.
-- @tparam function fn the condition
-- @tparam[opt=10] number limit_s
-- @tparam[opt] string what is waited for, for the message
-- @return what `fn` returned
-- @raise when the limit is reached
function wait.wait_until(fn, limit_s, what)
  limit_s = limit_s or LIMIT_S
  local deadline = loop.now() + limit_s * 1000
  -- A turn of the loop lasts until an event: this is one.
  local tick <close> = -- luacheck: ignore 211
    loop.timer(TICK_MS, function() end, TICK_MS)
  local value = fn()
  while not value do
    if loop.now() > deadline then
      error(("%s: not within %g s"):format(what or "a condition", limit_s), 2)
    end
    loop.run("once")
    value = fn()
  end
  return value
end

--- Runs the loop until nothing keeps it alive.
-- @tparam[opt=10] number limit_s
-- @raise when the limit is reached
function wait.wait_until_idle(limit_s)
  limit_s = limit_s or LIMIT_S
  local deadline = loop.now() + limit_s * 1000
  -- Without waiting in a turn: a timer for the limit would keep it alive.
  while loop.run("nowait") do
    if loop.now() > deadline then
      error(("the loop is not idle within %g s"):format(limit_s), 2)
    end
  end
end

return wait
