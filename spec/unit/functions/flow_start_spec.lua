-- How a flow of many nodes gets to those that run them.

local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local MEMBERS <const> = 300

for how, ranges in pairs { each = false, together = true } do
  describe("A flow of many nodes that need nothing, named " .. how, function()
    local s, plan

    before_each(function()
      s, plan = shard.serving(A), flow_plan.new("flow", { ranges = ranges })
      for _ = 1, MEMBERS do
        plan:node {}
      end
      plan:send(s)
    end)

    it("is released in part when it is sealed", function()
      local ready = #s:ready("default")
      assert.is_true(ready > 0 and ready < MEMBERS)
    end)

    it("goes straight to who fetches it, in order", function()
      local envelopes = s:fetch(A, MEMBERS)
      assert.equal(MEMBERS, #envelopes)
      for i, bytes in ipairs(envelopes) do
        assert.equal(plan:id(i), bytes:sub(1, 20))
      end
      assert.same({}, s:ready("default"))
      assert.equal(MEMBERS, s:redis("HLEN", "f:" .. A))
    end)

    it("is given to nobody beyond his room", function()
      local ready = s:ready("default")
      local ids = s:fetch_ids(A, #ready + 7)
      assert.same({ #ready + 7, plan:id(1), plan:id(#ready + 7) },
        { #ids, ids[1], ids[#ids] })
      local rest = s:ready("default")
      assert.same({ MEMBERS - #ready - 7, plan:id(#ready + 8) },
        { #rest, rest[1] })
    end)

    it("waits in its queue for who has room for less", function()
      local envelopes = s:fetch(A, 1)
      assert.same({ plan:id(1), 1 }, { envelopes[1]:sub(1, 20), #envelopes })
      assert.equal(MEMBERS - 1, #s:ready("default"))
    end)
  end)
end
