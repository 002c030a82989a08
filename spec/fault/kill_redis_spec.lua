local chaos = require("spec.support.chaos")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local KILLS <const> = chaos.FULL and 50 or 10
local BATCH <const> = chaos.FULL and 2000 or 500 -- sent around each kill
local RUN_S <const> = 0.0005
local DOWN_MAX_S <const> = chaos.FULL and 5 or 1.5

-- Sends one task, for as long as it takes. What may have been accepted is
-- sent again under its id, which can never make two.
local function send_one(run, number)
  local options = {}
  repeat
    local ok, problem = pcall(run.work.apply_async, run.work,
      { number, run.ledger, RUN_S }, options)
    if not ok then
      assert(type(problem) == "table", problem)
      assert.equal("BrokerUnavailable", problem.kind)
      run.refused = run.refused + 1
      options = problem.indeterminate and { task_id = problem.id } or {}
    end
  until ok
end

describe("Redis that is killed, with appendfsync always", function()
  it("loses no task, and workers and clients come back", function()
    local run <close> = chaos.run {
      config = { "appendonly yes", "appendfsync always" },
    }
    run.refused = 0
    run:start()
    local sending = 0
    local slowest_s = 0
    for _ = 1, KILLS do
      sending = sending + 1
      te.spawn(function()
        for number = run.sent + 1, run.sent + BATCH do
          send_one(run, number)
        end
        run.sent = run.sent + BATCH
        sending = sending - 1
      end)
      chaos.pause(0.02, 0.2)
      run.server:kill("KILL")
      run.kills = run.kills + 1
      chaos.pause(0.2, DOWN_MAX_S)
      run.server:restart()
      local done, back = run:count("done"), te.now()
      wait_until(function()
        return sending == 0
      end, 60, "the tasks of this round to be sent")
      wait_until(function()
        return run:count("done") > done or run:is_done()
      end, 30, "a worker that is back")
      slowest_s = math.max(slowest_s, te.now() - back)
    end
    run:finish()

    local lost, twice, unexpected = run:audit()
    run:report("F3", twice, 0)
    io.write(("refused=%d back=%.2fs "):format(run.refused, slowest_s))
    assert.same({ 0, 0, 0 }, { lost, twice, unexpected })
    assert.equal(run.sent, run:count("done"))
    assert.is_nil(run.worker.ended)
    assert.equal(0, run:stop().code)
  end)
end)
