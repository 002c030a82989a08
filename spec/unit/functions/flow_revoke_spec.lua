-- Flows that are revoked, by te1_flow_revoke or by their ids.

local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"

describe("A flow that is revoked", function()
  local s, plan

  before_each(function()
    s, plan = shard.serving(A), flow_plan.new("flow")
  end)

  local function outcome(i)
    return s:call("outcome", plan:id(i))[1]
  end

  it("begins nothing more", function()
    local a = plan:node {}
    plan:node {}
    plan:node { after = { { "f", a } } }
    plan:node { delay_ms = 5000 }
    plan:send(s)
    local field = s:take(A, 1)[1]
    assert.equal(1, s:call("flow_revoke", plan.producer, "R\x80", "w"))
    assert.equal(0, s:call("flow_revoke", plan.producer, "R\x80", "w"))
    assert.same({}, s:fetch(A, 10))
    s:finish(A, "o", field, "S1")
    assert.same({ "S1", "R\x80", "R\x80", "R\x80", "R\x80" },
      { outcome(1), outcome(2), outcome(3), outcome(4), outcome(0) })
    assert.equal(0, s:redis("EXISTS", "gc"))
    assert.equal(0, s:redis("EXISTS", "z"))
  end)

  local function revoke(id)
    return s:call("revoke", "R\x80", 60, "c", id)[1]
  end

  it("is so by its id, too: what waits and what runs", function()
    local a = plan:node {}
    plan:node { after = { { "f", a } } }
    plan:send(s)
    local field = s:take(A, 1)[1]
    assert.equal("revoked", revoke(plan:id(0)))
    assert.equal("finished", revoke(plan:id(0)))
    assert.equal("cR\x80", s:redis("HGET", "cr:" .. A, field))
    s:finish(A, "h", field)
    assert.same({ "R\x80", "R\x80", "R\x80" },
      { outcome(1), outcome(2), outcome(0) })
    assert.equal("finished", revoke(plan:id(0)))
  end)

  it("can be hastened, once", function()
    plan:node {}
    plan:send(s)
    local field = s:take(A, 1)[1]
    local function ask(mode)
      local answer = s:call("flow_revoke", plan.producer, "R\x80", mode)
      return { answer, s:redis("HGET", "cr:" .. A, field) }
    end
    assert.same({ 1, "cR\x80" }, ask("c"))
    assert.same({ 0, "cR\x80" }, ask("c"))
    assert.same({ 1, "tR\x80" }, ask("t"))
    assert.same({ 0, "tR\x80" }, ask("t"))
    assert.same({ 0, "tR\x80" }, ask("c"))
  end)

  it("goes by its id before it is sealed", function()
    plan:node {}
    s:call("flow", plan.producer, 2, 1, 60, "", "", "",
      table.unpack(plan:pieces()))
    assert.equal("revoked", revoke(plan:id(0)))
    assert.equal("unknown", revoke(plan:id(0)))
  end)
end)
