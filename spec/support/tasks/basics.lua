--- Tasks for specs of workers: each does one thing, well or badly.

local core = require("taskengine.core")
local te = require("taskengine")

local app = te.app("basics")

-- A line in a file, by one write at its end. Paths are relative to the folder
-- in which the worker was started.
local function note(path, ...)
  local file <close> = assert(io.open(path, "a"))
  file:write(table.concat({ ... }, " "), "\n")
end

local function compute(seconds)
  local over = core.sys.monotonic() + seconds
  while core.sys.monotonic() < over do
    math.random()
  end
end

app:task("add", function(x, y)
  return x + y
end)

app:task("pid", function()
  return core.sys.pid()
end)

app:task("note", note)

app:task("note_urgent", { queue = "urgent" }, note)

app:task("nap", function(seconds, path, text)
  if path then
    note(path, text or "nap", core.sys.pid())
  end
  te.sleep(seconds)
  return text or "rested"
end)

app:task("compute", function(seconds, path, text)
  if path then
    note(path, text or "compute", core.sys.pid())
  end
  compute(seconds)
  return text or "computed"
end)

-- Until a file appears: what a spec wants to end at a moment of its own.
app:task("until_file", function(path, notes, text)
  note(notes, text or "until", core.sys.pid())
  while not core.sys.stat(path) do
    te.sleep(0.005)
  end
  return "seen"
end)

app:task("busy_until_file", function(path, notes, text)
  note(notes, text or "until", core.sys.pid())
  while not core.sys.stat(path) do
    math.random()
  end
  return "seen"
end)

app:task("raise", function(what)
  error(what)
end)

app:task("exit", function(status, path)
  if path then
    note(path, core.sys.pid())
  end
  os.exit(status)
end)

app:task("signal_self", function(name)
  os.execute(("kill -%s $PPID"):format(name))
  compute(10)
end)

app:task("stubborn", function()
  while true do
    pcall(compute, 60)
  end
end)

app:task("large", function(bytes)
  return ("x"):rep(bytes)
end)

app:task("size", function(text)
  return #text
end)

-- What the master answers when it is asked for all of these outcomes at once.
app:task("ask_outcomes", function(ids)
  local answer
  core.child.request(function(reply, why, code)
    answer = { reply ~= nil, why, code }
  end, "te1_outcome", ids)
  while not answer do
    te.sleep(0.005)
  end
  return answer
end)

-- Why a function in Redis cannot be called.
app:task("problem_of_call", function(name)
  local _, problem = app:_client():try(name, {})
  return problem
end)

app:task("closure", function()
  return { add = print }
end)

app:task("two_values", function()
  return 1, 2
end)

-- Waits for a task of its own.
app:task("ask", function(x)
  return app:send_task("add", { x, 1 }):get { timeout = 20 }
end)

-- The same, so many deep.
app:task("nest", function(depth)
  return depth == 0 and 0
    or 1 + app:send_task("nest", { depth - 1 }):get { timeout = 60 }
end)

-- Waits for one of a worker of another queue.
app:task("ask_elsewhere", function(path, notes)
  return app:send_task("until_file", { path, notes }, { queue = "elsewhere" })
    :get { timeout = 20 }
end)

-- Written when the process ends by itself, and only then.
app:task("buffer", function(path, text)
  local file = assert(io.open(path, "a"))
  file:setvbuf("full", 4096)
  file:write(text, "\n")
  _G.kept_open = file
end)

return app
