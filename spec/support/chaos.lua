--- A load of tasks, a worker that is hit, and a ledger that tells what ran.
--
-- Each task notes its start in a file outside Redis. What counts is what the
-- books say in the end: no task lost, no more starts than faults explain, one
-- outcome each, nothing left over.
-- @module spec.support.chaos

local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local chaos = {}

local PREFIX <const> = "te:{default.0}:"
local TASKS <const> = core.sys.realpath("spec/support/tasks/ledger.lua")
local LIMIT_S <const> = 240

--- Whether the runs are of full size (`make soak`).
chaos.FULL = os.getenv("TE_FULL") == "1"

--- The seed of a run: TE_SEED, or drawn.
chaos.SEED = math.tointeger(tonumber(os.getenv("TE_SEED")))
  or math.random(1, 1 << 30)

local Run = {}
Run.__index = Run
Run.__close = function(self)
  self.app:close()
  self.place:close()
  self.server:stop()
end

--- Starts a Redis; workers come with @{Run:start}.
-- @tparam[opt] table opts `config` for Redis; `processes`
-- @treturn Run
function chaos.run(opts)
  opts = opts or {}
  math.randomseed(chaos.SEED)
  local server = redis_server.start { config = opts.config }
  local self = setmetatable({
    server = server,
    place = program.place { broker = server.url },
    processes = opts.processes or 2,
    kills = 0,
    sent = 0,
  }, Run)
  self.ledger = self.place.dir .. "/ledger"
  self.app = te.app("chaos", { broker = server.url })
  self.work = self.app:task("work", function() end)
  return self
end

--- Starts the worker and waits until it serves.
-- @tparam[opt] table env variables to set
function Run:start(env)
  self.worker = self.place:start({ "worker", TASKS, "-b", self.server.url,
    "-P", tostring(self.processes), "-l", "warn" }, { env = env })
  wait_until(function()
    return #self:children() == self.processes or self.worker.ended
  end, 30, "children")
  assert(not self.worker.ended, self.worker:stderr())
end

--- Sends tasks.
-- @tparam int n
-- @tparam number run_s how long each takes
function Run:send(n, run_s)
  local list = {}
  for i = 1, n do
    list[i] = { self.sent + i, self.ledger, run_s }
  end
  self.app:enqueue_many(self.work, list)
  self.sent = self.sent + n
end

--- The worker's children, as the kernel knows them.
-- @treturn {int,...}
function Run:children()
  local pids = {}
  local path = ("/proc/%d/task/%d/children"):format(self.worker.pid,
    self.worker.pid)
  local file <close> = io.open(path)
  for pid in (file and file:read("a") or ""):gmatch("%d+") do
    pids[#pids + 1] = math.tointeger(tonumber(pid))
  end
  return pids
end

--- Whether a process is there and no zombie.
function chaos.is_alive(pid)
  local file <close> = io.open(("/proc/%d/stat"):format(pid))
  local state = file and (file:read("a") or ""):match("%) (%a)")
  return state ~= nil and state ~= "Z" and state ~= "X"
end

--- kill -9.
function Run:kill(pid)
  os.execute(("kill -9 %d 2>/dev/null"):format(pid))
  self.kills = self.kills + 1
end

--- Counters of the queue.
-- @tparam string name
-- @treturn int
function Run:count(name)
  local text = self.server:cli("HGET", PREFIX .. "s:default", name)
  return math.tointeger(tonumber(text)) or 0
end

--- Runs the loop for some time; a fault's rhythm is not a wait for anything.
-- @tparam number min_s
-- @tparam number max_s
function chaos.pause(min_s, max_s)
  te.sleep(min_s + math.random() * (max_s - min_s))
end

--- Whether all that was sent has ended.
function Run:is_done()
  return self:count("done") + self:count("failed") >= self.sent
end

--- Waits for the end of all tasks.
function Run:finish()
  wait_until(function()
    return self:is_done()
  end, LIMIT_S, "the end of all tasks")
end

--- What the ledger says.
-- @treturn int numbers that are missing
-- @treturn int starts beyond the first of each
-- @treturn int numbers that were never sent
function Run:audit()
  local starts, lost, twice, unexpected = {}, 0, 0, 0
  for line in io.lines(self.ledger) do
    local number = assert(math.tointeger(tonumber(line)), line)
    starts[number] = (starts[number] or 0) + 1
  end
  for number, n in pairs(starts) do
    twice = twice + n - 1
    if number < 1 or number > self.sent then
      unexpected = unexpected + 1
    end
  end
  for number = 1, self.sent do
    lost = lost + (starts[number] and 0 or 1)
  end
  return lost, twice, unexpected
end

--- Stops the worker, warm, and waits for its end.
function Run:stop()
  self.worker:kill("TERM")
  return self.worker:wait(60)
end

local KEPT <const> = { q = true, n = true, ["s:default"] = true }

--- Keys that nobody would expect once all is done and no worker is left.
-- Outcomes and producers expire by themselves.
-- @treturn {string,...}
function Run:leftovers()
  local left = {}
  for key in self.server:cli("KEYS", "*"):gmatch("%S+") do
    local name = key:sub(#PREFIX + 1)
    if not KEPT[name] and not name:match("^[vi]:") then
      left[#left + 1] = name
    end
  end
  table.sort(left)
  return left
end

--- Prints one line of figures.
function Run:report(id, twice, bound)
  io.write(("%s TE_SEED=%d n=%d kills=%d dup=%d bound=%d "):format(id,
    chaos.SEED, self.sent, self.kills, twice, bound))
end

return chaos
