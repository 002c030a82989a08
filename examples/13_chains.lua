-- Exercise 13: chains of tasks.
--
-- Without any set-up, workers and all:
--
--     taskengine run examples/13_chains.lua
--
-- Or with a worker in one terminal and the program in another:
--
--     taskengine worker examples/13_chains.lua
--     lua5.4 examples/13_chains.lua

local te = require("taskengine")

local app = te.app("tasks")

local addition = app:task("addition", function(x, y)
  return x + y
end)

local divide = app:task("divide", function(x, y)
  if y == 0 then
    error("division by zero", 0)
  end
  return x // y
end)

-- What a task prints is in the log of its worker.
local report = app:task("report", function(problem)
  print("the chain broke: " .. problem.message)
end)

app:main(function()
  -- Each task gets the result of the one before as its first argument:
  -- (4 + 6) + 10 + 5.
  local result = te.chain(
    addition:s(4, 6),
    addition:s(10),
    addition:s(5)
  )()
  print("Chain: " .. result:get())

  -- The same, written with the operator.
  result = (addition:s(4, 6) | addition:s(10) | addition:s(5))()
  print("With |: " .. result:get())

  -- What fails ends the chain. Who waits learns why, and the callback runs
  -- once.
  result = (addition:s(4, 6) | divide:s(0) | addition:s(5))
    :on_error(report:s())()
  local ok, problem = result:wait()
  print("Succeeded: " .. tostring(ok))
  print("Cause: " .. problem.cause.message)

  -- An immutable signature does not take the result before it.
  result = (addition:s(4, 6) | addition:si(1, 2))()
  print("Immutable: " .. result:get())
end)

return app
