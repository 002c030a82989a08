--- A load of tasks, a worker, and faults that hit them at random.
--
--     local run <close> = chaos.run { processes = 8 }
--     run:start()
--     run:send("work", 20000, 0.001)
--     while not run:is_done() do
--       chaos.pause(0.05, 0.15)
--       run:kill(...)
--     end
--     run:finish()
--     local found = run:report("F1", run.kills)
--
-- Chance is drawn from a seed, TE_SEED or a new one, which the line that a run
-- prints names. TE_FULL=1 asks for runs of full size (`make soak`).
-- @module spec.support.chaos

local ledger = require("spec.support.ledger")
local program = require("spec.support.program")
local seed = require("spec.support.seed")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local chaos = {}

local IS_FULL <const> = os.getenv("TE_FULL") == "1"
local BATCH <const> = 5000
local FINISH_S <const> = IS_FULL and 1800 or 240

--- The seed of all runs of this process.
chaos.SEED = seed.VALUE

--- What is as large as there is time for.
-- @tparam ?number usual
-- @tparam number full
-- @treturn ?number
function chaos.size(usual, full)
  return IS_FULL and full or usual
end

--- Lets some time pass: a fault's rhythm, not a wait for anything.
-- @tparam number min_s
-- @tparam number max_s
function chaos.pause(min_s, max_s)
  te.sleep(min_s + math.random() * (max_s - min_s))
end

--- One of a list.
-- @tparam table list
-- @return nil when it is empty
function chaos.pick(list)
  return list[1] and list[math.random(#list)]
end

--- A run.
-- @type Run
-- @tfield Site site
-- @tfield Ledger ledger
-- @tfield Process worker the last that was started
-- @tfield int sent tasks
-- @tfield int kills
local Run = {}
Run.__index = Run

--- Prepares a run: there is a Redis, and no worker yet.
-- @tparam[opt] table opts
-- @tparam[opt] {string,...} opts.config further lines of redis.conf
-- @tparam[opt=2] int opts.processes of a worker
-- @tparam[opt=1] int opts.concurrency of a worker
-- @treturn Run
function chaos.run(opts)
  opts = opts or {}
  math.randomseed(chaos.SEED)
  local site = workers.site { config = opts.config }
  return setmetatable({
    site = site,
    ledger = ledger.new(site.dir .. "/ledger"),
    processes = opts.processes or 2,
    concurrency = opts.concurrency or 1,
    sent = 0,
    kills = 0,
  }, Run)
end

--- Starts a worker and waits until it is registered.
-- @tparam[opt] table env variables to set
-- @treturn Process
function Run:start(env)
  local known = {}
  for _, wid in ipairs(self.site:wids()) do
    known[wid] = true
  end
  self.worker = self.site:start({ "-P", self.processes, "-c",
    self.concurrency, "-l", "warn" }, { file = "ledger", env = env })
  wait_until(function()
    assert(not self.worker.ended, "the worker has ended")
    for _, wid in ipairs(self.site:wids()) do
      if not known[wid] then
        return true
      end
    end
  end, 30, "a worker that serves")
  return self.worker
end

--- Sends tasks with the next numbers.
-- @tparam string name of spec/support/tasks/ledger.lua
-- @tparam int count
-- @tparam number seconds how long each takes
function Run:send(name, count, seconds)
  for from = self.sent + 1, self.sent + count, BATCH do
    local list = {}
    for number = from, math.min(from + BATCH - 1, self.sent + count) do
      list[#list + 1] = { number, self.ledger.path, seconds }
    end
    self.site.app:enqueue_many(name, list)
  end
  self.sent = self.sent + count
end

--- The worker's children.
-- @treturn {int,...}
function Run:children()
  return workers.children(self.worker)
end

--- Kills a process, which may be gone already.
-- @tparam int pid
function Run:kill(pid)
  workers.kill(pid)
  self.kills = self.kills + 1
end

--- Kills the worker, and waits until its children have followed.
function Run:kill_worker()
  local children = self:children()
  self:kill(self.worker.pid)
  self.worker:wait()
  workers.wait_gone(children, 1)
end

--- Whether all that was sent has ended.
-- @treturn boolean
function Run:is_done()
  return self.site:count("done") + self.site:count("failed") >= self.sent
end

--- Waits until all that was sent has ended.
function Run:finish()
  wait_until(function()
    return self:is_done()
  end, FINISH_S, "the end of all tasks")
end

--- Compares the ledger with what was sent, and prints a line of figures.
-- @tparam string name of the fault
-- @tparam int bound how many tasks may have been started twice
-- @tparam[opt=""] string more figures
-- @treturn table as `Ledger:check` has it, and `done`
function Run:report(name, bound, more)
  local found = self.ledger:check(self.sent)
  found.done = self.site:count("done")
  io.write(("[%s TE_SEED=%d n=%d kills=%d lost=%d dup=%d bound=%d%s]"):format(
    name, chaos.SEED, self.sent, self.kills, found.lost, found.twice, bound,
    more and " " .. more or ""))
  return found
end

--- Stops the worker, warm.
-- @treturn table how it ended, and `left`: processes and keys that should not
-- be there
function Run:stop()
  local children = self:children()
  local ended = self.site:stop(self.worker)
  ended.left = self.site:leftovers()
  for _, pid in ipairs(children) do
    if program.is_alive(pid) then
      table.insert(ended.left, pid)
    end
  end
  return ended
end

--- Ends all.
function Run:close()
  self.site:close()
end

Run.__close = Run.close

return chaos
