-- Flows that are revoked.

local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const>, B <const>, C <const> =
  "workerAAAAAA", "workerBBBBBB", "workerCCCCCC"

describe("A flow that is revoked", function()
  local s, plan

  before_each(function()
    s, plan = shard.serving(A), flow_plan.new("flow")
  end)

  local function outcome(i)
    return s:call("outcome", plan:id(i))[1]
  end

  local function has_ended(i)
    return outcome(i) ~= "=" .. plan:id(i)
  end

  local function assert_none_of(...)
    for _, key in ipairs { ... } do
      assert.equal(0, s:redis("EXISTS", key), key)
    end
  end

  it("begins nothing more", function()
    local a = plan:node {}
    plan:node {}
    plan:node { after = { { "f", a } } }
    plan:node { delay_ms = 5000 }
    plan:send(s)
    local field = s:take(A, 1)[1]
    assert.equal("revoked", plan:revoke(s, "w"))
    assert.equal("finished", plan:revoke(s, "w"))
    assert.same({}, s:fetch(A, 10))
    s:finish(A, "o", field, "S1")
    assert.same({ "S1", "R\x80", "R\x80", "R\x80", "R\x80" },
      { outcome(1), outcome(2), outcome(3), outcome(4), outcome(0) })
    assert.equal(0, s:redis("EXISTS", "gc"))
    assert.equal(0, s:redis("EXISTS", "z"))
  end)

  describe("while nodes of it are ready", function()
    before_each(function()
      plan:node { after = { { "c", plan:node {} }, { "c", plan:node {} } } }
      plan:send(s)
      s:call("await", "a:me", plan:id(1), plan:id(2), plan:id(0))
    end)

    local function assert_all_revoked()
      for i = 0, 3 do
        assert.equal("R\x80", outcome(i))
      end
      assert_none_of("gc", "gq")
    end

    it("ends these, though no worker comes to them", function()
      assert.equal("revoked", plan:revoke(s, "w"))
      assert_all_revoked()
      assert.same({ plan:id(1) .. "R\x80", plan:id(2) .. "R\x80",
        plan:id(0) .. "R\x80" }, s:heard("a:me"))
      assert.same({ plan:id(1), plan:id(2) }, s:ready("default"))
    end)

    it("hands none of them out, and counts each once", function()
      plan:revoke(s, "w")
      assert.equal(0, s:counter("default", "revoked"))
      assert.same({}, s:fetch(A, 10))
      assert.equal(2, s:counter("default", "revoked"))
      assert.equal(0, s:redis("EXISTS", "cx"))
    end)

    it("runs each once when it is done again before they came out", function()
      plan:revoke(s, "w")
      assert.equal("retried", s:call("flow_retry", plan.producer))
      assert.equal(4, #s:ready("default"))
      for i, field in ipairs(s:take(A, 10)) do
        assert.equal(plan:id(i), field:sub(1, 20))
        s:finish(A, "o", field, "S1")
      end
      s:finish(A, "o", s:take(A, 10)[1], "S1")
      assert.equal("S\xC0", outcome(0))
      assert.equal(0, s:redis("EXISTS", "cx"))
    end)

    it("buries none of them where somebody has deleted the list", function()
      s:redis("DEL", "r:default")
      plan:revoke(s, "w")
      assert_all_revoked()
      assert_none_of("cx")
    end)

    it("leaves those to end when they come out that are too many", function()
      s = shard.serving(A, { buried_max = 1 })
      plan:send(s)
      plan:revoke(s, "w")
      assert.same({ true, false, true },
        { has_ended(1), has_ended(2), has_ended(3) })
      assert.same({ plan.producer }, s:redis("SMEMBERS", "gc"))
      assert.same({}, s:fetch(A, 10))
      assert_all_revoked()
    end)
  end)

  describe("while a worker has a node of it in hand", function()
    local field

    before_each(function()
      plan:node {}
      plan:send(s)
      field = s:take(A, 1)[1]
    end)

    -- It stands nowhere any more.
    local function assert_ended()
      assert.same({ "R\x80", "R\x80" }, { outcome(1), outcome(0) })
      assert.equal(1, s:counter("default", "revoked"))
      assert_none_of("r:default", "z", "gc", "cx")
    end

    it("leaves it to go on", function()
      plan:revoke(s, "w")
      assert_none_of("cr:" .. A, "cx")
      s:finish(A, "o", field, "S1")
      assert.same({ "S1", "R\x80" }, { outcome(1), outcome(0) })
    end)

    for what, operation in pairs {
      ["is handed back"] = { "h" }, ["is handed back late"] = { "b" },
      ["is lost"] = { "l", "F\x80" }, ["is refused"] = { "n", "F\x80" },
    } do
      it("ends it when it " .. what, function()
        plan:revoke(s, "w")
        s:finish(A, operation[1], field, operation[2])
        assert_ended()
      end)
    end

    it("ends it when that worker is gone", function()
      plan:revoke(s, "w")
      s:call("reap", A, "1", "F\x80", "-")
      assert_ended()
    end)
  end)

  it("ends what lies unread in the bell of a worker", function()
    s:call("fetch", A, 15000, 1, 1, 3, "default")
    plan:node {}
    plan:send(s)
    assert.same({ 1, plan:id(1) }, s:bell(A))
    plan:revoke(s, "w")
    assert.is_false(has_ended(1))
    s:register(B)
    assert.same({ "R\x80", "R\x80" }, { outcome(1), outcome(0) })
    assert_none_of("r:default", "gc", "cx")
  end)

  it("ends what is to run again, without waiting for its time", function()
    plan:node {}
    plan:node { parts = { priority = 3 } }
    plan:send(s)
    local fields = s:take(A, 2)
    assert.equal("revoked", plan:revoke(s, "w"))
    for _, field in ipairs(fields) do
      assert.equal(1, s:finish(A, "r", field,
        string.pack(">I8Bs4", 5000, 1, "") .. "F1"))
    end
    assert.same({ "R\x80", "R\x80", "R\x80" },
      { outcome(1), outcome(2), outcome(0) })
    assert.equal(0, s:redis("EXISTS", "z", "te:{default.0}:t"))
    assert.equal(2, s:counter("default", "revoked"))
    assert.equal(0, s:counter("default", "retried"))
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

  it("tells who cancels its nodes, too, which of them went with it", function()
    local a = plan:node {}
    plan:node {}
    plan:node { after = { { "f", a } } }
    plan:node {}
    plan:send(s)
    s:finish(A, "o", s:take(A, 1)[1], "S1")
    s:take(A, 1)
    local function cancel(record, ...)
      return s:call("cancel", record, 60, ...)
    end
    assert.same({ "revoked" }, cancel("R\x80", plan:id(0)))
    s:fetch(A, 10) -- drops node 4
    for _ = 1, 2 do
      assert.same({ "finished", "running", "revoked", "revoked" },
        cancel("R\x80", plan:id(1), plan:id(2), plan:id(3), plan:id(4)))
    end
    assert.same({ "finished", "finished" },
      cancel("R\x81", plan:id(3), plan:id(4)))
    assert.equal("finished", revoke(plan:id(3)))
  end)

  it("can be hastened, once", function()
    plan:node {}
    plan:send(s)
    local field = s:take(A, 1)[1]
    local function ask(mode)
      local answer = plan:revoke(s, mode)
      return { answer, s:redis("HGET", "cr:" .. A, field) }
    end
    assert.same({ "revoked", "cR\x80" }, ask("c"))
    assert.same({ "finished", "cR\x80" }, ask("c"))
    assert.same({ "revoked", "tR\x80" }, ask("t"))
    assert.same({ "finished", "tR\x80" }, ask("t"))
    assert.same({ "finished", "tR\x80" }, ask("c"))
  end)

  it("goes by its id before it is sealed", function()
    plan:node {}
    s:call("flow", plan.producer, 2, 1, 60, "", "", "",
      table.unpack(plan:pieces()))
    assert.equal("revoked", revoke(plan:id(0)))
    assert.equal("unknown", revoke(plan:id(0)))
  end)

  it("ends no more nodes in a call than that may do", function()
    s = shard.new(1, { flow_steps_max = 63 })
    for _ = 1, 30 do
      plan:node {}
    end
    plan:send(s)
    s:work_off()
    assert.equal("revoked", plan:revoke(s, "w"))
    assert.equal(63 // 7, s:redis("ZCARD", "cx")) -- 7 steps for each
    s:work_off()
    assert.equal(30, s:redis("ZCARD", "cx"))
  end)

  describe("with many nodes that are ready", function()
    local MANY <const> = 100

    -- How often anybody looks through what is in flight.
    local function count_looks()
      local looks = 0
      s:watch(function(_, command, key)
        if command == "HKEYS" and key:find(":f:", 1, true) then
          looks = looks + 1
        end
      end)
      return function()
        return looks
      end
    end

    before_each(function()
      s = shard.new(1, { flow_steps_max = 10 })
      for _, wid in ipairs { A, B, C } do
        s:register(wid)
      end
      for _ = 1, MANY do
        plan:node {}
      end
      plan:send(s)
      s:work_off(3 * MANY)
    end)

    it("looks at what each worker has in hand once", function()
      local fields = {
        [A] = s:take(A, 1)[1], [B] = s:take(B, 1)[1], [C] = s:take(C, 1)[1],
      }
      local looks = count_looks()
      assert.equal("revoked", plan:revoke(s, "c"))
      assert.is_true(s:work_off(3 * MANY) > 10)
      assert.equal(3, looks())
      for wid, field in pairs(fields) do
        assert.equal("cR\x80", s:redis("HGET", "cr:" .. wid, field))
        local heard = table.concat(s:heard("b:" .. wid))
        assert.equal("~c" .. field, heard)
      end
    end)

    it("asks for nothing when only what waits is to end", function()
      local field = s:take(A, 1)[1]
      local looks = count_looks()
      assert.equal("revoked", plan:revoke(s, "w"))
      s:work_off(3 * MANY)
      assert.equal(3, looks())
      assert.equal(0, s:redis("EXISTS", "cr:" .. A))
      assert.is_false(has_ended(1))
      assert.equal("R\x80", outcome(MANY))
      s:finish(A, "o", field, "S1")
      assert.same({ "S1", "R\x80" }, { outcome(1), outcome(0) })
    end)
  end)

  describe("by the call that has released nodes of it before", function()
    local OUTER <const>, X <const>, INNER <const> = 80, 79, 78
    local outer, running

    -- What one call does is 300 steps: the end of node 1 releases all but the
    -- last few; these, and the revocation of the task that waits for the flow,
    -- are left to one and the same call.
    local function leave_both(parts)
      s = shard.new(1, { flow_steps_max = 300 })
      s:register(A)
      outer = flow_plan.new("outer")
      for _ = 1, OUTER do
        outer:node {}
      end
      outer:send(s)
      s:work_off()
      local fields = s:take(A, OUTER)
      plan:node {}
      for _ = 2, INNER do
        plan:node { after = { { "f", 1 } }, parts = parts }
      end
      plan:send(s)
      s:finish(A, "w", fields[X], plan.producer)
      s:finish(A, "o", s:take(A, 1)[1], "S1")
      local left = s:redis("LPOP", "gq")
      running = s:take(A, INNER)
      assert.is_true(#running < INNER - 1)
      s:redis("RPUSH", "gq", left)
      for _, field in ipairs(running) do
        s:finish(A, "o", field, "S1")
      end
      outer:revoke(s, "w")
      assert.equal(2, s:redis("LLEN", "gq"))
    end

    local function assert_revoked()
      assert.same({}, s:fetch(A, INNER))
      assert.equal("R\x80", outcome(INNER))
      assert.equal("R\x80", outcome(0))
      assert_none_of("cx")
    end

    it("begins none of these", function()
      leave_both()
      s:work_off()
      assert_revoked()
    end)

    it("hands none of these out, nor leaves anything of them", function()
      leave_both { expiry_ms = 60000 } -- so they come into a queue first
      assert.same({}, s:fetch(A, INNER))
      assert.equal("R\x80", outcome(INNER))
      assert_none_of("cx")
    end)
  end)

  describe("twice before its nodes came out", function()
    before_each(function()
      plan = flow_plan.new("flow", { ttl_s = 60 })
      plan:node { parts = { queue = "other" } }
      plan:send(s)
      plan:revoke(s, "w")
    end)

    local function fetch()
      return s:fetch(A, 10, { queues = { "other" } })
    end

    local function revoke_again()
      assert.equal("retried", s:call("flow_retry", plan.producer))
      assert.equal("revoked", plan:revoke(s, "w"))
    end

    it("never begins them, when it is not kept any more either", function()
      revoke_again()
      assert.same({ plan:id(1), plan:id(1) }, s:ready("other"))
      s:advance(61000)
      s:register(A, "other")
      s:call("heartbeat", A, 15000, "other")
      assert_none_of("g:" .. plan.producer)
      assert.same({}, fetch())
      assert_none_of("cx", "cb")
    end)

    it("forgets how often when no list is left", function()
      revoke_again()
      assert.equal(1, s:redis("EXISTS", "cb"))
      s:redis("DEL", "r:other")
      s:call("heartbeat", A, 15000, "default")
      assert_none_of("cx", "cb")
    end)

    it("begins to count when somebody has deleted the tombstones", function()
      revoke_again()
      s:redis("DEL", "cx")
      revoke_again()
      assert_none_of("cb")
    end)

    it("says that they have ended for as long as it is kept", function()
      s:advance(60500)
      assert.equal(0, s:redis("EXISTS", "v:" .. plan:id(1):sub(1, 19)))
      assert.same({ "finished" }, s:call("cancel", "R\x81", 60, plan:id(1)))
      assert_none_of("cb")
    end)

    it("takes a purge no longer than others", function()
      for i = 1, 300 do
        local one = flow_plan.new(("flow%04d"):format(i))
        one:node { parts = { queue = "other" } }
        one:send(s)
        one:revoke(s, "w")
      end
      local seen, purged, revoked = table.unpack(
        s:call("purge", "R\x80", 1000, "other"))
      assert.same({ 200, 0, 200 }, { seen, purged, revoked })
      assert.same({ 101, 0, 101, 0 },
        s:call("purge", "R\x80", 1000, "other"))
    end)
  end)

  it("asks also who is not known to live any more", function()
    plan:node {}
    plan:send(s)
    local field = s:take(A, 1)[1]
    s:redis("DEL", "w")
    s:register(B)
    plan:revoke(s, "c")
    assert_none_of("cx")
    assert.equal("cR\x80", s:redis("HGET", "cr:" .. A, field))
    s:call("reap", A, "0", "F\x80", "-")
    assert.same({ "R\x80", "R\x80" }, { outcome(1), outcome(0) })
  end)

  it("is dropped by a fetch in portions, of many flows as of one", function()
    local COUNT <const> = 300
    for i = 1, COUNT do
      local one = flow_plan.new(("flow%04d"):format(i))
      one:node {}
      one:send(s)
      one:revoke(s, "w")
    end
    assert.equal(COUNT, s:redis("ZCARD", "cx"))
    assert.same({}, s:fetch(A, 10))
    assert.equal(COUNT - 200, s:redis("ZCARD", "cx"))
    assert.same({}, s:fetch(A, 10))
    assert.equal(0, s:redis("EXISTS", "cx"))
  end)

  it("takes a fetch no longer for what it drops of it, too", function()
    local COUNT <const>, NODES_MAX <const> = 1200, 150
    for _ = 1, COUNT do
      plan:node {}
    end
    plan:send(s)
    for _ = 1, COUNT do
      s:call("promote", 1)
    end
    -- To which node it has come that ends what waits.
    local function node()
      return tonumber(s:redis("LINDEX", "gq", 0):match("x(%d+) 0$"))
    end
    plan:revoke(s, "w")
    local before = node()
    assert.equal(COUNT, #s:ready("default"))
    assert.same({}, s:fetch(A, 10))
    assert.is_true(#s:ready("default") < COUNT)
    assert.is_true(node() > before and node() <= before + NODES_MAX)
  end)
end)
