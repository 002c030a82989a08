local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"
local MALFORMED <const> = "F\x82\xa4kind\xa9Malformed\xa7message"
  .. "\xd9\x28its envelope in Redis is damaged or gone"
local WEEK_MS <const> = 7 * 86400000

-- What should not be in Redis, and is.
describe("The functions", function()
  local s, p

  before_each(function()
    s, p = shard.serving(A)
  end)

  local function malformed()
    return s:redis("LRANGE", "m", 0, -1)
  end

  local function outcome(id)
    return s:call("outcome", id)[1]
  end

  local function await(id)
    assert.same({ "=" .. id }, s:call("await", "a:me", id))
  end

  -- All that a worker and a client do, on two queues, one of which may be
  -- damaged: returns the ids of what the worker got of the other.
  local function work()
    local queues = { "broken", "default" }
    local got = {}
    local fields = s:take(A, 10, { queues = queues })
    for _, field in ipairs(fields) do
      got[#got + 1] = field:sub(1, 20)
      s:finish(A, "o", field, "S\x01")
    end
    s:call("heartbeat", A, 15000, table.unpack(queues))
    s:call("promote", 10)
    return got
  end

  describe("with a key of another type", function()
    local junk = {
      string = function(key) s:redis("SET", key, "junk") end,
      list = function(key) s:redis("RPUSH", key, "junk") end,
      hash = function(key) s:redis("HSET", key, "junk", "junk") end,
      set = function(key) s:redis("SADD", key, "junk") end,
      zset = function(key) s:redis("ZADD", key, 0, "junk") end,
    }
    local kinds = {
      ["r:broken"] = "list", ["p:broken"] = "zset", z = "zset", t = "hash",
      w = "zset", wi = "hash", wq = "hash", wn = "zset",
      ["ws:broken"] = "set", ["sl:broken"] = "set", ["f:" .. A] = "hash",
      ["b:" .. A] = "list", ["a:me"] = "list", y = "hash", yt = "zset",
      x = "zset", e = "hash", cx = "zset", n = "hash", q = "set",
      ["s:broken"] = "hash", m = "list",
    }

    -- Each key in its turn is damaged before all else is done.
    local function assert_works(key, put)
      s:register(A, "broken", "default")
      s:take(A, 1, { queues = { "broken", "default" } }) -- and sleeps
      s:redis("DEL", key)
      put(key)
      s:register(A, "broken", "default")
      local good, bad = p:plain(1)[1], p:plain(1, { queue = "broken" })[1]
      local urgent = p:add({ queue = "broken", priority = 3 })
      local due = p:add({}, { delay = "+5" })
      s:redis("RPUSH", "r:default", "rubbish")
      for _, id in ipairs { good, bad, urgent, due } do
        await(id)
      end
      s:advance(10)
      local got = work()
      table.sort(got)
      local all = { good, bad, urgent, due }
      table.sort(all)
      assert.same(all, got)
      for _, id in ipairs(all) do
        assert.equal("S\x01", outcome(id))
      end
      assert.equal(4, #s:heard("a:me"))
      local kept = table.concat(malformed(), "\n")
      assert.truthy(kept:find("rubbish", 1, true))
      assert.truthy(kept:find((shard.PREFIX .. key .. " was a "), 1, true))
    end

    for key, kind in pairs(kinds) do
      for other, put in pairs(junk) do
        if other ~= kind then
          it(("such as %s, a %s, go on"):format(key, other), function()
            assert_works(key, put)
          end)
        end
      end
    end

    it("keep it, and say where", function()
      s:redis("SET", "r:default", "precious")
      assert.same({}, s:fetch(A, 1))
      local place = "m:" .. s:now() .. ":r:default"
      assert.equal("precious", s:redis("GET", place))
      assert.equal(WEEK_MS, s:redis("PTTL", place))
      assert.same({ ("%sr:default was a string: it is now %s%s"):format(
        shard.PREFIX, shard.PREFIX, place) }, malformed())
    end)

    it("leave it where it is when they only read", function()
      p:plain(1)
      s:redis("SET", "r:broken", "junk")
      s:redis("SADD", "q", "broken")
      assert.equal(1, #s:call("look", envelope.id("pxxxxxxxxxxx", 1)))
      local queues = s:call("status")[5]
      assert.same({ "broken", 0 }, { queues[1][1], queues[1][2] })
      assert.equal("junk", s:redis("GET", "r:broken"))
    end)
  end)

  describe("with a counter that is no number", function()
    it("begin it anew, and keep what was there", function()
      s:redis("HSET", "n", "seq", "junk", "head", "junk", "timer", "junk")
      s:redis("HSET", "s:default", "enqueued", "junk")
      local ids = { p:add { priority = 2 }, p:add { priority = 2 } }
      local due = p:add({}, { delay = "+5" })
      assert.same(ids, { table.unpack(s:ready("default")) })
      assert.equal(3, s:counter("default", "enqueued"))
      assert.same({ ("seq of %sn was junk"):format(shard.PREFIX),
        ("enqueued of %ss:default was junk"):format(shard.PREFIX) },
        malformed())
      local field = s:take(A, 1)[1]
      assert.equal(1, s:finish(A, "h", field))
      assert.same(ids, s:ready("default"))
      s:advance(10)
      s:call("promote", 1)
      assert.equal(due, s:ready("default")[3])
    end)

    it("begin it anew when it cannot be counted up any more", function()
      s:redis("HSET", "s:default", "enqueued", ("%d"):format(math.maxinteger))
      p:plain(2)
      assert.equal(2, s:counter("default", "enqueued"))
    end)

    it("take a producer for one that is not known", function()
      s:redis("SET", "i:" .. p.id, "junk")
      assert.equal(1, #p:plain(1))
      assert.equal("?", outcome(envelope.id(p.id, 2)))
    end)
  end)

  describe("with an envelope that is none", function()
    -- A bit of the version, of a length, of the queue's name; less of it; none
    -- of it.
    local damages = {
      function(bytes) return bytes:sub(1, 20) .. "\0" .. bytes:sub(22) end,
      function(bytes) return bytes:sub(1, 98) .. "\xff" .. bytes:sub(100) end,
      function(bytes) return bytes:sub(1, 102) .. "\x01" .. bytes:sub(104) end,
      function(bytes) return "x" .. bytes:sub(2) end,
      function(bytes) return bytes:sub(1, 101) end,
      function(bytes) return bytes:sub(1, 20) end,
      function() return "" end,
    }

    local function assert_malformed(id, bytes)
      assert.same({ bytes }, malformed())
      assert.equal(MALFORMED, outcome(id))
      assert.same({ id .. MALFORMED }, s:heard("a:me"))
    end

    for i, damage in ipairs(damages) do
      it(("keep what is due or urgent and tell who waits (%d)"):format(i),
        function()
          for _, how in ipairs { { { priority = 3 } }, { {}, "+5" } } do
            s:redis("DEL", "m")
            local id = p:add(how[1], { delay = how[2] })
            local good = p:add(how[1], { delay = how[2] })
            await(id)
            local bytes = damage(s:redis("HGET", "t", id))
            s:redis("HSET", "t", id, bytes)
            s:advance(10)
            assert.equal(good, s:take(A, 2)[1]:sub(1, 20))
            assert_malformed(id, bytes)
          end
        end)

      it(("keep what is in flight, however it goes on (%d)"):format(i),
        function()
          for _, op in ipairs { "o", "h", "b", "l", "n" } do
            s:redis("DEL", "m")
            local id, good = table.unpack(p:plain(2))
            await(id)
            local fields = s:take(A, 2)
            local bytes = damage(s:redis("HGET", "f:" .. A, fields[1]))
            s:redis("HSET", "f:" .. A, fields[1], bytes)
            local record = (op == "o" or op == "l" or op == "n") and "F\x80"
            local args = { op, fields[1], record or nil }
            table.move({ "h", fields[2] }, 1, 2, #args + 1, args)
            assert.equal(1, s:finish(A, table.unpack(args)))
            assert.same({ good }, s:ready("default"))
            assert.same({ bytes }, malformed())
            local told = op == "o" and record or MALFORMED
            assert.equal(told, outcome(id))
            assert.same({ id .. told }, s:heard("a:me"))
            s:take(A, 1)
            s:redis("DEL", "f:" .. A)
          end
        end)
    end

    it("keep it when its worker is lost, and bring the others back", function()
      s:register(B)
      local ids = p:plain(3)
      await(ids[2])
      local fields = s:take(A, 3)
      s:redis("HSET", "f:" .. A, fields[2], "rubbish", "no field", "junk")
      assert.equal(3, s:call("reap", A, "1", "F\x80", "-"))
      assert.same({ ids[1], ids[3] }, s:ready("default"))
      assert.same({ ids[2] .. MALFORMED }, s:heard("a:me"))
      assert.same({ "rubbish", "no field junk" }, malformed())
    end)

    it("end the wait for one that stood in a ready list", function()
      local id = p:plain(1)[1]
      await(id)
      local bytes = s:redis("LPOP", "r:default"):sub(1, 60)
      s:redis("RPUSH", "r:default", bytes)
      assert.same({}, s:fetch(A, 1))
      assert_malformed(id, bytes)
    end)

    it("end the wait for one whose envelope is gone", function()
      local id = p:add { priority = 1 }
      await(id)
      s:redis("DEL", "t")
      assert.same({}, s:fetch(A, 1))
      assert_malformed(id, id)
    end)

    it("revoke it all the same", function()
      local id = p:add { priority = 1 }
      s:redis("HSET", "t", id, "rubbish")
      assert.same({ "revoked" }, s:call("cancel", "R\x80", 60, id))
      assert.equal("R\x80", outcome(id))
      assert.same({ "rubbish" }, malformed())
    end)

    it("believe nothing that it says of a task that has ended", function()
      local id = p:plain(1)[1]
      s:finish(A, "o", s:take(A, 1)[1], "S\x01")
      s:redis("RPUSH", "r:default", id .. "rubbish")
      s:fetch(A, 1)
      assert.equal("S\x01", outcome(id))
      s:redis("RPUSH", "r:default", envelope.id(p.id, 99) .. "rubbish")
      s:fetch(A, 1)
      assert.equal("?", outcome(envelope.id(p.id, 99)))
    end)

    it("keep 64 KiB of it", function()
      s:redis("RPUSH", "r:default", ("x"):rep(100000))
      s:fetch(A, 1)
      assert.equal(65536, #malformed()[1])
    end)

    local function dropped()
      return s:call("status")[8]
    end

    it("keep the newest 10,000, and count what is dropped for them", function()
      local junk = {}
      for i = 1, 1000 do
        junk[i] = "junk"
      end
      for _ = 1, 10 do
        s:redis("RPUSH", "r:default", table.unpack(junk))
        s:fetch(A, 1)
      end
      assert.equal(10000, s:redis("LLEN", "m"))
      assert.equal(0, dropped())
      s:redis("RPUSH", "r:default", "newest", "junk")
      s:fetch(A, 1)
      assert.equal(10000, s:redis("LLEN", "m"))
      assert.equal(2, dropped())
      assert.equal("newest", s:redis("LINDEX", "m", 1))
    end)

    it("count anew when all of it was deleted", function()
      local junk = ("x"):rep(65536)
      for _ = 1, 257 do -- 16 MiB, and one
        s:redis("RPUSH", "r:default", junk)
      end
      s:fetch(A, 1)
      assert.equal(1, dropped())
      assert.equal(256, s:call("drop_malformed", junk))
      assert.equal(0, dropped())
    end)
  end)

  describe("with what is no worker among the workers", function()
    it("reap those that are", function()
      s:register(B)
      s:redis("ZADD", "w", "-inf", "junk", 0, "also junk")
      s:advance(20000)
      s:register(A)
      local reply = s:call("heartbeat", A, 15000, "default")
      assert.equal(B, reply[5])
      assert.is_true(reply[4] > 0 and reply[4] < s:now())
      assert.same({ ("also junk of %sw"):format(shard.PREFIX),
        ("junk of %sw"):format(shard.PREFIX) }, malformed())
    end)

    it("let a worker leave that has no task", function()
      s:redis("HSET", "f:" .. A, "junk", "junk")
      assert.same({ "0" }, s:call("holds", A))
      s:redis("HSET", "f:" .. A, "junk", "junk")
      assert.equal(1, s:call("leave", A))
      assert.same({ "junk junk", "junk junk" }, malformed())
    end)
  end)

  describe("without a key that was there", function()
    it("tell of a task that is nowhere any more", function()
      local ids = { p:add { priority = 1 }, p:add({}, { delay = "+5000" }) }
      local there = { "=" .. ids[1], "=" .. ids[2] }
      assert.same(there, s:call("look", table.unpack(ids)))
      s:redis("DEL", "z")
      assert.same({ there[1], "-" }, s:call("look", table.unpack(ids)))
      s:redis("DEL", "p:default")
      assert.same({ "-", "-" }, s:call("look", table.unpack(ids)))
    end)

    it("put a worker back where it belongs", function()
      for _, key in ipairs { "q", "wq", "ws:default" } do
        local before = s.fake:dump()
        s:redis("DEL", key)
        s:call("heartbeat", A, 15000, "default")
        assert.same(before, s.fake:dump())
      end
    end)
  end)

  it("hold nothing up for what is due at the beginning of time", function()
    local id = p:add({}, { delay = "+5" })
    s:redis("ZADD", "z", 0, "junk", "-inf", "more")
    s:advance(10)
    assert.equal(id, s:take(A, 1)[1]:sub(1, 20))
    assert.same({ "junk", "more" }, malformed())
  end)

  it("put outcomes into inboxes alone", function()
    local id = p:plain(1)[1]
    s:redis("HSET", "y", id, "w a:me junk r:default b:" .. B)
    s:finish(A, "s", "default", 60, 1, s:take(A, 1)[1], "S\x01")
    assert.same({ id .. "S\x01" }, s:heard("a:me"))
    assert.same({ id .. "S\x01" }, s:heard("b:" .. B))
    assert.same({}, s:ready("default"))
    assert.equal(0, s:redis("EXISTS", "junk"))
  end)
end)
