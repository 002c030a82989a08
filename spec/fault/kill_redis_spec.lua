local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local KILLS <const> = chaos.size(10, 50)
local DOWN_MAX_S <const> = chaos.size(2, 5)
local CLIENTS <const> = 4
-- After Redis answers again; and for a busy machine.
local BACK_S <const>, SLACK_S <const> = 2, chaos.size(math.huge, 2)

describe("Redis that is killed, with appendfsync always", function()
  -- Sends one task, for as long as it takes. What may have been accepted is
  -- sent again under its id, which can never make two.
  local function send_one(run, figures, number)
    local options = {}
    repeat
      local ok, problem = pcall(run.site.app.send_task, run.site.app, "work",
        { number, run.ledger.path, 0.0005 }, options)
      if not ok then
        assert(type(problem) == "table", problem)
        assert.equal("BrokerUnavailable", problem.kind)
        figures.refused = figures.refused + 1
        if problem.indeterminate then
          figures.doubtful = figures.doubtful + 1
          options = { task_id = problem.id }
        end
      end
    until ok
  end

  -- Clients that send one by one, until they are told to stop.
  local function start_clients(run, figures)
    figures.sending = CLIENTS
    for _ = 1, CLIENTS do
      te.spawn(function()
        while not figures.is_over do
          run.sent = run.sent + 1
          send_one(run, figures, run.sent)
        end
        figures.sending = figures.sending - 1
      end)
    end
  end

  it("loses no task, and workers and clients come back", function()
    local run <close> = chaos.run {
      config = { "appendonly yes", "appendfsync always" },
    }
    local figures = { refused = 0, doubtful = 0, slowest_s = 0 }
    run.site.app:configure { broker_timeout = 0.5 }
    run:send("work", chaos.size(15000, 80000), 0.001)
    run:start()
    start_clients(run, figures)
    for _ = 1, KILLS do
      chaos.pause(0.02, 0.5)
      run.site.server:kill("KILL")
      run.kills = run.kills + 1
      chaos.pause(0.2, DOWN_MAX_S)
      run.site.server:restart()
      local size, began = run.ledger:size(), core.sys.monotonic()
      wait_until(function()
        return run.ledger:size() > size
      end, 30, "a worker that is back")
      figures.slowest_s = math.max(figures.slowest_s,
        core.sys.monotonic() - began)
    end
    figures.is_over = true
    wait_until(function()
      return figures.sending == 0
    end, 60, "the clients")
    run:finish()

    local found = run:report("F3", 0,
      ("refused=%d doubtful=%d back=%.2fs"):format(figures.refused,
        figures.doubtful, figures.slowest_s))
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.equal(run.sent, found.done)
    assert.is_true(figures.slowest_s <= BACK_S + SLACK_S)
    assert.is_true(figures.refused > 0)
    assert.is_nil(run.worker.ended)
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)
end)
