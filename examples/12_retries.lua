-- Exercise 12: tasks that fail now and then, and are run again.
--
--     taskengine run examples/12_retries.lua
--
-- Seven times in ten an attempt fails; a task has four of them. What goes on
-- meanwhile is in the log. The pause in seconds, and the chance of failing,
-- may be given: `taskengine run examples/12_retries.lua 0.1 0.9`.

local te = require("taskengine")

local app = te.app("tasks")

local function be_lucky(chance)
  if math.random() < chance then
    error { kind = "Unlucky", message = "a random error" }
  end
end

-- Asks by itself to be run again, and says why. While it waits it is in Redis,
-- and takes nobody's place.
local unstable = app:task("unstable", { bind = true, max_retries = 3 },
  function(self, x, pause, chance)
    local ok, e = pcall(be_lucky, chance)
    if not ok then
      self:retry { exc = e, countdown = pause }
    end
    return x * 2
  end)

-- Is run again after errors of that kind, without a line about it: after 0.1 s
-- at most, then 0.2 s, then 0.4 s, drawn by chance.
local also_unstable = app:task("also_unstable", {
  autoretry_for = { "Unlucky" }, max_retries = 3, retry_backoff = 0.1,
}, function(x, chance)
  be_lucky(chance)
  return x * 2
end)

local function show(name, result)
  local ok, value = result:wait(60)
  if ok then
    print(("%s: %d"):format(name, value))
  else
    print(("%s gave up: %s: %s"):format(name, value.kind, value.message))
  end
end

app:main(function(args)
  local pause, chance = tonumber(args[1]) or 5, tonumber(args[2]) or 0.7
  show("unstable", unstable:delay(4, pause, chance))
  show("also_unstable", also_unstable:delay(4, chance))
end)

return app
