--- Tasks for specs of workflows with real workers.

local core = require("taskengine.core")
local te = require("taskengine")

local app = te.app("canvas")

app:task("add", function(x, y)
  return x + y
end)

app:task("sum", function(values)
  local total = 0
  for _, value in ipairs(values) do
    total = total + value
  end
  return total
end)

app:task("stream_sum", { stream = true }, function(parts)
  local total, last = 0, 0
  for i, value in parts do
    total, last = total + value, i
  end
  assert(last == #parts)
  return total
end)

-- Reads the next page when a file appears.
app:task("stream_with_pause", { stream = true }, function(parts, path, notes)
  local total = 0
  for i, value in parts do
    total = total + value
    if i == 1 then
      io.open(notes, "w"):close()
      while not core.sys.stat(path) do
        te.sleep(0.005)
      end
    end
  end
  return total
end)

app:task("fail", function(text)
  error({ kind = "Broken", message = text })
end)

-- Fails as long as a file is not there.
app:task("need_file", function(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end)

app:task("note", function(path, ...)
  local file <close> = assert(io.open(path, "a"))
  file:write(table.concat({ ... }, " "), "\n")
  return ...
end)

app:task("note_error", function(e, path)
  local file <close> = assert(io.open(path, "a"))
  file:write(e.kind, ": ", e.message, "\n")
end)

-- Lets a chord end it.
app:task("spread", { bind = true }, function(self, n)
  local list = {}
  for i = 1, n do
    list[i] = app.tasks.add:s(i, i)
  end
  self:replace(te.chord(list, app.tasks.sum:s()))
end)

-- Adds members to its group, the last of which does the same.
app:task("grow", { bind = true }, function(self, n)
  if n > 0 then
    self:add(app.tasks.add:s(n, 0) | app.tasks.add:s(100))
    self:add(app.tasks.grow:s(n - 1))
  end
  return n
end)

-- Adds members, and takes its process along the first time.
app:task("grow_and_die", { bind = true }, function(self, path)
  self:add(app.tasks.add:s(1, 2))
  self:add(te.group { app.tasks.add:s(3, 4), app.tasks.add:s(5, 6) })
  local file <close> = io.open(path)
  if not file then
    assert(io.open(path, "w")):close()
    os.exit(1)
  end
  self:add(app.tasks.add:s(7, 8))
  return 0
end)

-- Sends a canvas of its own and waits for it.
app:task("nested", function(n)
  local list = {}
  for i = 1, n do
    list[i] = app.tasks.add:s(i, i)
  end
  return te.chord(te.group(list))(app.tasks.sum:s()):get()
end)

return app
