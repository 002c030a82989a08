-- What must hold of any flow in any order of events. TE_SEED repeats a run, a
-- failure names the seed with which it comes first; TE_FULL=1: 200,000 steps.

local flow_run = require("spec.support.flow_run")
local seed = require("spec.support.seed")

local STEPS <const> = os.getenv("TE_FULL") == "1" and 200000 or 8000
local STEPS_EACH_MAX <const> = 120

describe("A flow among faults", function()
  it("does each node once, when all that it needs has ended", function()
    local number, steps = seed.begin(), 0
    while steps < STEPS do
      local run = flow_run.new(number)
      local ok, problem = xpcall(function()
        for _ = 1, number % STEPS_EACH_MAX + 1 do
          run:step()
        end
        run:finish_all()
        assert.same({}, run:leftovers())
      end, debug.traceback)
      if not ok then
        error(("TE_SEED=%d, step %d: %s"):format(number, run.steps, problem),
          0)
      end
      steps, number = steps + run.steps, number + 1
    end
  end)
end)
