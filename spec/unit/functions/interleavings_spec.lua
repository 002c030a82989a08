--- What must hold in any order of events, also when requests and replies are
-- lost, come late, or come twice. TE_SEED repeats a run; a failure names the
-- seed with which it comes first.

local census = require("spec.support.census")
local crowd = require("spec.support.crowd")
local model_keys = require("spec.support.model_keys")
local seed = require("spec.support.seed")

local IS_WATCHED <const> = os.getenv("TE_IS_WATCHED") ~= nil
local CROWDS <const>, STEPS <const> = 10, IS_WATCHED and 3000 or 10000
-- Of envelopes in a reply: every other crowd's tasks are too large to go
-- together into one; and every third has room for few of the dead.
local FETCH_BYTES_MAX <const>, DEAD_BYTES_MAX <const> = 400, 1500
-- All keys are compared now and then, what changes most after every step.
local STEPS_BETWEEN <const> = 20

local ENDS <const> = { "done", "failed", "revoked", "expired" }

local function check_keys(c)
  local different = model_keys.difference(c.model, c.shard.fake:dump())
  if different[1] then
    error("not as the model has it: " .. table.concat(different, ", "), 0)
  end
end

local function run(c)
  for i = 1, STEPS do
    c:step()
    census.check(c)
    if i % STEPS_BETWEEN == 0 then
      check_keys(c)
    end
  end
  c:finish()
  check_keys(c)
end

-- Runs a crowd; what goes wrong is told with all that led to it.
local function watch(c, number)
  local ok, problem = xpcall(run, debug.traceback, c)
  if not ok then
    error(("TE_SEED=%d, step %d: %s\nbefore:\n%s"):format(number, c.steps,
      problem, table.concat(c.history, "\n")), 0)
  end
end

describe("Whatever is lost, late or repeated", function()
  local first = seed.begin()
  local handed, doubles, asked = 0, 0, 0
  local seen = { done = 0, failed = 0, revoked = 0, expired = 0, requeued = 0,
    retried = 0 }

  for number = first, first + CROWDS - 1 do
    local name = ("no task is lost or doubled (%d)"):format(number - first + 1)
    it(name, function()
      local c = crowd.new { seed = number, workers = 3, clients = 2,
        forgets = true,
        limits = {
          fetch_bytes_max = number % 2 == 0 and FETCH_BYTES_MAX or nil,
          dead_bytes_max = number % 3 == 0 and DEAD_BYTES_MAX or nil,
        } }
      watch(c, number)
      handed, doubles = handed + c.handed, doubles + c.doubles
      asked = asked + c.asked
      local left = c.shard:keys()
      assert.same({ "n", "q", "s:a", "s:b" }, left)
      for _, queue in ipairs { "a", "b" } do
        local ends = 0
        for _, counter in ipairs(ENDS) do
          local n = c.shard:counter(queue, counter)
          seen[counter] = seen[counter] + n
          ends = ends + n
        end
        local requeued = c.shard:counter(queue, "requeued")
        seen.requeued = seen.requeued + requeued
        seen.retried = seen.retried + c.shard:counter(queue, "retried")
        assert.equal(c.shard:counter(queue, "enqueued") + requeued,
          ends + c.dropped[queue])
      end
    end)
  end

  it("and all that can happen to one did, among so many", function()
    assert.is_true(handed > 0, "handed over")
    assert.is_true(doubles > 0, "not made beside one that was like it")
    assert.is_true(asked > 0, "asked to end")
    for counter, n in pairs(seen) do
      assert.is_true(n > 0, counter)
    end
  end)
end)
