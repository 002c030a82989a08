--- The tasks that the bench runs.

local te = require("taskengine")
local app = te.app("bench")

app:task("noop", function() end)
app:task("add", function(x, y)
  return x + y
end)

app:task("square", function(x)
  return x * x
end)
app:task("total", function(values)
  local sum = 0
  for _, value in ipairs(values) do
    sum = sum + value
  end
  return sum
end)

return app
