local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"
local NO_RESULT <const>, LOST_FAILS <const> = 1, 2
local DAY_MS <const>, WEEK_MS <const> = 86400000, 7 * 86400000

describe("te1_finish", function()
  local s, p

  before_each(function()
    s, p = shard.serving(A)
  end)

  -- One task in flight at A: its id and field.
  local function running(parts, opts)
    local id = p:add(parts, opts)
    return id, s:take(A, 1)[1]
  end

  local function outcome(id)
    return s:call("outcome", id)[1]
  end

  local function counts()
    local found = {}
    for _, name in ipairs {
      "done", "failed", "revoked", "redelivered", "lost",
    } do
      local n = s:counter("default", name)
      found[name] = n > 0 and n or nil
    end
    return found
  end

  it("gives nothing away to a worker without a lease", function()
    local _, field = running()
    s:call("reap", A, "1", "F", "-")
    local before = s.fake:dump()
    assert.same({ "FENCED" }, s:call("finish", A, 15000, "o", field, "S\x01"))
    assert.same(before, s.fake:dump())
  end)

  it("tells those who wait, among many that nobody waits for", function()
    local awaited = {}
    for i = 1, 40 do
      awaited[i] = p:add()
      p:add() -- nobody waits for this one
    end
    s:call("await", "a:inbox", table.unpack(awaited))
    local operations = {}
    for _, field in ipairs(s:take(A, 80)) do
      table.move({ "o", field, "S" }, 1, 3, #operations + 1, operations)
    end
    assert.equal(80, s:finish(A, table.unpack(operations)))
    assert.equal(40, s:redis("LLEN", "a:inbox"))
    assert.equal(0, s:redis("HLEN", "y"))
    assert.equal(80, s:counter("default", "done"))
  end)

  it("tells the few who wait for some of many", function()
    local awaited = { p:add(), p:add(), p:add(), p:add() }
    s:call("await", "a:inbox", awaited[1], awaited[4])
    local operations = {}
    for _, field in ipairs(s:take(A, 4)) do
      table.move({ "o", field, "S" }, 1, 3, #operations + 1, operations)
    end
    s:finish(A, table.unpack(operations))
    assert.same({ awaited[1] .. "S", awaited[4] .. "S" },
      s:redis("LRANGE", "a:inbox", 0, -1))
  end)

  it("renews the lease, also with nothing to finish", function()
    s:advance(15001)
    assert.equal(0, s:finish(A))
    assert.equal(tostring(s:now() + 15000), s:redis("ZSCORE", "w", A))
  end)

  describe("does nothing at all with", function()
    local cases = {
      ["an unknown operation"] = { "x", "field" },
      ["an operation that is cut off"] = { "o", "field" },
      ["less than it says"] = { "d", "default", "2", "field" },
      ["a time to live that is none"] =
        { "s", "default", "x", "1", "field", "S" },
      ["a negative time to live"] =
        { "s", "default", "-1", "1", "field", "S" },
      ["a number of tasks that is none"] = { "d", "default", "x", "field" },
      ["more than 4,000 tasks"] = { "d", "default", "4001", "field" },
    }
    for what, operation in pairs(cases) do
      it(what, function()
        local _, field = running()
        local before = s.fake:dump()
        local reply, problem = s:try("finish", A, 15000, "h", field,
          table.unpack(operation))
        assert.is_nil(reply)
        assert.truthy(problem:find("not an operation", 1, true))
        assert.same(before, s.fake:dump())
      end)
    end
  end)

  describe("of successes together", function()
    local function takes(operation, n)
      p:plain(n)
      local fields = s:take(A, n)
      local args = { operation, "default" }
      if operation == "s" then
        args[3] = 60
      end
      args[#args + 1] = n
      for i, field in ipairs(fields) do
        args[#args + 1] = field
        args[#args + 1] = operation == "s" and "S" .. i or nil
      end
      return args
    end

    it("keeps the outcomes as long as was asked", function()
      local args = takes("s", 3)
      assert.equal(3, s:finish(A, table.unpack(args)))
      local ids = { envelope.id(p.id, 1), envelope.id(p.id, 2),
        envelope.id(p.id, 3) }
      assert.same({ "S1", "S2", "S3" },
        s:call("outcome", table.unpack(ids)))
      s:advance(60000)
      assert.equal("S1", outcome(ids[1]))
      s:advance(1000) -- a 64th more at most
      assert.equal("=" .. ids[1], outcome(ids[1]))
    end)

    it("keeps none where that is so", function()
      local args = takes("d", 3)
      assert.equal(3, s:finish(A, table.unpack(args)))
      local id = envelope.id(p.id, 1)
      assert.equal("=" .. id, outcome(id))
    end)

    it("counts them, and leaves nothing else behind", function()
      s:finish(A, table.unpack(takes("d", 3)))
      assert.same({ done = 3 }, counts())
      s:call("leave", A)
      s:advance(WEEK_MS + 1)
      assert.same({ "q", "s:default" }, s:keys())
    end)

    it("takes 1,000", function()
      assert.equal(1000, s:finish(A, table.unpack(takes("s", 1000))))
      assert.equal(1000, s:finish(A, table.unpack(takes("d", 1000))))
      assert.same({ done = 2000 }, counts())
    end)

    for _, operation in ipairs { "s", "d" } do
      it("changes nothing when repeated: " .. operation, function()
        local args = takes(operation, 2)
        s:finish(A, table.unpack(args))
        local before = s.fake:dump()
        assert.equal(0, s:finish(A, table.unpack(args)))
        assert.same(before, s.fake:dump())
      end)
    end

    it("tells those who wait", function()
      local kept, args = envelope.id(p.id, 1), takes("s", 2)
      s:call("await", "a:client", kept)
      s:finish(A, table.unpack(args))
      assert.same({ kept .. "S1" }, s:heard("a:client"))
      local left, more = envelope.id(p.id, 3), takes("d", 2)
      s:call("await", "a:client", left)
      s:finish(A, table.unpack(more))
      assert.same({ left .. "-" }, s:heard("a:client"))
    end)

    it("keeps what was written first, should a repeat be half done",
      function()
        local args = takes("s", 2)
        s:finish(A, "o", args[5], "Sfirst")
        assert.equal(1, s:finish(A, table.unpack(args)))
        assert.equal("Sfirst", outcome(args[5]:sub(1, 20)))
        assert.equal("S2", outcome(args[7]:sub(1, 20)))
        assert.same({ done = 2 }, counts())
      end)

    it("keeps a chunk of outcomes as long as the longest in it", function()
      local _, short = running { ttl_s = 10 }
      local id, long = running { ttl_s = 1000 }
      s:finish(A, "s", "default", "10", "1", short, "Sshort",
        "s", "default", "1000", "1", long, "Slong")
      local _, other = running { ttl_s = 20 }
      s:finish(A, "s", "default", "20", "1", other, "Sother")
      s:advance(1000000)
      assert.equal("Slong", outcome(id))
      s:advance(1000000 // 64 + 1)
      assert.equal("=" .. id, outcome(id))
    end)
  end)

  describe("of one outcome", function()
    it("ends a success", function()
      local id, field = running { ttl_s = 60 }
      assert.equal(1, s:finish(A, "o", field, "S\x01"))
      assert.equal("S\x01", outcome(id))
      assert.same({ done = 1 }, counts())
      assert.equal(0, s:redis("EXISTS", "f:" .. A))
    end)

    it("ends a failure among the dead", function()
      local id, field = running { attempt = 3, ttl_s = 60 }
      s:finish(A, "o", field, "F\x80")
      assert.equal("F\x80", outcome(id))
      assert.same({ failed = 1 }, counts())
      assert.same({ id, tostring(s:now()) },
        s:redis("ZRANGE", "x", 0, -1, "WITHSCORES"))
      assert.equal("F\x80", s:redis("HGET", "e", id))
      assert.equal(3, envelope.read(s:redis("HGET", "t", id)).attempt)
    end)

    it("ends a revocation", function()
      local id, field = running()
      s:finish(A, "o", field, "R\x80")
      assert.equal("R\x80", outcome(id))
      assert.same({ revoked = 1 }, counts())
      assert.equal(0, s:redis("EXISTS", "x"))
    end)

    it("keeps nothing of a success without a result", function()
      local id, field = running { flags = NO_RESULT }
      s:finish(A, "o", field, "S\x01")
      assert.equal("=" .. id, outcome(id))
    end)

    it("keeps the failure of a task without a result among the dead only",
      function()
        local id, field = running { flags = NO_RESULT }
        s:finish(A, "o", field, "F\x80")
        assert.equal("F\x80", outcome(id))
        s:call("heartbeat", A, 15000, "default")
        assert.equal("F\x80", outcome(id))
        s:advance(WEEK_MS + 1)
        s:call("heartbeat", A, 15000, "default")
        assert.equal("?", outcome(id))
      end)

    it("keeps nothing for a time to live of zero", function()
      local id, field = running { ttl_s = 0 }
      s:finish(A, "o", field, "S\x01")
      assert.equal("=" .. id, outcome(id))
    end)

    it("tells every inbox that waits, which expires", function()
      local id, field = running()
      s:call("await", "a:client", id)
      s:call("await", "b:" .. B, id)
      s:finish(A, "o", field, "S\x01")
      assert.same({ id .. "S\x01" }, s:heard("b:" .. B))
      assert.equal(3600000, s:redis("PTTL", "a:client"))
      assert.same({ id .. "S\x01" }, s:heard("a:client"))
      assert.equal(0, s:redis("EXISTS", "y", shard.PREFIX .. "yt"))
    end)

    it("tells where to look for one of more than 64 KiB", function()
      local id, field = running()
      local fits, fits_field = running()
      s:call("await", "a:client", id, fits)
      s:finish(A, "o", field, "S" .. ("x"):rep(65536))
      s:finish(A, "o", fits_field, "S" .. ("x"):rep(65535))
      assert.same({ id .. ">", fits .. "S" .. ("x"):rep(65535) },
        s:heard("a:client"))
      assert.equal(65537, #outcome(id))
    end)

    it("changes nothing when it is not this worker's any more", function()
      local _, field = running()
      s:finish(A, "h", field)
      s:register(B)
      local again = s:take(B, 1)[1]
      local before = s.fake:dump()
      assert.equal(0, s:finish(A, "o", field, "S1"))
      assert.equal(0, s:finish(A, "o", again, "S1"))
      assert.equal(0, s:finish(B, "o", field, "S1"))
      assert.same(before, s.fake:dump())
    end)
  end)

  describe("keeps the dead", function()
    it("to 10,000, the newest", function()
      for i = 1, 10000 do
        s:redis("ZADD", "x", s:now(), ("old%05d"):format(i))
        s:redis("HSET", "t", ("old%05d"):format(i), "")
        s:redis("HSET", "e", ("old%05d"):format(i), "F")
      end
      s:advance(1)
      local id, field = running()
      s:finish(A, "o", field, "F\x80")
      for _, name in ipairs { "x", "t", "e" } do
        local size = name == "x" and "ZCARD" or "HLEN"
        assert.equal(10000, s:redis(size, name))
      end
      assert.equal("F\x80", s:redis("HGET", "e", id))
      assert.is_false(s:redis("HGET", "e", "old00001"))
    end)

    it("for a week", function()
      local old, old_field = running()
      s:finish(A, "o", old_field, "F\x80")
      s:advance(WEEK_MS - 1)
      p = s:producer("q")
      local _, field = running()
      s:finish(A, "o", field, "F\x80")
      assert.equal("F\x80", s:redis("HGET", "e", old))
      s:advance(1)
      local _, last = running()
      s:finish(A, "o", last, "F\x80")
      assert.is_false(s:redis("HGET", "e", old))
      assert.equal(2, s:redis("ZCARD", "x"))
      assert.equal(2, s:redis("HLEN", "t"))
    end)
  end)

  describe("hands back", function()
    it("unspent, to the head of the queue", function()
      local ids = p:plain(2)
      local field = s:take(A, 1)[1]
      s:finish(A, "h", field)
      assert.same(ids, s:ready("default"))
      assert.same({}, counts())
      local e = envelope.read(s:redis("LINDEX", "r:default", 0))
      assert.same({ 1, 0, 0, 0 }, { e.delivery, e.deaths, e.reaps, e.attempt })
    end)

    it("several in the order given", function()
      local ids = p:plain(3)
      local fields = s:take(A, 3)
      s:finish(A, "h", fields[1], "b", fields[2], "h", fields[3])
      assert.same(ids, s:ready("default"))
    end)

    it("with the priority, in front of its equals", function()
      local first = p:add { priority = 5 }
      local second = p:add { priority = 5 }
      local urgent = p:add { priority = 6 }
      local fields = s:take(A, 2)
      s:finish(A, "h", fields[2])
      s:finish(A, "h", fields[1])
      assert.same({ urgent, first, second }, s:ready("default"))
    end)

    it("what had begun, counted as redelivered", function()
      local id, field = running()
      s:finish(A, "b", field)
      assert.same({ redelivered = 1 }, counts())
      assert.same({ id }, s:ready("default"))
    end)

    it("and wakes a sleeper", function()
      local _, field = running()
      s:register(B)
      s:fetch(B, 1)
      s:finish(A, "h", field)
      assert.same({ "" }, s:heard("b:" .. B))
    end)

    it("the same field once in a call", function()
      local id, field = running()
      assert.equal(1, s:finish(A, "h", field, "h", field, "o", field, "S"))
      assert.same({ id }, s:ready("default"))
    end)
  end)

  describe("of a task whose child died", function()
    it("hands it back twice and then ends it", function()
      local id = p:plain(1)[1]
      for deaths = 1, 2 do
        s:finish(A, "l", s:take(A, 1)[1], "F\x80")
        local e = envelope.read(s:redis("LINDEX", "r:default", 0))
        assert.same({ deaths, deaths }, { e.deaths, e.delivery })
      end
      local field = s:take(A, 1)[1]
      s:finish(A, "l", field, "F\x80")
      assert.equal("F\x80", outcome(id))
      assert.same({ failed = 1, lost = 3 }, counts())
      assert.equal(3, envelope.read(s:redis("HGET", "t", id)).deaths)
    end)

    it("ends it at once when it is to fail then", function()
      local id, field = running { flags = LOST_FAILS }
      s:finish(A, "l", field, "F\x80")
      assert.equal("F\x80", outcome(id))
      assert.same({ failed = 1, lost = 1 }, counts())
    end)

    it("counts a death once, however often it is told", function()
      local _, field = running()
      s:finish(A, "l", field, "F\x80")
      local again = s:take(A, 1)[1]
      assert.equal(0, s:finish(A, "l", field, "F\x80"))
      assert.same({ lost = 1 }, counts())
      assert.equal(1, s:finish(A, "h", again))
    end)
  end)

  describe("of a task that is not known here", function()
    local function refuse(wid, id)
      s:advance(250)
      local field = s:take(wid, 1)[1]
      assert.equal(id, field and field:sub(1, 20))
      s:finish(wid, "n", field, "F\x80")
    end

    it("lays it aside for a while, to be tried elsewhere", function()
      s:register(B)
      local id = p:plain(1)[1]
      refuse(A, id)
      assert.same({ id, tostring(s:now() + 250) },
        s:redis("ZRANGE", "z", 0, -1, "WITHSCORES"))
      assert.same({}, counts())
      assert.equal("=" .. id, outcome(id))
    end)

    it("ends it when every worker of the queue has refused it", function()
      s:register(B)
      s:register("workerCCCCCC", "mail")
      local id = p:plain(1)[1]
      refuse(A, id)
      refuse(B, id)
      assert.equal("F\x80", outcome(id))
      assert.same({ failed = 1 }, counts())
    end)

    it("ends it after 60 s when one worker never gets to see it", function()
      s:register(B)
      local id, refusals = p:plain(1)[1], 0
      while outcome(id) ~= "F\x80" do
        refuse(A, id)
        refusals = refusals + 1
      end
      assert.equal(60000 / 250 + 1, refusals)
    end)

    it("wakes another worker to try it in time", function()
      s:register(B)
      local _, field = running()
      s:fetch(B, 1)
      s:finish(A, "n", field, "F\x80")
      assert.same({ "" }, s:heard("b:" .. B))
    end)

    it("keeps no record of it for ever", function()
      s:register(B)
      local id = p:plain(1)[1]
      refuse(A, id)
      s:advance(250)
      s:finish(B, "d", "default", 1, s:take(B, 1)[1])
      s:call("leave", A)
      s:call("leave", B)
      s:advance(WEEK_MS + 1)
      assert.same({ "q", "s:default" }, s:keys())
    end)
  end)

  it("carries out different operations together", function()
    local ids = p:plain(5)
    local fields = s:take(A, 5)
    assert.equal(5, s:finish(A, "s", "default", 60, 1, fields[1], "S1",
      "h", fields[2], "d", "default", 1, fields[3], "l", fields[4], "F",
      "o", fields[5], "F5"))
    assert.same({ ids[2], ids[4] }, s:ready("default"))
    assert.same({ done = 2, lost = 1, failed = 1 }, counts())
    assert.same({ "S1", "F5" }, s:call("outcome", ids[1], ids[5]))
  end)

  it("leaves only what the protocol says once all has expired", function()
    local _, first = running { alias = "mine" }
    s:finish(A, "o", first, "F\x80")
    local id, field = running({ priority = 3 }, { delay = "+0" })
    s:call("await", "a:client", id)
    s:finish(A, "s", "default", DAY_MS // 1000, 1, field, "S\x01")
    s:advance(WEEK_MS + 1)
    s:call("heartbeat", A, 15000, "default")
    s:call("leave", A)
    assert.same({ "n", "q", "s:default" }, s:keys())
  end)
end)
