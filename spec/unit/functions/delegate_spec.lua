-- A task that lets a flow end it: the operation `w` of te1_finish, and edges of
-- kind `d`.

local envelope = require("spec.support.envelope")
local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local ANSWER <const>, FAILED <const> = "Sanswer", "F\x81\xa4kind\xa5Error"
local REVOKED <const> = "R\x80"
local LOST_FAILS <const> = 2

describe("A task that delegates", function()
  local s, delegate

  before_each(function()
    s = shard.new()
    s:register(A)
    delegate = flow_plan.new("delegate", { ttl_s = 60 })
  end)

  local function outcome(id)
    return s:call("outcome", id)[1]
  end

  -- A delegate of some steps, one after the other, that ends a task.
  local function send_delegate(id, steps)
    delegate.delegate = id
    for i = 1, steps or 1 do
      delegate:node {
        after = i > 1 and { { "f", i - 1 } } or nil,
        delegate = i == (steps or 1) and 0 or nil,
      }
    end
    assert.equal(0, delegate:send(s)[2])
  end

  -- A task outside of any flow that runs: its id and its field.
  local function begin_plain()
    local id = s:producer("p"):plain(1)[1]
    return id, s:take(A, 1)[1]
  end

  -- The same for the first of two nodes; also their flow.
  local function begin_node()
    local plan = flow_plan.new("own", { ttl_s = 60 })
    plan:node {}
    plan:node { after = { { "f", 1 } } }
    plan:send(s)
    return plan:id(1), s:take(A, 1)[1], plan
  end

  local function delegates(field)
    return s:finish(A, "w", field, delegate.producer)
  end

  -- Runs one task to its end; returns its id.
  local function run_next(record)
    local field = s:take(A, 1)[1]
    if field then
      s:finish(A, "o", field, record or ANSWER)
      return field:sub(1, 20)
    end
  end

  -- What there is of tasks that delegate.
  local function traces()
    return s:redis("EXISTS", "gl", shard.PREFIX .. "gd:" .. delegate.producer,
      shard.PREFIX .. "f:" .. A)
  end

  -- Nothing is open, and nothing is left when its time is over.
  local function assert_leaves_nothing()
    assert.same({}, s:fetch(A, 10))
    assert.equal(0, traces())
    s:advance(8 * 86400000)
    s:register(A)
    s:call("heartbeat", A, 15000, "default")
    s:call("leave", A)
    assert.same({ "q", "s:default" }, s:keys())
  end

  describe("ends", function()
    it("as the flow that it delegated to", function()
      local id, field = begin_plain()
      s:call("await", "a:me", id)
      send_delegate(id, 2)
      assert.equal(1, delegates(field))
      assert.equal(0, s:redis("EXISTS", "f:" .. A))
      run_next("Sfirst")
      assert.equal("=" .. id, outcome(id))
      run_next()
      assert.equal(ANSWER, outcome(id))
      assert.same({ id .. ANSWER }, s:heard("a:me"))
      assert.equal(3, s:counter("default", "done"))
      assert_leaves_nothing()
    end)

    it("when it says so, where the flow has ended before", function()
      local id, field = begin_plain()
      send_delegate(id)
      run_next()
      assert.equal("=" .. id, outcome(id))
      assert.equal(1, delegates(field))
      assert.equal(ANSWER, outcome(id))
      assert_leaves_nothing()
    end)

    it("also where its end is still to be told", function()
      s = shard.new(1, { flow_steps_max = 2 })
      s:register(A)
      local id, field = begin_plain()
      delegate.delegate = id
      for i = 1, 3 do
        delegate:node { virtual = true, delegate = i == 3 and 0 or nil }
      end
      delegate:send(s)
      while s:redis("HGET", "g:" .. delegate.producer, "state") ~= "done" do
        s:call("promote", 1)
      end
      assert.equal(1, s:redis("EXISTS", "gq"))
      assert.equal(1, delegates(field))
      assert.equal("=" .. id, outcome(id))
      s:work_off()
      assert.equal("G\0\0\0\0\x91\x90", outcome(id))
    end)

    it("once, told twice", function()
      local id, field = begin_plain()
      send_delegate(id)
      assert.equal(1, delegates(field))
      assert.equal(0, delegates(field))
      run_next()
      assert.equal(0, delegates(field))
      assert.equal(0, s:finish(A, "o", field, "Sother"))
      assert.equal(ANSWER, outcome(id))
      assert.equal(2, s:counter("default", "done"))
      assert_leaves_nothing()
    end)

    it("with what a delegate of the delegate ends as", function()
      local id, field = begin_plain()
      send_delegate(id)
      delegates(field)
      local inner, between = delegate:id(1), s:take(A, 1)[1]
      delegate = flow_plan.new("inner", { ttl_s = 60 })
      send_delegate(inner)
      delegates(between)
      assert.equal(delegate:id(1), run_next())
      assert.same({ ANSWER, ANSWER }, { outcome(inner), outcome(id) })
      assert_leaves_nothing()
    end)

    it("as one that failed, and can be run again", function()
      local id, field = begin_plain()
      send_delegate(id)
      delegates(field)
      run_next(FAILED)
      assert.equal(FAILED, outcome(id))
      assert.same({ delegate:id(1), id }, s:redis("ZRANGE", "x", 0, -1))
      assert.same({ "requeued" }, s:call("requeue", id, ""))
      assert.equal(id, run_next("Sagain"))
      assert.equal("Sagain", outcome(id))
    end)

    it("with the first cause, where that was not the last step", function()
      local id, field = begin_plain()
      send_delegate(id, 2)
      delegates(field)
      run_next(FAILED)
      assert.matches("DependencyFailed.*" .. delegate:id(1) .. ".*Error",
        outcome(id))
      assert.same({}, s:fetch(A, 10))
    end)
  end)

  it("runs again where that flow is not there any more", function()
    local id, field = begin_plain()
    assert.equal(1, delegates(field))
    assert.equal(0, traces())
    local again = envelope.read(s:fetch(A, 1)[1])
    assert.same({ id, 1, 1 }, { again.id, again.delivery, again.deaths })
  end)

  describe("to what is never there", function()
    local GONE <const> = "F\x82\xa4kind\xa9Forgotten\xa7message"
      .. "\xd9\x28the flow that was to end it is not there"

    it("fails at the third time", function()
      local id, field = begin_plain()
      for _ = 1, 2 do
        delegates(field)
        field = s:take(A, 1)[1]
        assert.equal(id, field:sub(1, 20))
      end
      delegates(field)
      assert.same({}, s:fetch(A, 1))
      assert.same({ GONE, 1 }, { outcome(id), s:counter("default", "failed") })
      assert_leaves_nothing()
    end)

    it("fails at once where it may not run twice", function()
      local id = s:producer("p"):plain(1, { flags = LOST_FAILS })[1]
      delegates(s:take(A, 1)[1])
      assert.equal(GONE, outcome(id))
    end)

    it("fails its flow, too", function()
      local id, field, plan = begin_node()
      for _ = 1, 3 do
        delegates(field)
        field = s:take(A, 1)[1]
      end
      assert.is_nil(field)
      assert.equal(GONE, outcome(id))
      assert.matches("DependencyFailed.*" .. id, outcome(plan:id(2)))
    end)

    it("ends as its flow, where that was revoked", function()
      local id, field, plan = begin_node()
      plan:revoke(s, "w")
      delegates(field)
      assert.equal(REVOKED, outcome(id))
    end)
  end)

  describe("in a flow", function()
    it("holds back what needs it, until it has an outcome", function()
      local id, field, plan = begin_node()
      send_delegate(id)
      delegates(field)
      assert.equal("g", s:call("flow_look", plan.producer, "c", 1, 1):sub(1, 1))
      assert.equal("flow", s:call("state", 1, id)[1][2])
      assert.equal(delegate:id(1), run_next())
      local envelopes, number = s:fetch(A, 1)
      assert.equal(string.pack(">I4s4", 1, ANSWER) .. "\x91\x90",
        envelope.read(envelopes[1]).body)
      s:finish(A, "o", envelope.field(envelopes[1], number), "Slast")
      assert.same({ ANSWER, "Slast", "S\xc0" },
        { outcome(id), outcome(plan:id(2)), outcome(plan:id(0)) })
      assert_leaves_nothing()
    end)

    it("does so when the end came first, too", function()
      local id, field, plan = begin_node()
      send_delegate(id)
      assert.equal(delegate:id(1), run_next())
      assert.same({}, s:fetch(A, 1))
      delegates(field)
      assert.equal(plan:id(2), run_next("Slast"))
      assert.equal("S\xc0", outcome(plan:id(0)))
      assert_leaves_nothing()
    end)

    it("fails what needs it and its flow, with the first cause", function()
      local id, field, plan = begin_node()
      send_delegate(id, 2)
      delegates(field)
      run_next(FAILED)
      for _, each in ipairs { id, plan:id(2), plan:id(0) } do
        assert.matches("DependencyFailed.*" .. delegate:id(1), outcome(each))
      end
      assert.same({ delegate:id(1) }, s:redis("ZRANGE", "x", 0, -1))
      assert.same({}, s:fetch(A, 10))
      assert.equal("retried", s:call("flow_retry", plan.producer))
      assert.equal(id, run_next("Sagain"))
      assert.equal(plan:id(2), run_next("Slast"))
      assert.equal("S\xc0", outcome(plan:id(0)))
    end)

    it("delegates anew when its flow is retried", function()
      local id, field, plan = begin_node()
      send_delegate(id)
      delegates(field)
      run_next(FAILED)
      assert.equal("retried", s:call("flow_retry", plan.producer))
      local again = s:take(A, 1)[1]
      assert.equal(id, again:sub(1, 20))
      delegate = flow_plan.new("second", { ttl_s = 60 })
      send_delegate(id)
      delegates(again)
      assert.equal(delegate:id(1), run_next())
      assert.equal(plan:id(2), run_next("Slast"))
      assert.same({ ANSWER, "Slast" }, { outcome(id), outcome(plan:id(2)) })
    end)
  end)

  -- Nothing of the delegate begins any more, and it has ended.
  local function assert_delegate_revoked()
    assert.same({}, s:fetch(A, 10))
    assert.equal(0, s:redis("EXISTS", "gc"))
    assert.same({ REVOKED, REVOKED },
      { outcome(delegate:id(1)), outcome(delegate:id(0)) })
  end

  describe("that is revoked", function()
    it("while it waits for the delegate, ends with it", function()
      local id, field = begin_plain()
      send_delegate(id, 2)
      delegates(field)
      assert.same({ "revoked" }, s:call("cancel", REVOKED, 60, id))
      assert_delegate_revoked()
      assert.equal(REVOKED, outcome(id))
      assert_leaves_nothing()
    end)

    it("while its node waits for the delegate, ends with it", function()
      local id, field, plan = begin_node()
      send_delegate(id, 2)
      delegates(field)
      assert.same({ "revoked" }, s:call("cancel", REVOKED, 60, id))
      assert_delegate_revoked()
      assert.equal(REVOKED, outcome(id))
      assert.matches("DependencyFailed", outcome(plan:id(2)), 1, true)
      assert_leaves_nothing()
    end)

    it("while it is about to delegate, needs no delegate", function()
      local id, field = begin_plain()
      send_delegate(id, 2)
      assert.same({ "asked" }, s:call("revoke", REVOKED, 60, "c", id))
      assert.equal(1, delegates(field))
      assert_delegate_revoked()
      assert.equal(REVOKED, outcome(id))
      assert_leaves_nothing()
    end)

    for mode, means in pairs { c = "end", t = "be killed" } do
      it("while it is about to delegate, has both " .. means, function()
        local id, field = begin_plain()
        send_delegate(id)
        s:take(A, 1)
        s:call("revoke", REVOKED, 60, mode, id)
        delegates(field)
        assert.equal(mode, s:redis("HGET", "g:" .. delegate.producer, "mode"))
      end)
    end
  end)

  for _, mode in ipairs { "c", "t" } do
    it("is revoked with its delegate as it was asked: " .. mode, function()
      local id, field = begin_plain()
      send_delegate(id)
      delegates(field)
      assert.same({ "revoked" }, s:call("revoke", REVOKED, 60, mode, id))
      assert.equal(mode, s:redis("HGET", "g:" .. delegate.producer, "mode"))
    end)
  end

  it("lets what runs of its delegate go on when it is cancelled", function()
    local id, field = begin_plain()
    send_delegate(id, 2)
    delegates(field)
    s:take(A, 1)
    assert.same({ "revoked" }, s:call("cancel", REVOKED, 60, id))
    assert.equal(0, s:redis("EXISTS", "cr:" .. A))
  end)

  describe("in a flow that is revoked", function()
    for mode, means in pairs {
      w = "what waits is to end", c = "what runs is to end, too",
    } do
      it("while it waits for the delegate, ends with it: " .. means, function()
        local id, field, plan = begin_node()
        send_delegate(id, 2)
        delegates(field)
        plan:revoke(s, mode)
        assert_delegate_revoked()
        assert.same({ REVOKED, REVOKED, REVOKED },
          { outcome(id), outcome(plan:id(2)), outcome(plan:id(0)) })
        assert_leaves_nothing()
      end)

      it("while it is about to delegate, needs none: " .. means, function()
        local id, field, plan = begin_node()
        send_delegate(id, 2)
        plan:revoke(s, mode)
        assert.equal(1, delegates(field))
        assert_delegate_revoked()
        assert.same({ REVOKED, REVOKED, REVOKED },
          { outcome(id), outcome(plan:id(2)), outcome(plan:id(0)) })
        assert_leaves_nothing()
      end)
    end

    it("keeps the outcome of a delegate that had begun", function()
      local id, field, plan = begin_node()
      send_delegate(id)
      delegates(field)
      local running = s:take(A, 1)[1]
      plan:revoke(s, "w")
      s:finish(A, "o", running, ANSWER)
      assert.same({ ANSWER, REVOKED, REVOKED },
        { outcome(delegate:id(1)), outcome(id), outcome(plan:id(0)) })
      assert_leaves_nothing()
    end)
  end)

  it("outlives the worker that ran it", function()
    local id, field = begin_plain()
    send_delegate(id)
    delegates(field)
    s:call("reap", A, "1", FAILED, "-")
    s:register(A)
    assert.equal(delegate:id(1), run_next())
    assert.equal(ANSWER, outcome(id))
  end)
end)
