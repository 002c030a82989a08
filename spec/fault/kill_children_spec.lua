local chaos = require("spec.support.chaos")
local wait_until = require("spec.support.wait").wait_until

local PROCESSES <const> = 8
local TASKS <const> = chaos.FULL and 100000 or 20000
local RUN_S <const> = chaos.FULL and 0.002 or 0.0005

local function descriptors(pid)
  local pipe <close> = io.popen(("ls /proc/%d/fd | wc -l"):format(pid))
  return tonumber(pipe:read("a"))
end

describe("A worker whose children are killed", function()
  it("loses no task, starts few twice, and stays whole", function()
    local run <close> = chaos.run { processes = PROCESSES }
    run:start()
    local open_before = descriptors(run.worker.pid)
    run:send(TASKS, RUN_S)
    while not run:is_done() do
      chaos.pause(0.05, 0.15)
      local pids = run:children()
      if #pids > 0 then
        run:kill(pids[math.random(#pids)])
      end
    end
    run:finish()

    local lost, twice, unexpected = run:audit()
    run:report("F1", twice, run.kills)
    assert.equal(0, lost)
    assert.equal(0, unexpected)
    assert.is_true(twice <= run.kills, twice .. " starts too many")
    assert.equal(TASKS, run:count("done"))

    wait_until(function()
      return #run:children() == PROCESSES
        and descriptors(run.worker.pid) == open_before
    end, 30, "all children, and no descriptor more than before")
    assert.equal(0, run:stop().code)
    assert.same({}, run:leftovers())
  end)
end)
