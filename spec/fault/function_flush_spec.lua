local chaos = require("spec.support.chaos")

local TASKS <const> = chaos.FULL and 100000 or 20000

describe("Redis whose functions are flushed", function()
  it("gets them back, and no task is lost or started twice", function()
    local run <close> = chaos.run()
    run:start()
    run:send(TASKS, 0.0003)
    local flushes = 0
    while not run:is_done() do
      chaos.pause(0.1, 0.1)
      run.server:cli("FUNCTION", "FLUSH")
      flushes = flushes + 1
    end
    run:finish()

    local lost, twice, unexpected = run:audit()
    run:report("F6", twice, 0)
    io.write(("flushes=%d "):format(flushes))
    assert.is_true(flushes > 1)
    assert.same({ 0, 0, 0 }, { lost, twice, unexpected })
    assert.equal(TASKS, run:count("done"))
    assert.equal(0, run:stop().code)
    assert.same({}, run:leftovers())
  end)
end)
