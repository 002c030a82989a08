--- The processes of a comparison: none outlives it.
--
-- Each is the first of a session of its own, so that a Ctrl-C comes here
-- alone, and all that it has started can be ended with it.
-- @module bench.peers.process

local core = require("taskengine.core")
local setup = require("bench.setup")

local process = {}

local GRACE_S <const> = 10
-- Between two looks at a program that times itself: each takes a core from it.
local LOOK_MS <const> = 50

local started = {} -- those that nobody has seen to the end of yet, by pid

local Process = {}
Process.__index = Process

--- Starts a program.
-- @tparam {string,...} args
-- @tparam[opt] table env variables besides ours
-- @treturn Process
function process.start(args, env)
  local self = setmetatable({}, Process)
  self.handle = assert(core.sys.spawn(args, {
    env = env,
    detached = true,
    stdio = { [0] = "null", [1] = "null" },
    on_exit = function(code)
      self.code = code
    end,
  }))
  self.pid = self.handle:pid()
  started[self.pid] = self
  return self
end

-- Ends at once all that is left of its session.
local function finish(self)
  os.execute(("kill -s KILL -- -%d 2>/dev/null"):format(self.pid))
  started[self.pid] = nil
end

--- Asks it to end, and sees to it that nothing of it is left.
function Process:stop()
  if not self.code then
    self.handle:kill("SIGTERM")
  end
  local deadline = setup.now() + GRACE_S
  setup.wait(function()
    return self.code or setup.now() > deadline
  end, "the end of a worker", 5)
  finish(self)
end

--- It and all that it has started.
-- @treturn {int,...} pids
function Process:family()
  local found = { self.pid }
  for _, pid in ipairs(found) do
    for _, child in ipairs(setup.children_of(pid)) do
      table.insert(found, child)
    end
  end
  return found
end

--- Runs a program to its end.
-- @tparam {string,...} args
-- @tparam[opt] table env
-- @treturn string what it wrote to stdout
-- @raise when it fails
function process.run(args, env)
  local path = os.tmpname()
  local command = { "sh", "-c", 'exec "$@" >"$0"', path }
  table.move(args, 1, #args, #command + 1, command)
  local self = process.start(command, env)
  setup.wait(function()
    return self.code
  end, args[1], LOOK_MS)
  finish(self)
  local file <close> = assert(io.open(path))
  local text = file:read("a")
  os.remove(path)
  if self.code ~= 0 then
    error(("%s ended with %d"):format(table.concat(args, " "), self.code))
  end
  return text
end

--- Ends at once what still runs.
function process.kill_all()
  for _, self in pairs(started) do
    finish(self)
  end
end

--- Calls a function; ends all processes after it, also when it fails or
-- somebody sends SIGINT or SIGTERM.
-- @tparam function work
-- @treturn int an exit code
-- @treturn ?string what went wrong, with a traceback
function process.guard(work)
  local interrupted
  local function interrupt(number)
    interrupted = number
    setup.give_up("interrupted")
  end
  local watched = {
    assert(core.loop.signal("SIGINT", interrupt)),
    assert(core.loop.signal("SIGTERM", interrupt)),
  }
  local done, why = xpcall(work, debug.traceback)
  for _, signal in ipairs(watched) do
    signal:close()
  end
  process.kill_all()
  setup.give_up(nil)
  if interrupted then
    return 128 + interrupted
  end
  return done and 0 or 1, not done and why or nil
end

return process
