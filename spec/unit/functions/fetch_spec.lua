local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const>, C <const> =
  "workerAAAAAA", "workerBBBBBB", "workerCCCCCC"
local EXPIRED <const> = "R\x82\xa4kind\xa7Expired\xa7message"
  .. "\xd9\x25expired before a worker could take it"

local function ids_of(envelopes)
  local ids = {}
  for i, bytes in ipairs(envelopes) do
    ids[i] = bytes:sub(1, 20)
  end
  return ids
end

describe("te1_fetch", function()
  local s, p

  before_each(function()
    s = shard.new()
    p = s:producer("p")
    s:register(A)
  end)

  local function fetch_ids(wid, want, opts)
    return ids_of((s:fetch(wid, want, opts)))
  end

  local function is_asleep(wid, queue)
    return s:redis("SISMEMBER", "sl:" .. (queue or "default"), wid) == 1
  end

  describe("hands out", function()
    it("as many as are wanted, first in first out", function()
      local ids = p:plain(3)
      assert.same({ ids[1], ids[2] }, fetch_ids(A, 2))
      assert.same({ ids[3] }, fetch_ids(A, 2))
      assert.same({}, fetch_ids(A, 2))
    end)

    it("envelopes as they were sent, which it keeps in flight", function()
      local bytes = p:pack { body = "\x91\x91\xc0" }
      p:send(1, "r", "default", 1, bytes)
      local envelopes, number = s:fetch(A, 1)
      assert.same({ bytes }, envelopes)
      assert.same({ envelope.field(bytes, number), bytes },
        s:redis("HGETALL", "f:" .. A))
    end)

    it("the urgent of all queues before the plain of any", function()
      local plain = p:plain(1, { queue = "a" })[1]
      local urgent = p:add { queue = "b", priority = 1 }
      local most = p:add { queue = "b", priority = 9 }
      assert.same({ most, urgent, plain },
        fetch_ids(A, 9, { queues = { "a", "b" } }))
      assert.equal(0, s:redis("EXISTS", "t"))
    end)

    it("the first queue before the second", function()
      local b = p:plain(1, { queue = "b" })[1]
      local a = p:plain(1, { queue = "a" })[1]
      assert.same({ a, b }, fetch_ids(A, 9, { queues = { "a", "b" } }))
    end)

    it("no more than 1,000 at once", function()
      p:plain(1001)
      assert.equal(1000, #s:fetch(A, 5000))
    end)

    describe("no more bytes than a reply is to have:", function()
      local LARGE <const> = { body = ("x"):rep(150) }

      -- Room for two of them in a reply.
      before_each(function()
        s = shard.new(nil, { fetch_bytes_max = 600 })
        p = s:producer("p")
        s:register(A)
      end)

      it("the rest stays at the head, in order", function()
        local ids = p:plain(20, LARGE)
        assert.same({ ids[1], ids[2] }, fetch_ids(A, 20))
        assert.same(table.move(ids, 3, 20, 1, {}), s:ready("default"))
        for i = 3, 20, 2 do
          assert.same({ ids[i], ids[i + 1] }, fetch_ids(A, 20))
        end
        assert.same({}, s:ready("default"))
      end)

      it("the urgent too, with their scores", function()
        local ids = {}
        for i = 1, 5 do
          ids[i] = p:add { body = LARGE.body, priority = 10 - i }
        end
        local before = s:redis("ZRANGE", "p:default", 2, -1, "WITHSCORES")
        local plain = p:plain(1)[1]
        assert.same({ ids[1], ids[2] }, fetch_ids(A, 9))
        assert.same(before,
          s:redis("ZRANGE", "p:default", 0, -1, "WITHSCORES"))
        assert.equal(3, s:redis("HLEN", "t"))
        assert.same({ ids[3], ids[4] }, fetch_ids(A, 9))
        assert.same({ ids[5], plain }, fetch_ids(A, 9))
        assert.equal(0, s:redis("EXISTS", "t"))
      end)

      it("but always one task", function()
        local first = p:plain(1, { body = ("x"):rep(1000) })[1]
        local second = p:plain(1)[1]
        assert.same({ first }, fetch_ids(A, 9))
        assert.same({ second }, fetch_ids(A, 9))
      end)

      it("and the worker is woken for the rest", function()
        p:plain(3, LARGE)
        s:fetch(A, 9)
        assert.is_false(is_asleep(A))
        assert.same({ "" }, s:heard("b:" .. A))
        s:fetch(A, 9)
        assert.is_true(is_asleep(A))
        assert.same({}, s:heard("b:" .. A))
      end)
    end)

    it("16 MiB at most", function()
      local MEGABYTES <const> = { body = ("x"):rep(3 * 1024 * 1024) }
      local ids = p:plain(7, MEGABYTES)
      assert.same({ table.unpack(ids, 1, 5) }, fetch_ids(A, 1000))
      assert.same({ ids[6], ids[7] }, fetch_ids(A, 1000))
    end)

    it("nothing when nothing is wanted", function()
      p:plain(1)
      assert.same({}, fetch_ids(A, 0))
    end)

    it("what is due, in the order of time", function()
      local later = p:add({}, { delay = "+200" })
      local sooner = p:add({}, { delay = "+100" })
      local urgent = p:add({ priority = 2 }, { delay = "+300" })
      s:advance(99)
      assert.same({}, fetch_ids(A, 9))
      s:advance(201)
      assert.same({ urgent, sooner, later }, fetch_ids(A, 9))
      assert.equal(0, s:redis("EXISTS", "t", shard.PREFIX .. "z"))
    end)
  end)

  it("says the time and when the next task is due", function()
    assert.same({ s:now(), 0 }, s:call("fetch", A, 15000, 1, 1, "0",
      "default"))
    p:add({}, { delay = "+700" })
    assert.same({ s:now(), s:now() + 700 },
      s:call("fetch", A, 15000, 1, 2, "1", "default"))
  end)

  it("renews the lease, even one that has ended and was not reaped",
    function()
      s:advance(15001)
      s:fetch(A, 1)
      assert.equal(tostring(s:now() + 15000), s:redis("ZSCORE", "w", A))
    end)

  it("gives nothing to a worker without a lease", function()
    p:plain(1)
    assert.same({ "FENCED" },
      s:call("fetch", B, 15000, 1, 1, "0", "default"))
    assert.equal(1, s:redis("LLEN", "r:default"))
    assert.is_false(is_asleep(B))
  end)

  describe("that comes late", function()
    local function is_refused(number)
      local before = s.fake:dump()
      local reply, problem = s:try("fetch", A, 15000, 1, number, "0",
        "default")
      assert.is_nil(reply)
      assert.truthy(problem:find("its delivery number is past", 1, true))
      assert.same(before, s.fake:dump())
    end

    local function is_done(number)
      assert.equal(3, #s:call("fetch", A, 15000, 1, number, "0", "default"))
    end

    before_each(function()
      p:plain(4)
    end)

    it("hands out nothing: the worker has given it up", function()
      is_done(7)
      is_refused(7)
      is_refused(6)
      is_done(9)
    end)

    it("is told by numbers that start again after 2^32", function()
      is_done(4294967295)
      is_done(0)
      is_done(1)
      is_refused(0)
    end)

    it("hands out nothing once the worker has asked what it holds",
      function()
        is_done(3)
        assert.equal(2, #s:call("holds", A, 4))
        is_refused(4)
        is_done(5)
      end)
  end)

  describe("puts aside", function()
    local function has_malformed(bytes)
      s:redis("RPUSH", "r:default", bytes)
      local good = p:plain(1)[1]
      assert.same({ good }, fetch_ids(A, 1))
      assert.same({ bytes }, s:redis("LRANGE", "m", 0, -1))
      assert.equal(7 * 86400 * 1000, s:redis("PTTL", "m"))
    end

    local any = envelope.id("pxxxxxxxxxxx", 99)
    local cases = {
      ["what is too short"] = "hello",
      ["an envelope without a body"] = envelope.new { id = any, body = "" },
      ["version 0"] = envelope.new { id = any, version = 0 },
      ["an envelope without a queue"] = envelope.new { id = any, queue = "" },
      ["an envelope of another queue"] =
        envelope.new { id = any, queue = "mail" },
      ["a priority above 9"] = envelope.new { id = any, priority = 10 },
    }
    for what, bytes in pairs(cases) do
      it(what .. ", as malformed", function()
        has_malformed(bytes)
      end)
    end

    it("no more than 10,000 malformed, the newest", function()
      for i = 1, 9999 do
        s:redis("LPUSH", "m", i)
      end
      s:redis("RPUSH", "r:default", "one", "two")
      s:fetch(A, 1)
      assert.equal(10000, s:redis("LLEN", "m"))
      assert.equal("two", s:redis("LINDEX", "m", 0))
      assert.equal("2", s:redis("LINDEX", "m", -1))
    end)

  end)

  describe("leaves a newer version to others", function()
    it("at the end of its queue", function()
      local newer = { p:plain(1, { version = 2 })[1],
        p:plain(1, { version = 2 })[1] }
      local known = p:plain(2)
      assert.same({ known[1] }, fetch_ids(A, 1))
      assert.same({ known[2], newer[1], newer[2] }, s:ready("default"))
      assert.equal(0, s:redis("EXISTS", "m"))
    end)

    it("with its priority", function()
      local newer = p:add { version = 2, priority = 4 }
      local known = p:add { priority = 4 }
      local low = p:add { priority = 1 }
      assert.same({ known }, fetch_ids(A, 1))
      assert.same({ newer, low }, s:ready("default"))
    end)

    it("and wakes nobody for it, who could be as old", function()
      s:register(B)
      s:fetch(B, 1)
      s:redis("RPUSH", "r:default", p:pack { version = 2 })
      assert.same({}, fetch_ids(A, 1))
      assert.same({}, s:heard("b:" .. A))
      assert.same({}, s:heard("b:" .. B))
      assert.is_true(is_asleep(A))
    end)

    it("however many there are, once in a fetch", function()
      local bytes = {}
      for i = 1, 3000 do
        bytes[i] = p:pack { version = 2 }
      end
      p:send(3000, "r", "default", 3000, table.unpack(bytes))
      assert.same({}, fetch_ids(A, 100))
      assert.equal(3000, s:redis("LLEN", "r:default"))
      assert.is_true(is_asleep(A))
      assert.same({}, s:heard("b:" .. A))
    end)
  end)

  describe("ends an expired task", function()
    it("as revoked of kind Expired, and goes on to the next", function()
      local old = p:add({}, { expires = 100 })
      local good = p:plain(1)[1]
      s:advance(100)
      assert.same({ good }, fetch_ids(A, 1))
      assert.same({ EXPIRED }, s:call("outcome", old))
      assert.equal(1, s:counter("default", "expired"))
      assert.equal(0, s:counter("default", "revoked"))
    end)

    it("not before its time", function()
      local id = p:add({}, { expires = 100 })
      s:advance(99)
      assert.same({ id }, fetch_ids(A, 1))
    end)

    it("and tells those who wait", function()
      local id = p:add({}, { expires = 100 })
      s:call("await", "a:client", id)
      s:advance(100)
      s:fetch(A, 1)
      assert.same({ id .. EXPIRED }, s:heard("a:client"))
    end)

    it("among the prioritised as well", function()
      local old = p:add({ priority = 3 }, { expires = 100 })
      s:advance(100)
      assert.same({}, fetch_ids(A, 1))
      assert.same({ EXPIRED }, s:call("outcome", old))
      assert.equal(0, s:redis("EXISTS", "t"))
    end)
  end)

  it("drops a task that was revoked, and goes on to the next", function()
    local gone, good = table.unpack(p:plain(2, { ttl_s = 60 }))
    assert.same({ "revoked" }, s:call("cancel", "R\x80", 60, gone))
    assert.same({ good }, fetch_ids(A, 1))
    assert.equal(1, s:counter("default", "revoked"))
    assert.equal(0, s:redis("EXISTS", "cx"))
    assert.same({ "R\x80" }, s:call("outcome", gone))
  end)

  describe("makes the worker a sleeper", function()
    it("of all its queues when it got less than it wanted", function()
      p:plain(1)
      s:fetch(A, 2, { queues = { "default", "mail" } })
      assert.is_true(is_asleep(A, "default"))
      assert.is_true(is_asleep(A, "mail"))
    end)

    it("no more when it got all that it wanted", function()
      s:fetch(A, 1, { queues = { "default", "mail" } })
      p:plain(1)
      s:fetch(A, 1, { slept = true, queues = { "default", "mail" } })
      assert.is_false(is_asleep(A, "default"))
      assert.is_false(is_asleep(A, "mail"))
    end)

    it("but wakes it when there is more to look through", function()
      for _ = 1, 2100 do
        p:add({}, { expires = 1 })
      end
      local good = p:plain(1)[1]
      s:advance(1)
      local fetches = 0
      local found
      repeat
        found = fetch_ids(A, 10)
        fetches = fetches + 1
      until #s:heard("b:" .. A) == 0
      assert.same({ good }, found)
      assert.equal(3, fetches)
      assert.equal(2100, s:counter("default", "expired"))
    end)
  end)

  describe("passes the bell on", function()
    before_each(function()
      s:register(B)
      s:register(C)
    end)

    it("when the worker that was woken took other work", function()
      local both = { queues = { "mail", "default" }, slept = true }
      for _, wid in ipairs { A, B, C } do
        s:fetch(wid, 1, both)
      end
      p:plain(1)
      local woken, asleep = {}, nil
      for _, wid in ipairs { A, B, C } do
        if s:heard("b:" .. wid)[1] then
          woken[#woken + 1] = wid
        else
          asleep = wid
        end
      end
      assert.equal(2, #woken)
      s:redis("RPUSH", "r:mail", p:pack { queue = "mail" })
      s:fetch(woken[1], 1, both)
      assert.same({ "" }, s:heard("b:" .. asleep))
    end)

    it("when the worker that was woken has no room", function()
      s:fetch(A, 1)
      p:plain(1)
      assert.same({ "" }, s:heard("b:" .. A))
      s:fetch(B, 1, { queues = { "mail" } })
      s:redis("SADD", "sl:default", B)
      assert.same({}, fetch_ids(A, 0, { slept = true }))
      assert.is_false(is_asleep(A))
      assert.same({ "" }, s:heard("b:" .. B))
    end)

    it("but not when nothing is left", function()
      s:fetch(A, 1)
      s:fetch(B, 1)
      s:fetch(C, 1)
      p:plain(1)
      for _, wid in ipairs { A, B, C } do
        s:heard("b:" .. wid)
      end
      s:redis("SADD", "sl:default", B, C)
      s:fetch(A, 1, { slept = true })
      assert.same({}, s:heard("b:" .. B))
      assert.same({}, s:heard("b:" .. C))
    end)

    it("for what became due and is left", function()
      for _ = 1, 3 do
        p:add({}, { delay = "+10" })
      end
      s:fetch(B, 1)
      s:heard("b:" .. B)
      s:advance(10)
      s:fetch(A, 2)
      assert.same({ "" }, s:heard("b:" .. B))
    end)

    it("for what became due in queues of others", function()
      s:fetch(B, 1, { queues = { "mail" } })
      p:add({ queue = "mail" }, { delay = "+10" })
      s:heard("b:" .. B)
      s:redis("SADD", "sl:mail", B)
      s:advance(10)
      s:fetch(A, 2)
      assert.same({ "" }, s:heard("b:" .. B))
    end)

    it("but not for what became due and was taken", function()
      s:fetch(B, 1)
      p:add({}, { delay = "+10" })
      s:heard("b:" .. B)
      s:redis("SADD", "sl:default", B)
      s:advance(10)
      s:fetch(A, 2)
      assert.same({}, s:heard("b:" .. B))
    end)
  end)
end)

describe("te1_promote", function()
  local s, p

  before_each(function()
    s = shard.new()
    p = s:producer("p")
  end)

  it("makes ready what is due, so much of it at most", function()
    local ids = {}
    for i = 1, 3 do
      ids[i] = p:add({}, { delay = "+" .. i })
    end
    s:advance(3)
    assert.same({ s:now(), s:now() }, s:call("promote", 2))
    assert.same({ ids[1], ids[2] }, s:ready("default"))
    assert.same({ s:now(), 0 }, s:call("promote", 2))
    assert.same(ids, s:ready("default"))
  end)

  it("says when the next task is due and does nothing before", function()
    p:add({}, { delay = "+50" })
    assert.same({ s:now(), s:now() + 50 }, s:call("promote", 100))
    assert.same({}, s:ready("default"))
  end)

  it("keeps priorities", function()
    local low = p:add({ priority = 1 }, { delay = "+1" })
    local high = p:add({ priority = 8 }, { delay = "+2" })
    s:advance(2)
    s:call("promote", 100)
    assert.same({ high, low }, s:ready("default"))
  end)

  it("wakes sleepers of each queue", function()
    s:register(A, "a")
    s:register(B, "b")
    p:add({ queue = "a" }, { delay = "+5" })
    s:fetch(A, 1, { queues = { "a" } })
    s:fetch(B, 1, { queues = { "b" } })
    s:advance(5)
    s:call("promote", 100)
    assert.same({ "" }, s:heard("b:" .. A))
    assert.same({}, s:heard("b:" .. B))
  end)

  it("passes over an id without an envelope", function()
    local id = p:add({}, { delay = "+2" })
    s:redis("ZADD", "z", s:now(), "nobody")
    s:advance(2)
    s:call("promote", 100)
    assert.same({ id }, s:ready("default"))
    assert.equal(0, s:redis("EXISTS", "z"))
  end)
end)
