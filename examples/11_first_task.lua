-- Exercise 11: the first task.
--
-- Without any set-up, workers and all:
--
--     taskengine run examples/11_first_task.lua
--
-- Or with a worker in one terminal and the program in another:
--
--     taskengine worker examples/11_first_task.lua
--     lua5.4 examples/11_first_task.lua
--     taskengine call addition '[4, 6]' --wait

local te = require("taskengine")

local app = te.app("tasks")

local addition = app:task("addition", function(x, y)
  return x + y
end)

local long_task = app:task("long_task", function(seconds)
  te.sleep(seconds) -- other tasks of the same process go on meanwhile
  return ("Task finished after %g s"):format(seconds)
end)

app:main(function(args)
  -- Send it, and wait for the result.
  local result = addition:delay(4, 6)
  print("Task: " .. result.id)
  print("Result: " .. result:get())

  -- Send it, and do something else before asking for the result.
  result = long_task:delay(tonumber(args[1]) or 5)
  print("Task sent: " .. result.id)
  print("Something else: " .. addition(1, 2)) -- a task is a function, too
  print("Result: " .. result:get { timeout = 10 })
end)

return app
