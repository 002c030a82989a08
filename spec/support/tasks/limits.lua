--- Tasks that meet the limits of their process.

local core = require("taskengine.core")
local te = require("taskengine")

local app = te.app("limits")

local function compute(seconds)
  local over = core.sys.monotonic() + seconds
  while core.sys.monotonic() < over do
    math.random()
  end
end

-- What a task hears, and what it does about it.
local function caught(fn, ...)
  local ok, e = pcall(fn, ...)
  return {
    ok = ok,
    kind = type(e) == "table" and e.kind or nil,
    message = type(e) == "table" and e.message or e,
    pid = core.sys.pid(),
  }
end

local function in_coroutines(depth, fn, ...)
  if depth == 0 then
    return fn(...)
  end
  return coroutine.wrap(in_coroutines)(depth - 1, fn, ...)
end

local work = {
  compute = compute,
  sleep = te.sleep,
  ask = function(seconds)
    return app:send_task("nap", { seconds }):get()
  end,
  spawned = function(seconds)
    te.spawn(te.sleep, seconds):get()
  end,
  computes_spawned = function(seconds)
    te.spawn(compute, seconds):get()
  end,
  computes_beside = function(seconds)
    te.spawn(compute, seconds)
    te.sleep(seconds)
  end,
}

app:task("nap", function(seconds)
  te.sleep(seconds)
  return "rested"
end)

app:task("does", function(what, seconds)
  work[what](seconds)
  return "done"
end)

app:task("does_limited", { soft_time_limit = 0.2 }, function(what, seconds)
  work[what](seconds)
  return "done"
end)

app:task("ends", { time_limit = 0.2 }, function(what, seconds)
  work[what](seconds)
  return "done"
end)

app:task("tidies_up", function(what, seconds, depth)
  return caught(in_coroutines, depth or 0, work[what], seconds)
end)

-- Goes on after the error, which does not come again.
app:task("hears_once", function(what, seconds)
  local first = caught(work[what], 60)
  local second = caught(work[what], seconds)
  return { first.kind, second.ok }
end)

local function table_bomb()
  local all = {}
  for i = 1, math.huge do
    table.insert(all, { i })
  end
end

local bombs = {
  table = table_bomb,
  string = function()
    return #("x"):rep(1 << 30)
  end,
  doubling = function()
    local text = "x"
    while true do
      text = text .. text
    end
  end,
  coroutine = coroutine.wrap(function()
    table_bomb()
  end),
  kept = function()
    _G.kept = {}
    for i = 1, math.huge do
      _G.kept[i] = { i }
    end
  end,
  result = function()
    return ("x"):rep(4 << 20)
  end,
}

app:task("bomb", function(kind)
  return bombs[kind]()
end)

app:task("survives", function(kind)
  return caught(bombs[kind])
end)

app:task("survives_spawned", function(kind)
  local spawned = te.spawn(bombs[kind])
  return caught(spawned.get, spawned)
end)

app:task("spawns", function(kind)
  te.spawn(bombs[kind])
  te.sleep(0.01)
end)

app:task("pid", function()
  return core.sys.pid()
end)

-- Rooms of memory, let go of.
app:task("fills", function(mib)
  return #("x"):rep(mib << 20)
end)

return app
