local codec = require("taskengine.core").codec
local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"
local WEEK_MS <const> = 7 * 86400000
local MIB <const> = 1024 * 1024
local HAS_PAST <const> = 16
local FAILED <const>, LOST <const> = "F\x80", "F\x81\xa4kind\xaaWorkerLost"

describe("The dead:", function()
  local s, p

  local function open(limits)
    s = shard.new(nil, limits)
    p = s:producer("p")
    s:register(A)
  end

  before_each(function()
    open()
  end)

  -- One task that fails for good: its id.
  local function die(parts, opts)
    local id = p:add(parts, opts)
    local field = s:take(A, 1, { queues = { parts and parts.queue
      or "default" } })[1]
    assert.equal(1, s:finish(A, "o", field, FAILED))
    return id
  end

  local function dead()
    local ids = {}
    local reply = s:call("dead", "-inf", "+inf", 100)
    for i = 1, #reply, 2 do
      ids[#ids + 1] = reply[i]
    end
    return ids
  end

  local function read(id)
    return s:call("dead_read", "1", id)[1]
  end

  -- Notes as they were written.
  local function past_of(id)
    local notes = {}
    for i, bytes in ipairs(s:redis("LRANGE", "h:" .. id, 0, -1)) do
      local n = {}
      n.at, n.letter, n.wid, n.name, n.host, n.pid, n.at_record =
        string.unpack(">I8c1c12s1s1s1", bytes)
      n.record = bytes:sub(n.at_record)
      notes[i] = n
    end
    return notes
  end

  local function bytes_counted()
    return tonumber(s:redis("HGET", "n", "dead") or 0)
  end

  describe("te1_dead lists ids and times,", function()
    it("the newest first", function()
      local first = die()
      s:advance(10)
      local second = die()
      local now = s:now()
      assert.same({ second, tostring(now), first, tostring(now - 10) },
        s:call("dead", "-inf", "+inf", 100))
    end)

    it("as many as were asked for, of a span of time", function()
      local ids, times = {}, {}
      for i = 1, 4 do
        ids[i], times[i] = die(), s:now()
        s:advance(1)
      end
      assert.same({ ids[4], tostring(times[4]) },
        s:call("dead", "-inf", "+inf", 1))
      local some = s:call("dead", times[2], times[3], 100)
      assert.same({ ids[3], ids[2] }, { some[1], some[3] })
      assert.equal(4, #some)
      assert.same(some, s:call("dead", "-3", "-2", 100))
    end)
  end)

  describe("te1_dead_read", function()
    it("gives the whole entry", function()
      local id = die { name = "add", body = "\x91\x91\x07" }
      local row = read(id)
      assert.same({ id, tostring(s:now()) }, { row[1], row[2] })
      assert.equal("\x91\x91\x07", envelope.read(row[3]).body)
      assert.same({ #row[3], FAILED, {} }, { row[4], row[5], row[6] })
    end)

    it("gives the header alone where that will do", function()
      local id = die { name = "add", alias = "mine", limit_key = "k" }
      local row = s:call("dead_read", "0", id)[1]
      local parts = envelope.read(row[3])
      assert.same({ "add", "mine", "" }, { parts.name, parts.alias,
        parts.body })
      assert.equal(#row[3] + 2, row[4])
    end)

    it("knows the caller's id, and says who is not dead", function()
      local id = die({ alias = "mine" }, { unique = "umine" })
      local waits = p:add()
      local rows = s:call("dead_read", "0", "mine", waits, "nobody")
      assert.equal(id, rows[1][1])
      assert.same({ "-", "-" }, { rows[2], rows[3] })
    end)

    it("gives no more bytes than a reply is to have, but one entry",
      function()
        open { read_bytes_max = 300 }
        local small, large = die(), die { body = ("x"):rep(500) }
        local rows = s:call("dead_read", "1", small, large, small)
        assert.equal(small, rows[1][1])
        assert.same({ ">", small }, { rows[2], rows[3][1] })
        assert.equal(large, s:call("dead_read", "1", large)[1][1])
      end)

    it("leaves a large outcome out of a short answer", function()
      local id = p:add()
      local record = "F" .. ("x"):rep(70000)
      s:finish(A, "o", s:take(A, 1)[1], record)
      assert.equal(">", s:call("dead_read", "0", id)[1][5])
      assert.equal(record, read(id)[5])
    end)

    it("reads 1,000 at most, and writes nothing", function()
      local ids = {}
      for i = 1, 1001 do
        ids[i] = "nobody"
      end
      local before = s.fake:dump()
      local reply, problem = s:try("dead_read", "0", table.unpack(ids))
      assert.is_nil(reply)
      assert.matches("too many", problem)
      assert.same(before, s.fake:dump())
    end)
  end)

  describe("te1_requeue", function()
    local function requeue(id, at)
      return s:call("requeue", id, at or "")[1]
    end

    it("puts the very task back, as new", function()
      local id = die { attempt = 2, priority = 5, body = "\x91\x91\x07" }
      s:register(B)
      assert.equal("requeued", requeue(id))
      assert.same({}, dead())
      assert.same({ id }, s:ready("default"))
      local parts = envelope.read((s:fetch(B, 1)[1]))
      assert.same({ 0, 0, 0, 0, 5, "\x91\x91\x07" }, { parts.attempt,
        parts.deaths, parts.reaps, parts.delivery, parts.priority,
        parts.body })
      assert.equal(1, s:counter("default", "requeued"))
    end)

    it("takes the outcome away, so that who asks waits for the new one",
      function()
        local id = die()
        assert.equal(FAILED, s:call("outcome", id)[1])
        requeue(id)
        assert.same({ "=" .. id }, s:call("await", "a:client", id))
        local field = s:take(A, 1)[1]
        s:finish(A, "o", field, "S\x01")
        assert.same({ id .. "S\x01" }, s:heard("a:client"))
        assert.equal("S\x01", s:call("outcome", id)[1])
      end)

    it("wakes a sleeper", function()
      local id = die()
      s:fetch(A, 1)
      requeue(id)
      assert.same({ "" }, s:heard("b:" .. A))
    end)

    it("makes one task of it, however often it is asked", function()
      local id = die()
      local at = read(id)[2]
      assert.equal("requeued", requeue(id, at))
      local before = s.fake:dump()
      assert.equal("missing", requeue(id, at))
      assert.same(before, s.fake:dump())
    end)

    it("that comes late leaves a later death alone", function()
      local id = die()
      local at = read(id)[2]
      requeue(id, at)
      s:advance(5)
      s:finish(A, "o", s:take(A, 1)[1], FAILED)
      assert.equal("missing", requeue(id, at))
      assert.same({ id }, dead())
    end)

    it("says so when nobody serves the queue", function()
      local id = die()
      s:call("leave", A)
      assert.equal("unserved", requeue(id))
      assert.same({ id }, s:ready("default"))
    end)

    it("lets the caller's id lead to the task again", function()
      local id = die({ alias = "mine", ttl_s = 60 }, { unique = "umine" })
      s:advance(60001)
      assert.same({ "?" }, s:call("outcome", "mine"))
      requeue(id)
      s:advance(WEEK_MS // 2)
      assert.same({ "=" .. id }, s:call("outcome", "mine"))
    end)

    it("leaves it dead when its caller's id is another's by now", function()
      local id = die({ alias = "mine", ttl_s = 60 }, { unique = "umine" })
      s:advance(60001)
      local other = p:add({ alias = "mine" }, { unique = "umine" })
      local before = s.fake:dump()
      assert.equal("taken", requeue(id))
      assert.same(before, s.fake:dump())
      assert.same({ "=" .. other }, s:call("outcome", "mine"))
    end)

    it("remembers a task whose producer is forgotten", function()
      local id = p:add()
      s:advance(WEEK_MS - 1000)
      s:finish(A, "o", s:take(A, 1)[1] or error("FENCED"), FAILED)
      s:advance(2000)
      requeue(id)
      assert.same({ "=" .. id }, s:call("outcome", id))
    end)

    it("drops an expiry that has passed, and no other", function()
      local function expiry_of(id)
        requeue(id)
        return envelope.read((s:fetch(A, 1)[1])).expiry_ms
      end
      local id = die({}, { expires = 1000 })
      assert.is_true(expiry_of(id) > s:now())
      id = die({}, { expires = 1000 })
      s:advance(1000)
      assert.equal(0, expiry_of(id))
    end)

    it("sets an entry aside that somebody has damaged", function()
      for _, bytes in ipairs { "rubbish", false } do
        local id = die()
        s:redis("HDEL", "t", id)
        if bytes then
          s:redis("HSET", "t", id, bytes)
        end
        assert.equal("-", read(id))
        assert.equal("missing", requeue(id))
        assert.same({}, dead())
        assert.same({ bytes or id }, s:call("malformed", 0, 1))
      end
    end)

    it("moves a bounded number of bytes, and says who is left", function()
      open { read_bytes_max = 300 }
      local one, two = die { body = ("x"):rep(500) }, die()
      assert.same({ "requeued", "later" }, s:call("requeue", one, "", two, ""))
      assert.same({ two }, dead())
    end)
  end)

  describe("te1_delete", function()
    it("takes the entry away, and leaves the result", function()
      local id = die()
      local at = read(id)[2]
      assert.same({ "deleted", "missing" },
        s:call("delete", id, at, "nobody", ""))
      assert.same({ "missing" }, s:call("delete", id, at))
      assert.same({}, dead())
      for _, key in ipairs { "t", "x", "e" } do
        assert.equal(0, s:redis("EXISTS", key))
      end
      assert.equal(FAILED, s:call("outcome", id)[1])
    end)
  end)

  describe("What is kept", function()
    it("is 256 MiB at most, the newest of them", function()
      open { dead_bytes_max = 1000 }
      local ids = {}
      for i = 1, 10 do
        ids[i] = die { body = ("x"):rep(100) }
        s:advance(1)
      end
      -- 102 bytes, "default", "add", the body, the outcome
      local each = 102 + 7 + 3 + 100 + 2
      assert.equal(4 * each, bytes_counted())
      assert.same({ ids[10], ids[9], ids[8], ids[7] }, dead())
      assert.equal(4, s:redis("HLEN", "t"))
      assert.equal(4, s:redis("HLEN", "e"))
    end)

    it("is counted to the byte, also when it goes", function()
      local one, two = die { body = "\x91\x91\x07" }, die()
      assert.equal(2 * (102 + 7 + 3 + 2) + 3 + 2, bytes_counted())
      s:call("requeue", one, "")
      assert.equal(102 + 7 + 3 + 2 + 2, bytes_counted())
      s:call("delete", two, "")
      assert.is_false(s:redis("HGET", "n", "dead"))
    end)
  end)

  describe("What is noted of a task", function()
    local ABOUT <const> = codec.encode { name = "w1", host = "h1", pid = 4711,
      tasks = { add = {} } }

    before_each(function()
      s:call("register", A, 15000, ABOUT, "default")
    end)

    it("is whom it was lost with, why and when", function()
      local id = p:add()
      s:advance(7)
      s:finish(A, "l", s:take(A, 1)[1], LOST)
      local at = s:now()
      local note = past_of(id)[1]
      assert.same({ at, "c", A, "w1", "h1", "4711", LOST }, { note.at,
        note.letter, note.wid, note.name, note.host, note.pid, note.record })
      s:take(A, 1)
      s:call("reap", A, "1", LOST, "-")
      assert.equal("w", past_of(id)[2].letter)
      assert.equal("4711", past_of(id)[2].pid)
    end)

    it("goes with the entry", function()
      local id = p:add()
      for _ = 1, 3 do
        s:finish(A, "l", s:take(A, 1)[1], LOST)
      end
      local row = read(id)
      assert.equal(3, #row[6])
      assert.equal(3, envelope.read(row[3]).deaths)
      s:call("delete", id, "")
      assert.equal(0, s:redis("EXISTS", "h:" .. id))
    end)

    it("stays when it is put back, with what it had failed of", function()
      local id = die()
      s:call("requeue", id, "")
      local note = past_of(id)[1]
      assert.same({ "q", FAILED, "" }, { note.letter, note.record, note.name })
      s:finish(A, "o", s:take(A, 1)[1], FAILED)
      assert.equal(1, #read(id)[6])
    end)

    it("shows in the envelope, and goes when the task succeeds", function()
      local id = p:add()
      s:finish(A, "l", s:take(A, 1)[1], LOST)
      local bytes, number = s:fetch(A, 1)
      assert.equal(HAS_PAST, envelope.read(bytes[1]).flags)
      s:finish(A, "o", envelope.field(bytes[1], number), "S\x01")
      assert.equal(0, s:redis("EXISTS", "h:" .. id))
    end)

    it("is bounded in number, size and time", function()
      local id = die()
      for _ = 1, 20 do
        s:call("requeue", id, "")
        s:finish(A, "o", s:take(A, 1)[1], "F" .. ("x"):rep(5000))
      end
      local notes = past_of(id)
      assert.equal(16, #notes)
      assert.equal("", notes[16].record)
      s:advance(WEEK_MS + 1)
      assert.same({}, past_of(id))
    end)

    it("says nothing of a worker that says nothing readable", function()
      for _, about in ipairs { "", "\xc1", "\x01", "\x81\xa4name\x80",
        codec.encode { name = ("x"):rep(300), host = {}, pid = false } } do
        s:call("register", A, 15000, about, "default")
        local id = p:add()
        s:finish(A, "l", s:take(A, 1)[1], LOST)
        local note = past_of(id)[1]
        assert.is_true(#note.name <= 255)
        assert.equal(LOST, note.record)
        s:finish(A, "o", s:take(A, 1)[1], "S\x01")
      end
    end)
  end)

  describe("What is malformed", function()
    local function intrude(...)
      s:redis("SADD", "q", "default")
      for _, bytes in ipairs { ... } do
        s:redis("RPUSH", "r:default", bytes)
      end
      s:fetch(A, 1)
    end

    local function counted()
      return tonumber(s:redis("HGET", "n", "malformed") or 0)
    end

    it("is listed, the newest first", function()
      intrude("one", "two", "three")
      assert.same({ "three", "two", "one" }, s:call("malformed", 0, 100))
      assert.same({ "two" }, s:call("malformed", 1, 1))
      assert.equal(11, counted())
    end)

    it("is dropped by what it is", function()
      intrude("one", "two", "one")
      assert.equal(2, s:call("drop_malformed", "one", "four"))
      assert.same({ "two" }, s:call("malformed", 0, 100))
      assert.equal(3, counted())
      assert.equal(1, s:call("drop_malformed", "two"))
      assert.equal(0, counted())
    end)

    it("is 16 MiB at most, of each 64 KiB", function()
      for i = 1, 260 do
        intrude(("\0"):rep(65536 + i))
      end
      assert.same({ 256, 16 * MIB },
        { #s:call("malformed", 0, 1000), counted() })
    end)

    it("is counted anew when the old has expired", function()
      intrude("one")
      s:advance(WEEK_MS + 1)
      s:register(A)
      intrude("three")
      assert.equal(5, counted())
    end)
  end)
end)
