--- The tasks that the bench runs.

local te = require("taskengine")
local app = te.app("bench")

app:task("noop", function() end)
app:task("add", function(x, y)
  return x + y
end)

return app
