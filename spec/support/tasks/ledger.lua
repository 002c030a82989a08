--- Tasks that leave a line in a file outside Redis each time they start.

local core = require("taskengine.core")
local te = require("taskengine")

local app = te.app("ledger")
local files = {}

-- Lines of several processes never mix: the file is opened to append, and
-- each line is one write.
local function note(path, number)
  local file = files[path]
  if not file then
    file = assert(io.open(path, "a"))
    file:setvbuf("full", 4096)
    files[path] = file
  end
  file:write(number, " ", core.sys.pid(), "\n")
  file:flush()
end

-- Computes for so long.
app:task("work", function(number, path, seconds)
  note(path, number)
  local over = core.sys.monotonic() + seconds
  while core.sys.monotonic() < over do
    math.random()
  end
  return number
end)

-- Waits for so long, and lets others run meanwhile.
app:task("wait", function(number, path, seconds)
  note(path, number)
  te.sleep(seconds)
  return number
end)

-- Computes for so long, and minds no error.
app:task("stubborn", function(number, path, seconds)
  note(path, number)
  local over = core.sys.monotonic() + seconds
  while core.sys.monotonic() < over do
    pcall(function()
      while core.sys.monotonic() < over do
        math.random()
      end
    end)
  end
end)

-- Until a file appears.
app:task("hold", function(number, path, gate)
  note(path, number)
  while not core.sys.stat(gate) do
    te.sleep(0.005)
  end
  return number
end)

-- Ends in the way that it is asked to.
app:task("end_somehow", function(number, path, how)
  note(path, number)
  if how == "raise" then
    error("it is asked to")
  elseif how == "exit" then
    os.exit(1)
  end
  te.sleep(0.01)
end)

-- Takes whatever it is given, and leaves nothing.
app:task("nothing", function() end)

return app
