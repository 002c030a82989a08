local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"

describe("te1_fetch", function()
  local s, p

  before_each(function()
    s, p = shard.serving(A)
  end)

  describe("hands out", function()
    it("as many as are wanted, first in first out", function()
      local ids = p:plain(3)
      assert.same({ ids[1], ids[2] }, s:fetch_ids(A, 2))
      assert.same({ ids[3] }, s:fetch_ids(A, 2))
      assert.same({}, s:fetch_ids(A, 2))
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
        s:fetch_ids(A, 9, { queues = { "a", "b" } }))
      assert.equal(0, s:redis("EXISTS", "t"))
    end)

    it("the first queue before the second", function()
      local b = p:plain(1, { queue = "b" })[1]
      local a = p:plain(1, { queue = "a" })[1]
      assert.same({ a, b }, s:fetch_ids(A, 9, { queues = { "a", "b" } }))
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
        assert.same({ ids[1], ids[2] }, s:fetch_ids(A, 20))
        assert.same(table.move(ids, 3, 20, 1, {}), s:ready("default"))
        for i = 3, 20, 2 do
          assert.same({ ids[i], ids[i + 1] }, s:fetch_ids(A, 20))
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
        assert.same({ ids[1], ids[2] }, s:fetch_ids(A, 9))
        assert.same(before,
          s:redis("ZRANGE", "p:default", 0, -1, "WITHSCORES"))
        assert.equal(3, s:redis("HLEN", "t"))
        assert.same({ ids[3], ids[4] }, s:fetch_ids(A, 9))
        assert.same({ ids[5], plain }, s:fetch_ids(A, 9))
        assert.equal(0, s:redis("EXISTS", "t"))
      end)

      it("but always one task", function()
        local first = p:plain(1, { body = ("x"):rep(1000) })[1]
        local second = p:plain(1)[1]
        assert.same({ first }, s:fetch_ids(A, 9))
        assert.same({ second }, s:fetch_ids(A, 9))
      end)

      it("and the worker is woken for the rest", function()
        p:plain(3, LARGE)
        s:fetch(A, 9)
        assert.is_false(s:is_asleep(A))
        assert.same({ "" }, s:heard("b:" .. A))
        s:fetch(A, 9)
        assert.is_true(s:is_asleep(A))
        assert.same({}, s:heard("b:" .. A))
      end)
    end)

    it("16 MiB at most", function()
      local MEGABYTES <const> = { body = ("x"):rep(3 * 1024 * 1024) }
      local ids = p:plain(7, MEGABYTES)
      assert.same({ table.unpack(ids, 1, 5) }, s:fetch_ids(A, 1000))
      assert.same({ ids[6], ids[7] }, s:fetch_ids(A, 1000))
    end)

    it("nothing when nothing is wanted", function()
      p:plain(1)
      assert.same({}, s:fetch_ids(A, 0))
    end)

    it("what is due, in the order of time", function()
      local later = p:add({}, { delay = "+200" })
      local sooner = p:add({}, { delay = "+100" })
      local urgent = p:add({ priority = 2 }, { delay = "+300" })
      s:advance(99)
      assert.same({}, s:fetch_ids(A, 9))
      s:advance(201)
      assert.same({ urgent, sooner, later }, s:fetch_ids(A, 9))
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
    assert.is_false(s:is_asleep(B))
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
end)
