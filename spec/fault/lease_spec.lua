local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local LEASE_S <const> = 1
-- Beside the lease: what Redis and a worker need, and a busy machine.
local SLACK_S <const> = 5

describe("A lease", function()
  local site = workers.for_each_spec {} -- each with its own Redis

  -- A worker on a host of its own: its claims lie where no other looks.
  local function start(host, words)
    local folder = ("%s/%s"):format(site.dir, host)
    os.execute(("mkdir -p -m 700 '%s'"):format(folder))
    return site:worker(words, {
      env = {
        TASKENGINE_LEASE = tostring(LEASE_S),
        XDG_RUNTIME_DIR = folder,
      },
    })
  end

  it("brings the tasks of a dead worker back when it is over", function()
    local first = start("one", { "-P", "2" })
    start("two", { "-P", "2", "-Q", "other" })
    local results = {}
    for i = 1, 2 do
      results[i] = site:send("busy_until_file", "go", "notes", i)
    end
    site:wait_lines("notes", 2)
    local began = core.sys.monotonic()
    workers.kill(first.pid)
    wait_until(function()
      return #site:ready() == 2
    end, LEASE_S + SLACK_S, "the tasks of the dead worker")
    io.write(("[lease=%gs back=%.2fs]"):format(LEASE_S,
      core.sys.monotonic() - began))
    for _, envelope in ipairs(site:ready()) do
      assert.same({ 0, 1 }, { envelope.deaths, envelope.reaps })
    end
    site.place:write("go", "")
    start("two", { "-P", "1" })
    for i = 1, 2 do
      assert.equal("seen", results[i]:get { timeout = 20 })
    end
    assert.equal(2, site:count("done"))
  end)

  it("protects from a worker that comes back from the dead", function()
    local zombie = start("one", { "-P", "1" })
    local children = workers.children(zombie)
    local r = site:send("busy_until_file", "go", "notes")
    site:wait_lines("notes", 1)
    workers.kill(zombie.pid, "STOP")
    start("two", { "-P", "1" })
    -- The other has it, when the lease is over; both end it.
    local pids = {}
    for i, line in ipairs(site:wait_lines("notes", 2)) do
      pids[i] = tonumber(line:match("%d+"))
    end
    assert.equal(children[1], pids[1])
    assert.not_equal(pids[1], pids[2])
    site.place:write("go", "")
    assert.equal("seen", r:get { timeout = 20 })
    assert.equal(1, site:count("done"))
    workers.kill(zombie.pid, "CONT")
    local refused, dropped = zombie:heard("stderr",
      "warn  (the lease was lost[^\n]*)\n"):match(
      ": (%d+) outcomes? from here refused, (%d+) tasks? dropped;")
    assert.equal(1, refused + dropped)
    -- What it had said too early it takes back.
    local _, said = zombie:stderr():gsub("succeeded", "")
    assert.equal(said, tonumber(refused))
    workers.wait_gone(children)
    wait_until(function()
      return #site:wids() == 2
    end, 20, "a new name")
    assert.equal(1, site:count("done"))
    assert.equal(0, site:stop(zombie).code)
  end)

  it("holds under workers that stop and go at random", function()
    local run <close> = chaos.run { processes = 2 }
    local others = {}
    for i = 1, 3 do
      os.execute(("mkdir -m 700 '%s/%d'"):format(run.site.dir, i))
      others[i] = run:start {
        TASKENGINE_LEASE = tostring(LEASE_S),
        XDG_RUNTIME_DIR = ("%s/%d"):format(run.site.dir, i),
      }
    end
    run:send("wait", chaos.size(4000, 100000), 0.01)
    local stops = 0
    while not run:is_done() do
      local one = chaos.pick(others)
      workers.kill(one.pid, "STOP")
      chaos.pause(0.2, 2.5 * LEASE_S)
      workers.kill(one.pid, "CONT")
      stops = stops + 1
    end
    run:finish()

    local bound = stops * run.processes
    local found = run:report("stopped workers", bound,
      ("stops=%d"):format(stops))
    assert.same({ 0, 0 }, { found.lost, found.unexpected })
    assert.is_true(found.twice <= bound)
    assert.equal(run.sent, found.done)
    for _, worker in ipairs(others) do
      assert.is_nil(worker.ended)
      assert.equal(0, run.site:stop(worker).code)
    end
    assert.same({}, run.site:leftovers())
  end)
end)
