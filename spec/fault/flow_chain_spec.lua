--- Long chains on real workers: as they are, with processes that die, and
-- revoked half-way.

local chaos = require("spec.support.chaos")
local files = require("spec.support.files")
local flow_watch = require("spec.support.flow_watch")
local memory = require("spec.support.memory")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local STEPS <const> = chaos.size(2000, 100000)
-- So that there is time to kill something, where they are few.
local STEP_S <const> = chaos.size(0.002, 0)
local LIMIT <const> = { timeout = chaos.size(120, 1800) }
local STEP_BYTES_MAX <const> = 512
local GROWTH_KB_MAX <const> = 4096

describe("A long chain", function()
  local function send(run, seconds)
    local path, list = run.ledger.path, {}
    for i = 1, STEPS do
      list[i] = run.site.app:signature("step",
        i == 1 and { 1, path, seconds } or { path, seconds })
    end
    run.sent = STEPS
    return te.chain(list)()
  end

  -- The steps in the order in which they have begun, as their arguments count
  -- them.
  local function begun(run)
    local steps = {}
    for number in (files.read(run.ledger.path) or ""):gmatch("(%d+) %d+\n") do
      steps[#steps + 1] = tonumber(number)
    end
    return steps
  end

  -- The last step that has begun; that none came before its time is checked.
  local function last_of(steps)
    local last = 0
    for _, number in ipairs(steps) do
      assert.is_true(number <= last + 1, "a step ahead of the one before it")
      last = math.max(last, number)
    end
    return last
  end

  local function wait_done(run, count)
    wait_until(function()
      return run.site:count("done") >= count
    end, LIMIT.timeout, count .. " steps")
  end

  local function assert_all_done(run, r)
    assert.equal(STEPS + 1, r:get(LIMIT))
    assert.equal(STEPS, last_of(begun(run)))
    wait_until(function()
      return r.flow:info().left == 0 and #flow_watch.open(run.site) == 0
    end, 60, "the end of the flow")
    local site = run.site
    assert.same({ STEPS, STEPS, 0 }, { site:count("enqueued"),
      site:count("done"), site:count("failed") })
  end

  -- Arguments of one step, as they are stored: a path and a float.
  local function argument_bytes(run)
    return #run.ledger.path + 16
  end

  it("runs each step once, in order, in little memory", function()
    local run <close> = chaos.run { config = flow_watch.CONFIG }
    run:start()
    local r = send(run, 0)
    wait_done(run, STEPS // 4)
    local before = flow_watch.memory(run.worker)
    assert_all_done(run, r)
    local growth = flow_watch.growth(before, flow_watch.memory(run.worker))
    local bytes = flow_watch.bytes(run.site, r.flow.id) / STEPS
    local found = run:report("F18", 0, ("bytes=%.0f growth=%dKiB %s"):format(
      bytes, growth, flow_watch.slowest(run.site)))
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.is_true(bytes <= STEP_BYTES_MAX + argument_bytes(run))
    assert.is_true(growth <= GROWTH_KB_MAX + memory.KEPT_MB * 1024)
    assert.equal(0, run:stop().code)
  end)

  it("goes on where it was when processes and workers die", function()
    local run <close> = chaos.run { config = flow_watch.CONFIG }
    run:start()
    local r, bound = send(run, STEP_S), 0
    local function is_over()
      return run.site:count("done") >= STEPS
    end
    while not is_over() do
      chaos.pause(0.05, 0.15)
      flow_watch.kill_one(run, function()
        return run.site:count("done")
      end, 2, is_over)
      bound = bound + 1 -- one step runs at a time
    end
    assert_all_done(run, r)
    local found = run:report("F18, kills", bound,
      flow_watch.slowest(run.site))
    assert.is_true(run.kills >= 5)
    assert.same({ 0, 0 }, { found.lost, found.unexpected })
    assert.is_true(found.twice <= bound)
    assert.equal(0, run:stop().code)
  end)

  it("begins nothing more when it is revoked half-way", function()
    local run <close> = chaos.run { config = flow_watch.CONFIG }
    run:start()
    local r = send(run, STEP_S)
    wait_done(run, STEPS // 2)
    assert.is_true(r.flow:revoke())
    local before = #begun(run)
    local ok, e = r:wait(LIMIT.timeout)
    assert.same({ false, "Revoked" }, { ok, e.kind })
    wait_until(function()
      return r.flow:info().left == 0 and #flow_watch.open(run.site) == 0
    end, 60, "the end of the flow")
    assert.equal("REVOKED", r.flow:info().state)
    assert.equal(0, run:stop().code)
    local late = #begun(run) - before
    io.write(("[F18, revoked at %d of %d: late=%d %s]"):format(before, STEPS,
      late, flow_watch.slowest(run.site)))
    -- The one that a child had in hand already.
    assert.is_true(late <= 1)
    assert.is_true(last_of(begun(run)) < STEPS)
    assert.equal(STEPS, r.flow:ended { { first = 1, last = STEPS } })
  end)
end)
