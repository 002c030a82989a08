-- What is told of a flow from te1_flow_retry on, also while other work stands
-- before that of doing it again.

local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const>, CELL_BYTES <const> = "workerAAAAAA", 12
local FAILED <const>, REVOKED <const> = "F\x80", "R\x80"
local OTHERS <const> = 40 -- more than one call begins

describe("A flow that is to be done again", function()
  local s, plan, others

  -- Calls of functions that do no more than they are told.
  before_each(function()
    s = shard.new(1, { flow_steps_max = 2 })
    s:register(A)
    plan, others = flow_plan.new("flow"), 0
  end)

  local function work_off()
    while s:redis("EXISTS", "gq") == 1 do
      s:call("promote", 10)
    end
  end

  local function finish(field, record)
    assert.equal(1, s:finish(A, "o", field, record))
    work_off()
  end

  local function outcome(id)
    return s:call("outcome", id)[1]
  end

  local function retry()
    return s:call("flow_retry", plan.producer)
  end

  -- From now on there is other work, ahead of all that is to come.
  local function keep_busy()
    others = others + 1
    local other = flow_plan.new("other" .. others)
    for _ = 1, OTHERS do
      other:node {}
    end
    other:send(s)
    assert.equal(1, s:redis("EXISTS", "gq"))
  end

  -- Node 1 has succeeded, 2 has failed, and for it 3 and 4; 5 was skipped.
  local function fail()
    plan:node {}
    plan:node {}
    plan:node { after = { { "f", 1 }, { "f", 2 } } }
    plan:node { after = { { "f", 3 } } }
    plan:node { after = { { "e", 1 } } }
    plan:send(s)
    work_off()
    local fields = s:take(A, 2)
    finish(fields[1], "Sone")
    finish(fields[2], FAILED)
  end

  -- Nothing of it has been seen to.
  local function retry_behind_others()
    keep_busy()
    assert.equal("retried", retry())
    assert.matches("^other", s:redis("LINDEX", "gq", 0))
  end

  -- The queue's tasks, but for those of others.
  local function take_own()
    work_off()
    local own = {}
    for _, field in ipairs(s:take(A, 2 * OTHERS)) do
      if field:sub(1, 12) == plan.producer then
        own[#own + 1] = field
      else
        s:finish(A, "o", field, "Sother")
      end
    end
    return own
  end

  describe("behind other work", function()
    before_each(function()
      fail()
      retry_behind_others()
    end)

    for name, ask in pairs {
      outcome = function(id)
        return s:call("outcome", id)[1]
      end,
      look = function(id)
        return s:call("look", id)[1]
      end,
      await = function(id)
        return s:call("await", "a:me", id)[1]
      end,
      state = function(id)
        local known = s:call("state", 1, id)[1]
        return known[2] == "flow" and known[1] or known
      end,
    } do
      it("has no failure for who asks te1_" .. name, function()
        for i = 2, 5 do
          assert.equal("=" .. plan:id(i), ask(plan:id(i)))
        end
        assert.equal("=" .. plan:id(0), ask(plan:id(0)))
        assert.equal("Sone", ask(plan:id(1)))
      end)
    end

    it("has no node that seems to have failed", function()
      local cells = s:call("flow_look", plan.producer, "c", 1, 5)
      assert.equal("d", cells:sub(1, 1))
      assert.equal(("\0"):rep(4 * CELL_BYTES), cells:sub(CELL_BYTES + 1))
      assert.equal(("\0"):rep(3 * CELL_BYTES),
        s:call("flow_look", plan.producer, "c", 3, 3))
    end)

    it("has none at any time until they run", function()
      while s:redis("EXISTS", "gq") == 1 do
        for i = 2, 4 do
          assert.equal("=" .. plan:id(i), outcome(plan:id(i)))
        end
        s:call("promote", 10)
      end
      local fields = take_own()
      assert.same(plan:id(2), fields[1]:sub(1, 20))
      finish(fields[1], "Stwo")
      assert.equal("Stwo", outcome(plan:id(2)))
    end)

    it("tells who waits of the new end alone", function()
      s:call("await", "a:me", plan:id(4), plan:id(5), plan:id(0))
      finish(take_own()[1], "F\x81again")
      local heard = s:heard("a:me")
      assert.equal(3, #heard)
      assert.matches("Skipped", heard[1], 1, true)
      assert.matches("again", heard[2], 1, true)
      assert.matches("again", heard[3], 1, true)
    end)

    it("is not to be done again twice", function()
      assert.equal("running", retry())
      finish(take_own()[1], "Stwo")
      finish(s:take(A, 1)[1], "Sthree")
      finish(s:take(A, 1)[1], "Sfour")
      assert.equal("S\xc0", outcome(plan:id(0)))
      assert.equal("nothing", retry())
    end)

    it("is revoked like any other", function()
      s:call("await", "a:me", plan:id(4))
      assert.equal("revoked", plan:revoke(s, "c"))
      assert.equal("=" .. plan:id(4), outcome(plan:id(4)))
      assert.same({}, take_own())
      assert.same({ plan:id(4) .. REVOKED }, s:heard("a:me"))
      for i = 2, 4 do
        assert.equal(REVOKED, outcome(plan:id(i)))
      end
    end)

    it("has nodes that may be revoked, and never run then", function()
      s:call("await", "a:me", plan:id(2), plan:id(4))
      assert.same({ "revoked", "finished" },
        s:call("revoke", REVOKED, 60, "w", plan:id(2), plan:id(2)))
      assert.same({ plan:id(2) .. REVOKED }, s:heard("a:me"))
      assert.equal(REVOKED, outcome(plan:id(2)))
      assert.same({}, take_own())
      assert.equal(REVOKED, outcome(plan:id(2)))
      assert.matches("needs the outcome of task " .. plan:id(2),
        outcome(plan:id(4)), 1, true)
      assert.equal(1, #s:heard("a:me"))
    end)

    it("runs what was revoked so when it is done again", function()
      s:call("revoke", REVOKED, 60, "w", plan:id(2))
      take_own()
      retry_behind_others()
      assert.equal("=" .. plan:id(2), outcome(plan:id(2)))
      assert.equal(plan:id(2), take_own()[1]:sub(1, 20))
    end)

    it("may lose how far it has come", function()
      s:redis("HDEL", "g:" .. plan.producer, "passes")
      assert.equal(plan:id(2), take_own()[1]:sub(1, 20))
      assert.equal("=" .. plan:id(4), outcome(plan:id(4)))
    end)

    it("may be said to have come to a node that it has not", function()
      s:redis("HSET", "g:" .. plan.producer, "passes", "999999")
      assert.equal("=" .. plan:id(4), outcome(plan:id(4)))
      assert.equal(plan:id(2), take_own()[1]:sub(1, 20))
    end)
  end)

  it("has not forgotten what failed and was forgotten", function()
    fail()
    assert.equal(2, s:call("forget", plan:id(2), plan:id(4)))
    retry_behind_others()
    s:redis("DEL", "r:default")
    assert.same({ "=" .. plan:id(2), "=" .. plan:id(4) },
      s:call("look", plan:id(2), plan:id(4)))
  end)

  it("says nothing of what was revoked in its queue, and comes out", function()
    plan:node {}
    plan:send(s)
    work_off()
    s:call("cancel", REVOKED, 60, plan:id(1))
    work_off()
    retry_behind_others()
    s:call("await", "a:me", plan:id(1))
    local before = s:counter("default", "revoked")
    s:call("purge", REVOKED, 1, "default")
    assert.equal(before + 1, s:counter("default", "revoked"))
    assert.same({}, s:heard("a:me"))
    assert.equal("=" .. plan:id(1), outcome(plan:id(1)))
  end)

  describe("and to which a task of another delegates", function()
    local outer, field

    before_each(function()
      outer = flow_plan.new("outer")
      outer:node {}
      outer:node {}
      outer:send(s)
      work_off()
      field = s:take(A, 1)[1]
      plan:node { delegate = 0 }
      plan.delegate = outer:id(1)
      plan:send(s)
      work_off()
    end)

    local function delegate()
      assert.equal(1, s:finish(A, "w", field, plan.producer))
      work_off()
    end

    it("leaves that task as it has ended, and its flow to go on", function()
      delegate()
      local fields = s:take(A, 2)
      finish(fields[2], FAILED)
      retry_behind_others()
      assert.equal("=" .. plan:id(1), outcome(plan:id(1)))
      assert.equal(FAILED, outcome(outer:id(1)))
      assert.equal("running", s:call("flow_retry", outer.producer))
      finish(fields[1], "Sdone")
      assert.matches("DependencyFailed", outcome(outer:id(0)), 1, true)
    end)

    it("ends that task anew, which is late", function()
      local fields = s:take(A, 2)
      finish(fields[2], FAILED)
      retry_behind_others()
      assert.equal(1, s:finish(A, "w", field, plan.producer))
      assert.equal("=" .. outer:id(1), outcome(outer:id(1)))
      finish(take_own()[1], "Sdone")
      assert.equal("Sdone", outcome(outer:id(1)))
    end)
  end)
end)
