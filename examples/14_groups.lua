-- Exercise 14: groups of tasks, and what is made of them.
--
-- Without any set-up, workers and all:
--
--     taskengine run examples/14_groups.lua
--
-- Or with a worker in one terminal and the program in another:
--
--     taskengine worker examples/14_groups.lua
--     lua5.4 examples/14_groups.lua

local te = require("taskengine")

local app = te.app("tasks")

local addition = app:task("addition", function(x, y)
  return x + y
end)

local total = app:task("total", function(values)
  local sum = 0
  for _, value in ipairs(values) do
    sum = sum + value
  end
  return sum
end)

local function show(values)
  return table.concat(values, ", ")
end

app:main(function()
  -- Tasks beside each other; the results stand in the order of the group.
  local job = te.group {
    addition:s(2, 2),
    addition:s(4, 4),
    addition:s(8, 8),
  }
  local result = job:apply_async()
  print("Group: " .. show(result:get()))
  print("Completed: " .. result:completed_count())

  -- As they end, in whatever order that is.
  local seen = 0
  for one in job():iter() do
    seen = seen + one:get()
  end
  print("One by one: " .. seen)

  -- A chord: a task that gets all results when they are there.
  print("Chord: " .. te.chord(job)(total:s()):get())
  print("With |: " .. (job | total:s())():get())

  -- Many short calls in a few tasks.
  local calls = {}
  for i = 1, 10 do
    calls[i] = { i, i }
  end
  local parts = addition:chunks(calls, 4)():get()
  print("Chunks: " .. #parts .. ", the last one: " .. show(parts[3]))

  -- Any graph: each node says what it waits for.
  result = te.flow {
    name = "totals",
    nodes = {
      first = { addition:s(1, 2) },
      second = { addition:s(3, 4) },
      both = { addition:s(), after = { "first", "second" } },
    },
  }()
  print("Flow: " .. result:get().both)
end)

return app
