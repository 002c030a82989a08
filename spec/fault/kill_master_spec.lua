local chaos = require("spec.support.chaos")
local wait_until = require("spec.support.wait").wait_until

local PROCESSES <const> = 2
local TASKS <const> = chaos.FULL and 100000 or 10000
local KILLS <const> = chaos.FULL and 200 or 30
local RUN_S <const> = 0.001
local LEASE_S <const> = 2

-- Kills the master; its children follow within a second.
local function kill_master(run)
  local orphans = run:children()
  run:kill(run.worker.pid)
  run.worker:wait()
  wait_until(function()
    for _, pid in ipairs(orphans) do
      if chaos.is_alive(pid) then
        return false
      end
    end
    return true
  end, 1, "the end of the children of a dead master")
end

describe("A worker that is killed", function()
  it("and started again takes its tasks back at once", function()
    local run <close> = chaos.run { processes = PROCESSES }
    run:start()
    run:send(TASKS, RUN_S)
    while run.kills < KILLS and not run:is_done() do
      chaos.pause(0.05, 0.2)
      kill_master(run)
      run:start()
    end
    run:finish()

    local lost, twice, unexpected = run:audit()
    local bound = run.kills * PROCESSES
    run:report("F2", twice, bound)
    assert.equal(0, lost)
    assert.equal(0, unexpected)
    assert.is_true(twice <= bound, twice .. " starts too many")
    assert.equal(TASKS, run:count("done"))
    -- What had been handed out and had not begun counts nothing.
    assert.is_true(run:count("lost") <= bound)
    assert.equal(0, run:stop().code)
    assert.same({}, run:leftovers())
  end)

  it("leaves its tasks to one on another host, after its lease", function()
    local run <close> = chaos.run { processes = PROCESSES }
    run:start { TASKENGINE_LEASE = tostring(LEASE_S) }
    run:send(2, 1000) -- one in each child, for ever
    wait_until(function()
      local ledger <close> = io.open(run.ledger)
      return ledger and select(2, ledger:read("a"):gsub("\n", "")) == 2
    end, 10, "two tasks that run")
    kill_master(run)

    -- A folder of its own for the claims: nothing of the first is in it.
    os.execute("chmod 700 " .. run.place.dir)
    run:start {
      TASKENGINE_LEASE = tostring(LEASE_S),
      XDG_RUNTIME_DIR = run.place.dir,
    }
    wait_until(function()
      return run:count("lost") == 2
    end, LEASE_S + 1 + 5, "the end of the lease") -- 5: a busy machine
    wait_until(function()
      local _, twice = run:audit()
      return twice == 2
    end, 10, "both tasks, started again")
    run.worker:kill("QUIT")
    assert.equal(0, run.worker:wait(30).code)
  end)
end)
