--- Many revocations at random moments: of what waits, of what is about to
-- begin, of what runs; with processes, workers and Redis that die meanwhile.

local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local TASKS <const> = chaos.size(4000, 100000)
local STUBBORN <const> = 4
-- A task that was ordered to end has a second; then it is killed.
local ORDER_S <const>, SLACK_S <const> = 1, chaos.size(math.huge, 2)
local NEVER <const> = 3600

describe("Revocations", function()
  -- Sends numbered tasks; returns their results by number.
  local function send(run, name, count, seconds)
    local list = {}
    for number = 1, count do
      list[number] = { number, run.ledger.path, seconds }
    end
    run.sent = run.sent + count
    return run.site.app:enqueue_many(name, list)
  end

  local function shuffled(count)
    local order = {}
    for i = 1, count do
      local at = math.random(i)
      order[i] = order[at]
      order[at] = i
    end
    return order
  end

  -- Revokes every other task, in any order; each number's answer.
  local function revoke_half(all, between)
    local answers = {}
    for i, number in ipairs(shuffled(#all)) do
      if i % 2 == 0 then
        answers[number] = select(2, all[number]:revoke())
        between(i)
      end
    end
    return answers
  end

  local function await_all(run)
    wait_until(function()
      local site = run.site
      return site:count("done") + site:count("failed") + site:count("revoked")
        >= run.sent
    end, 600, "the end of all tasks")
  end

  local function count(answers, wanted)
    local n = 0
    for _, answer in pairs(answers) do
      n = n + (answer == wanted and 1 or 0)
    end
    return n
  end

  -- What was answered "revoked" never has an outcome of its own.
  local function assert_ends(all, answers)
    local is_end = {
      revoked = { REVOKED = true },
      finished = { SUCCESS = true },
      asked = { SUCCESS = true, REVOKED = true },
    }
    for number, answer in pairs(answers) do
      local state = all[number]:state()
      assert.is_true(is_end[answer][state], answer .. " is " .. state)
    end
  end

  it("keep from beginning what waits, whatever races with them", function()
    local run <close> = chaos.run { processes = 2, concurrency = 2 }
    local all = send(run, "work", TASKS, 0.001)
    run:start()
    local answers = revoke_half(all, function() end)
    await_all(run)
    local starts = run.ledger:starts()
    local wrong, twice = 0, 0
    for number, answer in pairs(answers) do
      wrong = wrong + (answer == "revoked" and starts[number] and 1 or 0)
    end
    for _, pids in pairs(starts) do
      twice = twice + #pids - 1
    end
    io.write(("[F24 TE_SEED=%d n=%d revoked=%d asked=%d late=%d]"):format(
      chaos.SEED, run.sent, count(answers, "revoked"),
      count(answers, "asked"), wrong))
    assert.same({ 0, 0 }, { wrong, twice })
    assert_ends(all, answers)
    assert.is_true(count(answers, "revoked") > 0)
    local site = run.site
    assert.same({ run.sent, 0 },
      { site:count("done") + site:count("revoked"), site:count("failed") })
    -- What was kept of revocations goes with them.
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)

  it("hold when processes and workers die", function()
    local run <close> = chaos.run { processes = 2, concurrency = 4 }
    local all = send(run, "wait", TASKS // 2, 0.02)
    local every = #all // chaos.size(10, 40) // 2 * 2
    run:start()
    local answers = revoke_half(all, function(i)
      if i % every == 0 and i // every % 2 == 0 then
        run:kill_worker()
        run:start()
      elseif i % every == 0 then
        run:kill(chaos.pick(run:children()))
      end
    end)
    await_all(run)
    assert_ends(all, answers)
    local site = run.site
    assert.same({ run.sent, 0 },
      { site:count("done") + site:count("revoked"), site:count("failed") })
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)

  it("end what runs and does not hear, soon", function()
    local run <close> = chaos.run { processes = STUBBORN }
    run:start()
    for round = 1, chaos.size(2, 25) do
      local all = send(run, "stubborn", STUBBORN, NEVER)
      wait_until(function()
        return select(2, run.ledger:starts()) == round * STUBBORN
      end, 30, "tasks that run")
      local began = core.sys.monotonic()
      all:revoke { terminate = true }
      for i = 1, #all do
        assert.equal("Revoked", select(2, all[i]:wait(60)).kind)
      end
      local took = core.sys.monotonic() - began
      assert.is_true(took <= ORDER_S + SLACK_S, ("took %.2f s"):format(took))
    end
    assert.equal(0, run.site:count("lost"))
    assert.same({}, run:stop().left)
  end)

  it("survive Redis and the worker, also those of what runs", function()
    local run <close> = chaos.run {
      config = { "appendonly yes", "appendfsync always" },
    }
    local site = run.site
    run:start()
    local running = send(run, "wait", run.processes, NEVER)
    wait_until(function()
      return select(2, run.ledger:starts()) == run.processes
    end, 30, "tasks that run")
    workers.kill(run.worker.pid, "STOP") -- it hears of nothing
    local waiting = send(run, "wait", 100, NEVER)
    assert.equal(run.processes, running:revoke().asked)
    assert.equal(100, waiting:revoke().revoked)
    site.server:kill("KILL")
    run:kill_worker()
    site.server:restart()
    run:start()
    await_all(run)
    for _, all in ipairs { running, waiting } do
      for i = 1, #all do
        assert.equal("REVOKED", all[i]:state())
      end
    end
    assert.equal(run.processes, (select(2, run.ledger:starts())))
    assert.same({}, run:stop().left)
  end)
end)
