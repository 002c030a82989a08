--- Flows on a Redis that is killed while they run, and comes back with what it
-- has written down.

local chaos = require("spec.support.chaos")
local flow_watch = require("spec.support.flow_watch")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local SIZE <const> = chaos.size(300, 20000)
local STEP_S <const> = 0.002
local LIMIT <const> = { timeout = chaos.size(60, 1800) }
local KILLS <const> = 4

describe("A chain and a chord whose Redis is killed", function()
  it("go on where they were", function()
    local run <close> = chaos.run {
      concurrency = 4, config = { "appendonly yes", "appendfsync always" },
    }
    local app, path = run.site.app, run.ledger.path
    run:start()
    local steps, members = {}, {}
    for i = 1, SIZE do
      steps[i] = app:signature("step", i == 1 and { 1, path .. "-steps",
        STEP_S } or { path .. "-steps", STEP_S })
      members[i] = app:signature("wait", { i, path, STEP_S })
    end
    run.sent = SIZE
    local chain = te.chain(steps)()
    local chord = te.chord(members, app:signature("count_in_place",
      { path .. "-count" }))()
    for kill = 1, KILLS do
      wait_until(function()
        return run.site:count("done") >= kill * SIZE // 8
      end, LIMIT.timeout, "a flow that goes on")
      run.site.server:kill("KILL")
      run.kills = run.kills + 1
      run.site.server:restart()
    end
    assert.equal(SIZE + 1, chain:get(LIMIT))
    assert.equal(SIZE, chord:get(LIMIT))
    wait_until(function()
      return #flow_watch.open(run.site) == 0
    end, 60, "the end of both")
    local found = run:report("flows, Redis killed", 0)
    assert.same({ 0, 0, 0 }, { found.lost, found.unexpected, found.twice })
    assert.equal(2 * SIZE + 1, found.done)
    assert.equal(0, run.site:count("failed"))
    assert.equal(0, run:stop().code)
  end)
end)
