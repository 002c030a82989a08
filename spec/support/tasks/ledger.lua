--- Tasks that leave a line in a file outside Redis for every start.

local core = require("taskengine.core")
local te = require("taskengine")

local app = te.app("ledger")
local files = {}

local function ledger(path)
  local file = files[path]
  if not file then
    file = assert(io.open(path, "a"))
    file:setvbuf("full", 4096)
    files[path] = file
  end
  return file
end

-- One write for each line, and O_APPEND: lines never mix.
app:task("work", function(number, path, run_s)
  local file = ledger(path)
  file:write(number, "\n")
  file:flush()
  local over = core.sys.monotonic() + run_s
  while core.sys.monotonic() < over do
    math.random()
  end
  return number
end)

return app
