-- Flows: te1_flow, and what the ends of their nodes set off.

local envelope = require("spec.support.envelope")
local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"

describe("A flow", function()
  local s, plan

  before_each(function()
    s = shard.new()
    s:register(A)
    plan = flow_plan.new("flow")
  end)

  local function outcome(i)
    return s:call("outcome", plan:id(i))[1]
  end

  -- Runs what is ready, each to the outcome that `ends` has for its node.
  local function run(ends, order)
    while true do
      local envelopes, number = s:fetch(A, 100)
      if not envelopes[1] then
        return order
      end
      for _, bytes in ipairs(envelopes) do
        local i = envelope.read(bytes).node
        s:finish(A, "o", envelope.field(bytes, number),
          ends and ends[i] or "S" .. i)
        if order then
          table.insert(order, i)
        end
      end
    end
  end

  it("runs a chain, each step with the outcome before it", function()
    local a = plan:node {}
    local b = plan:node { after = { { "f", a } } }
    plan:node { after = { { "f", b } } }
    assert.same({ s:now(), 0, 3 }, plan:send(s))
    for i = 1, 3 do
      local envelopes, number = s:fetch(A, 10)
      assert.equal(1, #envelopes)
      local e = envelope.read(envelopes[1])
      assert.same({ plan:id(i), plan:id(0), i }, { e.id, e.flow, e.node })
      local input = i > 1 and string.pack(">I4s4", 1, "S" .. i - 1)
        or "\0\0\0\0"
      assert.equal(input .. "\x91\x90", e.body)
      s:finish(A, "o", envelope.field(e.id, number), "S" .. i)
    end
    assert.same({ "S1", "S2", "S3", "S\xc0" },
      { outcome(1), outcome(2), outcome(3), outcome(0) })
  end)

  it("starts a join when all have arrived, once", function()
    local group = {}
    for i = 1, 3 do
      group[i] = { "f", plan:node {} }
    end
    local join = plan:node { after = group }
    plan:send(s)
    local fields = s:take(A, 3)
    s:finish(A, "o", fields[2], "S2", "o", fields[3], "S3")
    s:finish(A, "o", fields[2], "S2", "o", fields[3], "S3")
    assert.same({}, s:fetch(A, 1))
    s:finish(A, "o", fields[1], "S1")
    local envelopes, number = s:fetch(A, 2)
    assert.equal(1, #envelopes)
    assert.equal(string.pack(">I4s4s4s4", 3, "S1", "S2", "S3") .. "\x91\x90",
      envelope.read(envelopes[1]).body)
    s:finish(A, "o", envelope.field(envelopes[1], number), "Sall")
    assert.equal("Sall", outcome(join))
  end)

  it("fails what needs a failure, with its first cause", function()
    local a = plan:node {}
    local b = plan:node { after = { { "f", a } } }
    plan:node { after = { { "f", b } } }
    local survivor = plan:node { after = { { "c", b } } }
    plan:send(s)
    local cause = "F\x81\xa4kind\xa5Error"
    assert.same({ a, survivor }, run({ cause }, {}))
    local failed = "F\x83\xa4kind\xb0DependencyFailed\xa7message\xd9\x3f"
      .. "it needs the outcome of task " .. plan:id(a)
      .. ", which failed\xa5value\x82\xa2id\xb4" .. plan:id(a)
      .. "\xa5error" .. cause:sub(2)
    assert.same({ cause, failed, failed, "S4" },
      { outcome(1), outcome(2), outcome(3), outcome(4) })
    assert.equal(failed, outcome(0))
    assert.same({ plan:id(a) }, s:redis("ZRANGE", "x", 0, -1))
  end)
end)
