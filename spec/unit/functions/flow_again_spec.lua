-- What of a flow that was revoked or has failed may still be somewhere when it
-- is done again.

local envelope = require("spec.support.envelope")
local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local REVOKED <const> = "R\x80"

describe("A flow that is done again", function()
  local s, plan

  before_each(function()
    s, plan = shard.serving(A), flow_plan.new("flow")
  end)

  local function outcome(id)
    return s:call("outcome", id)[1]
  end

  local function cancel(id)
    assert.same({ "revoked" }, s:call("cancel", REVOKED, 60, id))
  end

  local function retry()
    assert.equal("retried", s:call("flow_retry", plan.producer))
  end

  local function finish(field, record)
    assert.equal(1, s:finish(A, "o", field, record))
  end

  -- The tasks that come out of the queue, by their ids.
  local function fetch_ids()
    return s:fetch_ids(A, 10)
  end

  describe("drops what was revoked in its queue", function()
    before_each(function()
      plan:node {}
      plan:send(s)
      cancel(plan:id(1))
      retry()
    end)

    it("and runs it once", function()
      s:call("await", "a:me", plan:id(1))
      local fields = s:take(A, 10)
      assert.equal(1, #fields)
      assert.same({}, s:heard("a:me"))
      finish(fields[1], "Sdone")
      assert.equal("Sdone", outcome(plan:id(1)))
      assert.equal("S\xc0", outcome(plan:id(0)))
    end)

    it("as often as it was revoked there", function()
      cancel(plan:id(1))
      assert.same({}, fetch_ids())
      assert.equal(REVOKED, outcome(plan:id(1)))
      assert.equal(2, s:counter("default", "revoked"))
      assert.equal(0, s:redis("EXISTS", "cx"))
    end)

    it("and runs it once where it was revoked twice", function()
      cancel(plan:id(1))
      retry()
      assert.same({ plan:id(1) }, fetch_ids())
      assert.equal("=" .. plan:id(1), outcome(plan:id(1)))
    end)

    it("also by a purge", function()
      assert.same({ 2, 1, 1, 0 }, s:call("purge", "R\x81purged", 10, "default"))
      assert.equal("R\x81purged", outcome(plan:id(1)))
    end)
  end)

  describe("owes nothing to what it delegated to before", function()
    local delegate

    before_each(function()
      plan:node {}
      plan:send(s)
      delegate = flow_plan.new("delegate")
      delegate.delegate = plan:id(1)
      delegate:node { delegate = 0 }
      delegate:send(s)
      local fields = s:take(A, 2)
      s:finish(A, "w", fields[1], delegate.producer)
      cancel(plan:id(1))
      retry()
      finish(fields[2], "Slate")
    end)

    it("and runs its task", function()
      local fields = s:take(A, 2)
      assert.equal(plan:id(1), fields[1]:sub(1, 20))
      finish(fields[1], "Sdone")
      assert.equal("Sdone", outcome(plan:id(1)))
    end)

    it("and has counted that as revoked", function()
      assert.equal(1, s:counter("default", "revoked"))
      assert.equal(1, s:counter("default", "done"))
    end)
  end)

  -- Two that fail, what needs them, and one that goes on.
  local function fail_two()
    plan:node {}
    plan:node {}
    plan:node { after = { { "f", 1 }, { "f", 2 } } }
    plan:node {}
    plan:send(s)
    s:work_off()
    local fields = s:take(A, 3)
    finish(fields[1], "F\x80")
    finish(fields[2], "F\x80")
    s:work_off()
    return fields[3]
  end

  local function requeue()
    return s:call("requeue", plan:id(1), "", plan:id(2), "")
  end

  it("is not asked for by its dead before it has ended", function()
    local field = fail_two()
    assert.same({ "running", "running" }, requeue())
    finish(field, "Sdone")
    assert.same({ "requeued", "requeued" }, requeue())
  end)

  it("begins when one of its dead is requeued, whoever sleeps", function()
    finish(fail_two(), "Sdone")
    requeue()
    assert.equal(0, s:redis("EXISTS", "gq"))
    assert.same({ plan:id(1), plan:id(2) }, fetch_ids())
    assert.same({ "missing", "missing" }, requeue())
  end)

  for name, ask in pairs {
    retry = function()
      retry()
    end,
    requeue = function()
      requeue()
    end,
  } do
    it("wakes a worker when a " .. name .. " is more than one call", function()
      s = shard.new(1, { flow_steps_max = 2 })
      s:register(A)
      finish(fail_two(), "Sdone")
      s:work_off()
      s:redis("DEL", "b:" .. A)
      ask()
      assert.equal(1, s:redis("EXISTS", "gq"))
      assert.same({ "" }, s:redis("LRANGE", "b:" .. A, 0, -1))
    end)
  end

  it("has no outcome of its end any more, however large it is", function()
    s = shard.new(1, { flow_steps_max = 4 })
    s:register(A)
    for i = 1, 20 do
      plan:node { after = i > 1 and { { "f", i - 1 } } or nil }
    end
    plan:send(s)
    finish(s:take(A, 1)[1], "F\x80")
    s:work_off()
    retry()
    assert.equal("=" .. plan:id(20), outcome(plan:id(20)))
    assert.equal("=" .. plan:id(0), outcome(plan:id(0)))
    s:work_off()
    assert.same({ plan:id(1) }, fetch_ids())
  end)

  it("ends although a node is revoked while it is set up", function()
    s = shard.new(1, { flow_steps_max = 2 })
    s:register(A)
    plan:node {}
    plan:node { after = { { "f", 1 } } }
    plan:node { after = { { "f", 2 } } }
    plan:send(s)
    s:work_off()
    finish(s:take(A, 1)[1], "F\x80")
    s:work_off()
    retry()
    while outcome(plan:id(1)):sub(1, 1) ~= "=" do
      s:call("promote", 10)
    end
    cancel(plan:id(1))
    assert.equal(1, s:redis("EXISTS", "gq"))
    s:work_off()
    for i = 2, 3 do
      assert.matches("DependencyFailed.*" .. plan:id(1), outcome(plan:id(i)))
    end
    assert.matches("DependencyFailed.*" .. plan:id(1), outcome(plan:id(0)))
  end)
end)

describe("A task whose delegate ends with a node that is skipped", function()
  it("is skipped as well, and so is what needs it", function()
    local s = shard.new()
    s:register(A)
    local plan = flow_plan.new("flow")
    plan:node {}
    plan:node { after = { { "f", 1 } } }
    plan:send(s)
    local delegate = flow_plan.new("delegate")
    delegate.delegate = plan:id(1)
    delegate:node {}
    delegate:node { after = { { "e", 1 } }, delegate = 0 }
    delegate:send(s)
    local envelopes, number = s:fetch(A, 2)
    local fields = {}
    for k, bytes in ipairs(envelopes) do
      fields[k] = envelope.field(bytes, number)
    end
    s:finish(A, "w", fields[1], delegate.producer)
    s:finish(A, "o", fields[2], "Sdone")
    for i = 1, 2 do
      assert.matches("Skipped", s:call("outcome", plan:id(i))[1], 1, true)
    end
    assert.equal("S\xc0", s:call("outcome", plan:id(0))[1])
    assert.equal(1, s:counter("default", "revoked"))
  end)
end)
