-- Flows in any order of events, against a model of them. TE_SEED repeats a
-- run, a failure names the seed with which it comes first; TE_FULL=1: 200,000
-- steps.

local flow_run = require("spec.support.flow_run")
local seed = require("spec.support.seed")

local IS_FULL <const> = os.getenv("TE_FULL") == "1"
local STEPS <const> = IS_FULL and 200000 or 5000
local STEPS_EACH_MAX <const> = 120
local ENDS <const> = { "done", "failed", "revoked", "expired" }

-- What happens in 10 flows at least of the fewer steps, and of the many.
local OFTEN <const> = {
  "flow_add 0", "flow_add 1", "flow_add 2", "flow_retry retried",
  "flow_retry running", "revoke_flow revoked", "revoke revoked", "told o",
  "told r", "told m", "handed over", "taken back", "skipped", "needs",
}
local RARE <const> = {
  "revoke asked", "revoke running", "requeue requeued", "forget 1", "told w",
  "told l", "told b", "told h", "straight", "heard several", "came out stale",
  "ended by its delegate", "buried with its flow",
}

local function count(run, queue, name)
  return run.shard:counter(queue, name)
end

-- Each task that came into a queue has ended once.
local function check_counters(run)
  for _, queue in ipairs(run.queues) do
    local ends = 0
    for _, name in ipairs(ENDS) do
      ends = ends + count(run, queue, name)
    end
    assert.equal(count(run, queue, "enqueued"), ends, queue)
  end
end

local function play(run, steps)
  for _ = 1, steps do
    run:step()
  end
  run:finish_all()
  check_counters(run)
  assert.same({}, run:leftovers())
end

describe("A flow among faults", function()
  local happened = {}

  it("is after each step as the model has it", function()
    local number, steps = seed.begin(), 0
    while steps < STEPS do
      local run = flow_run.new(number)
      local ok, problem = xpcall(play, debug.traceback, run,
        number % STEPS_EACH_MAX + 1)
      if not ok then
        error(("TE_SEED=%d, step %d: %s\nbefore:\n%s"):format(number,
          run.steps, problem, table.concat(run.history, "\n")), 0)
      end
      for what in pairs(run.happened) do
        happened[what] = true
      end
      steps, number = steps + run.steps, number + 1
    end
  end)

  it("and all that can happen to one did, among so many", function()
    for _, what in ipairs(IS_FULL and RARE or OFTEN) do
      assert.is_true(happened[what], what)
    end
  end)
end)
