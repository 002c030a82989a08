local chaos = require("spec.support.chaos")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("A worker whose children are killed", function()
  -- Kills a child every 50 to 150 ms until all is done.
  local function kill_children(run)
    while not run:is_done() do
      chaos.pause(0.05, 0.15)
      local pid = chaos.pick(run:children())
      if pid then
        run:kill(pid)
      end
    end
    run:finish()
  end

  local function is_whole(run, descriptors)
    return #run:children() == run.processes
      and workers.descriptors(run.worker.pid) == descriptors
  end

  it("loses no task, starts few twice, and stays whole", function()
    local run <close> = chaos.run { processes = 8 }
    run:start()
    wait_until(function()
      return run.site:key("SCARD", "sl:default") == 1
    end)
    local descriptors = workers.descriptors(run.worker.pid)
    run:send("work", chaos.size(20000, 100000), 0.001)
    kill_children(run)

    local found = run:report("F1", run.kills)
    assert.is_true(run.kills >= 20)
    assert.same({ 0, 0 }, { found.lost, found.unexpected })
    assert.is_true(found.twice <= run.kills)
    assert.equal(run.sent, found.done)
    assert.is_true(run.site:count("lost") <= run.kills)
    wait_until(function()
      return is_whole(run, descriptors)
    end, 30, "all children, and no descriptor more than before")
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)

  it("starts at most as many twice as a child runs at a time", function()
    local run <close> = chaos.run { processes = 4, concurrency = 5 }
    run:start()
    run:send("wait", chaos.size(10000, 100000), 0.005)
    kill_children(run)

    local bound = run.kills * run.concurrency
    local found = run:report("F1, 5 at a time", bound)
    assert.is_true(run.kills >= 5)
    assert.same({ 0, 0 }, { found.lost, found.unexpected })
    assert.is_true(found.twice <= bound)
    assert.equal(run.sent, found.done)
    -- At most one of those that a child ran is to blame for its end.
    assert.is_true(run.site:count("lost") <= run.kills)
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)
end)
