--- A user of an embedded Redis, as a process of its own.
--
--   lua5.4 embedded_user.lua NAME stay       until it is killed
--   lua5.4 embedded_user.lua NAME count N    N times: come, INCR hits, go
--   lua5.4 embedded_user.lua NAME return N   the same, and comes back in the
--                                            moment in which the server ends
--
-- Writes a line for each thing that happens: `ready SOCKET`,
-- `failed NAME: text`, `hit VALUE`, `miss`, `done`.

local core = require("taskengine.core")

local TIMEOUT_MS <const> = 20000
local name, mode, count = arg[1], arg[2], tonumber(arg[3])

local function say(...)
  io.stdout:write(table.concat({ ... }, " "), "\n")
  io.stdout:flush()
end

-- The value, or nil when the server could not be asked.
local function hit(socket)
  local cli <close> = assert(io.popen(
    ("redis-cli -s '%s' INCR hits 2>&1"):format(socket)))
  return tonumber(cli:read("a"))
end

local function stay()
  local user = core.embedded.new(name)
  user:ensure(TIMEOUT_MS, function(ok, err)
    say(ok and "ready" or "failed", ok and user:socket() or err)
  end)
  core.loop.run()
end

-- A server may be gone between its being ready and our asking: only what was
-- answered counts, so it comes back until it has N answers.
local function visit()
  local user <close> = core.embedded.new(name)
  local done, value
  user:ensure(TIMEOUT_MS, function(ok, err)
    done = true
    if ok then
      value = user:socket() and hit(user:socket())
      say(value and "hit " .. value or "miss")
    else
      say("failed", err)
    end
  end)
  while not done do
    core.loop.run("once")
  end
  return value
end

-- Until a server without users has ended, and up to 2 ms more, in which its
-- supervisor ends. Where other users keep it, not for long.
local function watch_the_end()
  local _, socket = core.embedded.paths(name)
  local limit = core.sys.monotonic() + 0.2
  while core.sys.stat(socket) and core.sys.monotonic() < limit do
    core.loop.run("nowait")
  end
  local moment = core.sys.monotonic() + math.random() * 0.002
  repeat until core.sys.monotonic() >= moment
end

if mode == "stay" then
  stay()
else
  local hits = 0
  while hits < count do
    if visit() then
      hits = hits + 1
    end
    if mode == "return" then
      watch_the_end()
    end
  end
  core.loop.run()
  say("done")
end
