-- Who goes on with what a call has left to be done for flows.

local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const>, B <const>, C <const> =
  "workerAAAAAA", "workerBBBBBB", "workerCCCCCC"

describe("Work that a call has left for others", function()
  local s

  before_each(function()
    s = shard.new(1, { flow_steps_max = 2 })
    for _, wid in ipairs { A, B, C } do
      s:advance(1)
      s:register(wid)
    end
    local plan = flow_plan.new("flow")
    for _ = 1, 10 do
      plan:node {}
    end
    assert.equal(0, plan:send(s)[2])
    assert.equal(1, s:redis("EXISTS", "gq"))
  end)

  it("wakes the two workers that were last heard of", function()
    assert.same({ {}, { "" }, { "" } },
      { s:heard("b:" .. A), s:heard("b:" .. B), s:heard("b:" .. C) })
  end)

  it("wakes others when one of these is gone", function()
    s:heard("b:" .. B)
    s:call("reap", C, 1, "F\x80", "-")
    assert.same({ { "" }, { "" } }, { s:heard("b:" .. A), s:heard("b:" .. B) })
  end)

  it("wakes others when one of these leaves, who does a part", function()
    s:heard("b:" .. B)
    local before = #s:ready("default")
    assert.equal(1, s:call("leave", C))
    assert.is_true(#s:ready("default") > before)
    assert.same({ { "" }, { "" } }, { s:heard("b:" .. A), s:heard("b:" .. B) })
  end)

  it("is gone on with when what a worker takes is in flight", function()
    assert.equal(1, #s:ready("default"))
    local in_flight
    s:watch(function(_, command, key)
      if command == "LPOP" and key:find(":gq$") then
        in_flight = in_flight or s:redis("HLEN", "f:" .. A)
      end
    end)
    assert.equal(1, #s:fetch(A, 1))
    assert.equal(1, in_flight)
  end)

  it("is all done by the one that is there", function()
    s:work_off(50)
    assert.equal(10, #s:ready("default"))
  end)
end)
