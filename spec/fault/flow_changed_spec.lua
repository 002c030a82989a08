--- Flows that their own tasks change, with processes that die around it.

local chaos = require("spec.support.chaos")
local files = require("spec.support.files")
local flow_watch = require("spec.support.flow_watch")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local MEMBERS <const> = chaos.size(300, 5000)
local MEMBER_S <const> = 0.01
local LIMIT <const> = { timeout = chaos.size(120, 1800) }

describe("A chord whose members die", function()
  -- What the callback noted, each time that it ran.
  local function sums(run)
    local list = {}
    for sum in (files.read(run.ledger.path .. "-sums") or ""):gmatch("(%d+) ")
    do
      list[#list + 1] = tonumber(sum)
    end
    return list
  end

  -- Kills processes until the chord has ended. Returns what its callback noted.
  local function run_with_kills(name, run)
    local list, path, bound = {}, run.ledger.path, 0
    run:start()
    for i = 1, MEMBERS do
      list[i] = run.site.app:signature(name, { i, path, MEMBER_S })
    end
    run.sent = MEMBERS
    local r = te.chord(list, run.site.app:signature("note_sum",
      { path .. "-sums" }))()
    local function count_ended()
      return run.site:count("done")
    end
    local function is_over()
      return r:ready()
    end
    while not is_over() do
      chaos.pause(0.02, 0.1)
      bound = bound + flow_watch.kill_one(run, count_ended, 10, is_over)
    end
    r:get(LIMIT)
    wait_until(function()
      return r.flow:info().left == 0 and #flow_watch.open(run.site) == 0
    end, 60, "the end of the flow")
    local found = run:report("F19, " .. name, bound)
    assert.same({ 0, 0 }, { found.lost, found.unexpected })
    assert.is_true(found.twice <= bound)
    assert.is_true(run.kills >= 5)
    assert.equal(0, run.site:count("failed"))
    for _, sum in ipairs(sums(run)) do -- a callback may have died, too
      assert.equal(sums(run)[1], sum)
    end
    return sums(run)[1]
  end

  it("has what they added, once each", function()
    local run <close> = chaos.run {
      concurrency = 2, config = flow_watch.CONFIG,
    }
    assert.equal(MEMBERS * (MEMBERS + 1), run_with_kills("add_same", run))
    assert.equal(0, run:stop().code)
  end)

  it("has what others returned that stood in for them", function()
    local run <close> = chaos.run {
      concurrency = 2, config = flow_watch.CONFIG,
    }
    assert.equal(MEMBERS * (MEMBERS + 1) // 2,
      run_with_kills("leave_to_others", run))
    assert.equal(0, run:stop().code)
  end)
end)
