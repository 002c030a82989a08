local chaos = require("spec.support.chaos")

local PERIOD_S <const> = 0.1

describe("Redis whose functions are flushed", function()
  it("gets them back, and no task is lost or started twice", function()
    local run <close> = chaos.run()
    run:start()
    local function loads()
      return tonumber(run.site:call("INFO", "commandstats")
        :match("cmdstat_function|load:calls=(%d+)"))
    end
    run:send("work", chaos.size(20000, 100000), 0.0003)
    local before, flushes = loads(), 0
    while not run:is_done() do
      chaos.pause(PERIOD_S, PERIOD_S)
      run.site:call("FUNCTION", "FLUSH")
      flushes = flushes + 1
    end
    run:finish()

    local found = run:report("F6", 0, ("flushes=%d"):format(flushes))
    assert.is_true(flushes > 1)
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.equal(run.sent, found.done)
    -- By the worker, once for each.
    assert.is_true(loads() - before <= flushes, loads() - before)
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)
end)
