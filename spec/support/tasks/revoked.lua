--- Tasks that are revoked while they run, and what they make of it. Each writes
-- to a file of notes when it has begun.

local core = require("taskengine.core")
local te = require("taskengine")

local app = te.app("revoked")

local function note(path, text)
  local file <close> = assert(io.open(path, "a"))
  file:write(text, "\n")
end

local function compute(seconds)
  local over = core.sys.monotonic() + seconds
  while core.sys.monotonic() < over do
    math.random()
  end
end

local work = {
  compute = compute,
  sleep = te.sleep,
  -- No loop's turn comes between one line and the next.
  coroutines = function(seconds)
    local over = core.sys.monotonic() + seconds
    local step = coroutine.wrap(function()
      while true do
        coroutine.yield(core.sys.monotonic() < over)
      end
    end)
    while step() do
      math.random()
    end
  end,
  -- Others need their turn, and are not there.
  ask = function(seconds)
    return app:send_task("idle", { seconds }, { queue = "nobody" }):get()
  end,
  -- Waits for nothing but answers of Redis.
  questions = function(seconds)
    local over = core.sys.monotonic() + seconds
    local r = app:result("nobody")
    while core.sys.monotonic() < over do
      r:info()
    end
  end,
  spawned = function(seconds)
    te.spawn(te.sleep, seconds):get()
  end,
  computes_spawned = function(seconds)
    te.spawn(compute, seconds):get()
  end,
}

app:task("idle", function() end)

app:task("does", function(notes, what)
  note(notes, "begun")
  work[what](60)
  return "done"
end)

-- Its process does what is next to it, too.
app:task("beside", function(notes, what)
  note(notes, "beside")
  work[what](60)
  return "done"
end)

app:task("asks", { bind = true }, function(self, notes)
  assert(not self:cancelled())
  note(notes, "begun")
  local ok, e = pcall(function()
    while not self:cancelled() do
      math.random()
    end
  end)
  if ok then -- it has asked before the error came, which comes all the same
    ok, e = pcall(compute, 60)
  end
  return { ok, e and e.kind, self:cancelled() }
end)

app:task("tidies_up", function(notes, what)
  note(notes, "begun")
  local ok, e = pcall(work[what], 60)
  te.sleep(0.01)
  note(notes, "tidied up")
  return { ok, e.kind }
end)

app:task("raises_another", function(notes)
  note(notes, "begun")
  local _, e = pcall(work.sleep, 60)
  error { kind = "Sulky", message = "not " .. e.kind }
end)

app:task("runs_again", { bind = true }, function(self, notes)
  note(notes, "begun")
  pcall(work.sleep, 60)
  self:retry { countdown = 0 }
end)

app:task("is_replaced", { bind = true }, function(self, notes)
  note(notes, "begun")
  pcall(work.sleep, 60)
  self:replace(app:signature("idle"))
end)

-- Never hears.
app:task("goes_on", function(notes, what)
  note(notes, "begun")
  while true do
    if not pcall(work[what], 60) then
      note(notes, "caught")
    end
  end
end)

app:task("notes", function(notes, text)
  note(notes, text)
end)

app:task("revokes", function(id, terminate)
  local ok, how = app:revoke(id, { terminate = terminate })
  return { ok, how }
end)

return app
