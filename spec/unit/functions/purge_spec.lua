local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local PURGED <const> = "R\x81\xa4kind\xa7Revoked"
local NO_RESULT <const> = 1

describe("Purging:", function()
  local s, p

  before_each(function()
    s = shard.new()
    p = s:producer("p")
    s:register(A, "default", "other")
  end)

  local function purge(limit, queue)
    return s:call("purge", PURGED, limit, queue or "default")
  end

  local function purge_due(limit, at, id, queue)
    return s:call("purge_due", PURGED, limit, queue or "default", at or "",
      id or "")
  end

  local function outcome(id)
    return s:call("outcome", id)[1]
  end

  describe("te1_purge", function()
    it("takes what is ready, the prioritised before the rest", function()
      local plain = p:plain(3)
      local urgent = p:add { priority = 2 }
      assert.same({ 2, 2, 0, 0 }, purge(2))
      assert.same({ PURGED, PURGED }, { outcome(urgent), outcome(plain[1]) })
      assert.same({ plain[2], plain[3] }, s:ready("default"))
      assert.same({ 2, 2, 0, 0 }, purge(1000))
      assert.same({ 0, 0, 0, 0 }, purge(1000))
      assert.equal(4, s:counter("default", "revoked"))
    end)

    it("takes no more than a thousand at a time", function()
      p:plain(1001)
      assert.same({ 1000, 1000, 0, 0 }, purge(4000))
      assert.equal(1, #s:ready("default"))
    end)

    it("ends a call early where the tasks are large", function()
      local body = ("x"):rep(6 * 1024 * 1024)
      for _ = 1, 9 do
        p:plain(1, { body = body })
      end
      assert.same({ 8, 8, 0, 0 }, purge(1000))
      assert.same({ 1, 1, 0, 0 }, purge(1000))
    end)

    it("leaves other queues, what is due and what runs", function()
      local running = p:plain(1)[1]
      s:take(A, 1)
      local other, due = p:plain(1, { queue = "other" })[1], p:add({},
        { delay = "+9" })
      p:plain(1)
      assert.same({ 1, 1, 0, 0 }, purge(1000))
      for _, id in ipairs { running, other, due } do
        assert.equal("=" .. id, outcome(id))
      end
      assert.equal("finished",
        s:call("cancel", PURGED, 60, envelope.id(p.id, 4))[1])
    end)

    it("tells those who wait", function()
      local kept, none = p:plain(1)[1], p:plain(1, { flags = NO_RESULT })[1]
      s:call("await", "a:client", kept, none)
      purge(1000)
      assert.same({ kept .. PURGED, none .. PURGED }, s:heard("a:client"))
      assert.same({ PURGED, "=" .. none }, { outcome(kept), outcome(none) })
      assert.same({ "-" }, s:call("look", none))
    end)

    it("lets the caller's id go with the outcome", function()
      p:add({ alias = "mine", ttl_s = 60 }, { unique = "umine" })
      purge(1000)
      assert.equal(PURGED, outcome("mine"))
      s:advance(60001)
      assert.equal("?", outcome("mine"))
    end)

    it("does not end again what was revoked before", function()
      local id = p:plain(2)[1]
      s:call("cancel", "R\x80", 60, id)
      assert.same({ 2, 1, 1, 0 }, purge(1000))
      assert.equal("R\x80", outcome(id))
      assert.equal(2, s:counter("default", "revoked"))
      assert.equal(0, s:redis("EXISTS", "cx"))
    end)

    it("sets aside what is no task", function()
      s:redis("RPUSH", "r:default", "rubbish")
      p:plain(1)
      assert.same({ 2, 1, 0, 1 }, purge(1000))
      assert.same({ "rubbish" }, s:redis("LRANGE", "m", 0, -1))
    end)

    it("knows a queue that was never used for an empty one", function()
      assert.same({ 0, 0, 0, 0 }, purge(1000, "nobody"))
      assert.equal(0, s:redis("EXISTS", "s:nobody"))
    end)
  end)

  describe("te1_purge_due", function()
    local function add_due(count, queue, delay)
      local ids = {}
      for i = 1, count do
        ids[i] = p:add({ queue = queue }, { delay = delay or "+" .. i })
      end
      return ids
    end

    it("takes what is due for its queue, and that alone", function()
      local mine, other = add_due(3), add_due(2, "other")
      local ready = p:plain(1)[1]
      assert.same({ 0, 3 }, table.move(purge_due(1000), 1, 2, 1, {}))
      for _, id in ipairs(mine) do
        assert.equal(PURGED, outcome(id))
      end
      assert.equal("=" .. ready, outcome(ready))
      assert.same(other, s:redis("ZRANGE", "z", 0, -1))
      assert.equal(2, s:redis("HLEN", "t"))
      assert.equal(3, s:counter("default", "revoked"))
    end)

    it("goes through all of them in parts, also of one instant", function()
      local at = tostring(s:now() + 100)
      add_due(5, "default", at)
      add_due(5, "other", at)
      add_due(5, "default", at)
      local reply, purged, calls = { 1, 0, "", "" }, 0, 0
      while reply[1] == 1 do
        reply = purge_due(2, reply[3], reply[4])
        purged, calls = purged + reply[2], calls + 1
      end
      assert.same({ 10, 5 }, { purged, s:redis("ZCARD", "z") })
      assert.is_true(calls <= 9)
    end)

    it("passes over nothing when the last that stayed has left", function()
      local other = add_due(2, "other", "+50")
      local mine = add_due(1, "default", "+50")
      local reply = purge_due(1)
      assert.same({ 1, 0, other[1] }, { reply[1], reply[2], reply[4] })
      s:call("cancel", PURGED, 60, other[1])
      assert.equal(1, purge_due(2, reply[3], reply[4])[2])
      assert.equal(PURGED, outcome(mine[1]))
    end)

    it("takes the timer back that was set for one of them", function()
      add_due(1)
      s:fetch(A, 1)
      assert.truthy(s:redis("HGET", "n", "timer"))
      purge_due(1000)
      assert.is_false(s:redis("HGET", "n", "timer") or false)
    end)
  end)

  describe("te1_survey", function()
    it("counts what runs, and what is ready of each priority", function()
      p:plain(3)
      s:take(A, 1)
      for _, priority in ipairs { 9, 1, 9 } do
        p:add { priority = priority, queue = "other" }
      end
      assert.same({
        { "default", 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
        { "other", 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2 },
      }, s:call("survey"))
    end)

    it("counts one that came back to the head of its priority", function()
      p:add { priority = 1 }
      p:add { priority = 2 }
      for _, field in ipairs(s:take(A, 2)) do
        s:finish(A, "b", field)
      end
      assert.same({ { "default", 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0 },
        { "other", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } }, s:call("survey"))
    end)

    it("does not look at very many in flight", function()
      for _ = 1, 6 do
        p:plain(1000)
        s:take(A, 1000)
      end
      assert.equal(-1, s:call("survey")[1][2])
    end)

    it("writes nothing", function()
      p:plain(1)
      p:add({}, { delay = "+5" })
      local before = s.fake:dump()
      s:call("survey")
      s:call("survey_due", 10, "", "")
      assert.same(before, s.fake:dump())
    end)
  end)

  it("copes with envelopes that are damaged", function()
    local due = p:add({}, { delay = "+9" })
    local urgent = p:add { priority = 1 }
    local field = (function()
      p:plain(1)
      return s:take(A, 2)[2]
    end)()
    s:redis("HSET", "t", due, "rubbish")
    s:redis("HSET", "f:" .. A, field, "rubbish")
    assert.equal("=" .. urgent, outcome(urgent))
    assert.equal(1, s:call("survey")[1][2])
    assert.equal(3, #s:call("survey_due", 10, "", ""))
    assert.equal(0, purge_due(10)[2])
    local other = p:add { priority = 1 }
    s:redis("HSET", "t", other, "rubbish")
    assert.same({ 1, 0, 0, 1 }, purge(10))
  end)

  describe("te1_survey_due", function()
    it("counts what is due by queue, in parts", function()
      for i, queue in ipairs { "other", "default", "other" } do
        p:add({ queue = queue }, { delay = "+" .. i })
      end
      local ids = s:redis("ZRANGE", "z", 0, -1)
      local at = s:redis("ZSCORE", "z", ids[2])
      assert.same({ 1, at, ids[2], "other", 1, "default", 1 },
        s:call("survey_due", 2, "", ""))
      at = s:redis("ZSCORE", "z", ids[3])
      assert.same({ 0, at, ids[3], "other", 1 },
        s:call("survey_due", 2, s:redis("ZSCORE", "z", ids[2]), ids[2]))
      assert.same({ 0, "", "" }, { (function()
        s:call("purge_due", PURGED, 10, "other", "", "")
        s:call("purge_due", PURGED, 10, "default", "", "")
        return table.unpack(s:call("survey_due", 2, "", ""))
      end)() })
    end)
  end)
end)
