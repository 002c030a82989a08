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

-- One of a chain that counts: it gets the number of the step that it is.
app:task("step", function(number, path, seconds)
  note(path, number)
  if seconds > 0 then
    te.sleep(seconds)
  end
  return number + 1
end)

-- Returns how many of a group's results are the number of their place.
app:task("count_in_place", { stream = true }, function(results, path)
  note(path, #results)
  local count = 0
  for i, number in results do
    count = count + (number == i and 1 or 0)
  end
  return count
end)

-- Notes the sum of a group's results.
app:task("note_sum", function(results, path)
  local sum = 0
  for _, number in ipairs(results) do
    sum = sum + number
  end
  note(path, sum)
end)

app:task("same", function(number)
  return number
end)

-- Adds to its group what is worth as much as itself, and waits.
app:task("add_same", { bind = true }, function(self, number, path, seconds)
  note(path, number)
  self:add(app.tasks.same:s(number))
  te.sleep(seconds)
  return number
end)

-- Lets two others end it, one after the other.
app:task("leave_to_others", { bind = true }, function(self, number, path,
                                                      seconds)
  note(path, number)
  self:replace(app.tasks.wait:si(0, path .. "-others", seconds)
    | app.tasks.same:si(number))
end)

-- Sends a task of its own.
app:task("send_another", function(number)
  app.tasks.nothing:delay()
  return number
end)

return app
