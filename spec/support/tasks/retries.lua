--- Tasks that are run again.

local core = require("taskengine.core")
local te = require("taskengine")

local app = te.app("retries")

local function note(path, ...)
  local file <close> = assert(io.open(path, "a"))
  file:write(table.concat({ ... }, " "), "\n")
end

local function fail(kind, message)
  error({ kind = kind, message = message }, 0)
end

-- Asks to be run again, `fails` times. Each attempt is noted.
app:task("asks", { bind = true }, function(self, path, fails, pause, takes)
  note(path, self.id, self.retries)
  te.sleep(takes or 0)
  local ok, e = pcall(function()
    if self.retries < fails then
      fail("Unstable", "attempt " .. self.retries)
    end
  end)
  if not ok then
    self:retry { exc = e, countdown = pause or 0 }
  end
  return self.retries
end)

app:task("asks_at", { bind = true }, function(self, seconds)
  self:retry { eta = te.now() + seconds }
end)

-- Is run again by itself.
app:task("fails", {
  bind = true, autoretry_for = { "Unstable" }, retry_delay = 0.01,
  max_retries = 2,
}, function(self, path, fails)
  note(path, self.id, self.retries)
  if self.retries < fails then
    fail("Unstable", "attempt " .. self.retries)
  end
  return self.retries
end)

app:task("asks_about", function(id)
  return #app:result(id):history()
end)

app:task("snoozes", { bind = true, max_retries = 0 }, function(self, path,
  marker)
  note(path, self.retries)
  if not core.sys.stat(marker) then
    self:snooze(0.01)
  end
  return self.retries
end)

app:task("counts", { bind = true }, function(self, n)
  if n < 3 then
    self:retry { args = { n + 1 }, countdown = 0 }
  end
  return { n, self.headers.trace, self.retries }
end)

-- Goes on when a file appears, and asks to be run again in a minute.
app:task("asks_then", { bind = true }, function(self, path, gate, how)
  note(path, self.id, self.retries)
  while not core.sys.stat(gate) do
    te.sleep(0.005)
  end
  if how == "snooze" then
    self:snooze(60)
  end
  self:retry { exc = "attempt " .. self.retries, countdown = 60 }
end)

-- Adds one at the second attempt: with the same arguments, or with others.
app:task("adds_late", {
  bind = true, autoretry_for = true, retry_delay = 0.01, max_retries = 1,
}, function(self, x, fails)
  if self.retries < (fails or 1) then
    fail("Unstable", "attempt " .. self.retries)
  end
  return x + 1
end)

app:task("adds_other", { bind = true }, function(self, x, has_begun)
  if not has_begun then
    self:retry { args = { x, true }, countdown = 0 }
  end
  return { x + 1, self.retries }
end)

app:task("first_of_all", { bind = true }, function(self, parts)
  if self.retries == 0 then
    self:retry { countdown = 0 }
  end
  return { parts.n, parts[1], self.retries }
end)

app:task("all_of", function(parts)
  return parts
end)

app:task("text", function(mib)
  return ("x"):rep(mib << 20)
end)

app:task("counts_all", {
  autoretry_for = true, retry_delay = 0.01, max_retries = 1,
}, function(parts)
  return #parts
end)

local ways = {
  compute = function()
    while true do
      math.random()
    end
  end,
  wait = function()
    te.sleep(60)
  end,
  fill = function()
    return #("x"):rep(64 << 20)
  end,
  crash = function()
    os.exit(7)
  end,
}

-- Goes beyond a limit in its first attempts.
app:task("exceeds", {
  bind = true, autoretry_for = true, retry_delay = 0.01, max_retries = 1,
}, function(self, way, times)
  if self.retries < times then
    ways[way]()
  end
  return self.retries
end)

app:task("modest", { memory_limit = "16M" }, function(mib)
  return #("x"):rep(mib << 20)
end)

-- Loses its process once, then asks to be run again.
app:task("crashes_first", { bind = true }, function(self, marker)
  if not core.sys.stat(marker) then
    note(marker, "x")
    os.exit(7)
  elseif self.retries == 0 then
    self:retry { countdown = 0 }
  end
  return self.retries
end)

return app
