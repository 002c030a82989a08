local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const>, C <const> =
  "workerAAAAAA", "workerBBBBBB", "workerCCCCCC"
local LOST_FAILS <const> = 2
local LEASE_MS <const>, WEEK_MS <const> = 15000, 7 * 86400000

describe("Workers:", function()
  local s, p

  before_each(function()
    s = shard.new()
    p = s:producer("p")
  end)

  local function heartbeat(wid, ...)
    local queues = select("#", ...) > 0 and { ... } or { "default" }
    return s:call("heartbeat", wid, LEASE_MS, table.unpack(queues))
  end

  local function queues_of(wid)
    local queues = {}
    for _, key in ipairs(s:keys()) do
      local queue = key:match("^ws:(.*)")
      if queue and s:redis("SISMEMBER", key, wid) == 1 then
        queues[#queues + 1] = queue
      end
    end
    return queues
  end

  describe("te1_build", function()
    it("is the number that the library says", function()
      assert.equal(require("taskengine.library").BUILD, s:call("build"))
    end)
  end)

  describe("te1_register", function()
    it("takes a lease and notes what the worker says of itself", function()
      s:call("register", A, LEASE_MS, "\x81\xa1a\x01", "default", "mail")
      assert.same({ A, tostring(s:now() + LEASE_MS) },
        s:redis("ZRANGE", "w", 0, -1, "WITHSCORES"))
      assert.equal("\x81\xa1a\x01", s:redis("HGET", "wi", A))
      assert.same({ "default", "mail" }, queues_of(A))
    end)

    it("answers as a heartbeat", function()
      s:register(B)
      s:advance(1)
      p:plain(1)
      assert.same({ s:now(), 0, 1, s:now() + LEASE_MS - 1, B, 0 },
        s:register(A))
    end)

    it("changes the queues of a worker that registers again", function()
      s:register(A, "default", "mail")
      s:fetch(A, 1, { queues = { "default", "mail" } })
      s:register(A, "default", "video")
      assert.same({ "default", "video" }, queues_of(A))
      assert.equal(0, s:redis("EXISTS", "sl:mail"))
      assert.is_true(s:is_asleep(A))
    end)

    it("is harmless when repeated", function()
      s:register(A)
      local before = s.fake:dump()
      s:register(A)
      assert.same(before, s.fake:dump())
    end)
  end)

  describe("te1_describe", function()
    local function describe_as(wid, text, ...)
      return s:call("describe", wid, LEASE_MS, text, ...)
    end

    it("changes what a worker says of itself, and its queues", function()
      s:register(A, "default", "mail")
      s:fetch(A, 1, { queues = { "default", "mail" } })
      p:plain(1, { queue = "video" })
      assert.same({ s:now(), 0, 1, 0, "", 0 },
        describe_as(A, "another", "default", "video"))
      assert.equal("another", s:redis("HGET", "wi", A))
      assert.same({ "default", "video" }, queues_of(A))
      -- Nobody wakes it for the queue that it has left.
      assert.equal(0, s:redis("EXISTS", "sl:mail"))
    end)

    it("renews the lease", function()
      s:register(A)
      s:advance(14999)
      describe_as(A, "another", "default")
      assert.equal(tostring(s:now() + LEASE_MS), s:redis("ZSCORE", "w", A))
    end)

    it("says FENCED once it was reaped, and changes nothing", function()
      s:register(A)
      s:call("reap", A, "1", "F", "-")
      assert.same({ "FENCED" }, describe_as(A, "another", "default", "mail"))
      assert.same({ 0, 0 }, { s:redis("EXISTS", "w"), s:redis("EXISTS", "wi") })
      assert.same({}, queues_of(A))
    end)
  end)

  describe("te1_heartbeat", function()
    it("renews the lease", function()
      s:register(A)
      s:advance(14999)
      heartbeat(A)
      assert.equal(tostring(s:now() + LEASE_MS), s:redis("ZSCORE", "w", A))
    end)

    it("renews a lease that has ended but was not reaped", function()
      s:register(A)
      s:advance(LEASE_MS + 1)
      assert.equal(s:now(), heartbeat(A)[1])
    end)

    it("says FENCED once it was reaped, and takes no new lease", function()
      s:register(A)
      s:call("reap", A, "1", "F", "-")
      assert.same({ "FENCED" }, heartbeat(A))
      assert.equal(0, s:redis("EXISTS", "w"))
    end)

    it("says when the next task is due", function()
      s:register(A)
      p:add({}, { delay = "+800" })
      assert.equal(s:now() + 800, heartbeat(A)[2])
    end)

    it("says whether there is work in the worker's queues", function()
      s:register(A)
      assert.equal(0, heartbeat(A)[3])
      p:plain(1, { queue = "mail" })
      assert.equal(0, heartbeat(A)[3])
      assert.equal(1, heartbeat(A, "default", "mail")[3])
      p:add { priority = 1 }
      assert.equal(1, heartbeat(A)[3])
    end)

    it("says whose lease ends first, but for its own", function()
      s:register(A)
      s:advance(1)
      s:register(B)
      s:advance(1)
      s:register(C)
      assert.same({ s:now() + LEASE_MS - 2, A },
        { table.unpack(heartbeat(C), 4, 5) })
      assert.same({ s:now() + LEASE_MS - 1, B },
        { table.unpack(heartbeat(A), 4, 5) })
      s:call("leave", B)
      s:call("leave", C)
      assert.same({ 0, "" }, { table.unpack(heartbeat(A), 4, 5) })
    end)

    it("lets the dead go after a week", function()
      s:register(A)
      p:plain(1)
      s:finish(A, "o", s:take(A, 1)[1], "F\x80")
      s:advance(WEEK_MS - 1)
      heartbeat(A)
      assert.equal(1, s:redis("ZCARD", "x"))
      s:advance(1)
      heartbeat(A)
      assert.equal(0, s:redis("EXISTS", "x", shard.PREFIX .. "e",
        shard.PREFIX .. "t"))
    end)

    it("forgets who waits for what never ends, after a week", function()
      s:register(A)
      local id = p:plain(1)[1]
      s:redis("DEL", "r:default")
      s:call("await", "a:client", id)
      s:advance(WEEK_MS - 1)
      heartbeat(A)
      assert.equal(1, s:redis("HLEN", "y"))
      s:advance(1)
      heartbeat(A)
      assert.equal(0, s:redis("EXISTS", "y", shard.PREFIX .. "yt"))
    end)

    it("forgets what was revoked once no task is ready", function()
      s:register(A)
      local ids = p:plain(2)
      s:finish(A, "d", "default", 1, s:take(A, 1)[1])
      s:call("cancel", "R\x80", 60, ids[1])
      heartbeat(A)
      assert.equal(1, s:redis("ZCARD", "cx"))
      s:fetch(A, 1)
      heartbeat(A)
      assert.equal(0, s:redis("EXISTS", "cx"))
    end)
  end)

  describe("te1_leave", function()
    it("forgets the worker", function()
      s:register(A, "default", "mail")
      s:fetch(A, 1, { queues = { "default", "mail" } })
      s:redis("RPUSH", "b:" .. A, "")
      assert.equal(1, s:call("leave", A))
      assert.same({ "q" }, s:keys())
    end)

    it("refuses while tasks are in flight", function()
      s:register(A)
      p:plain(1)
      s:take(A, 1)
      assert.equal(0, s:call("leave", A))
      assert.equal(s:now(), heartbeat(A)[1])
    end)

    it("is harmless when repeated", function()
      s:register(A)
      s:call("leave", A)
      assert.equal(1, s:call("leave", A))
      assert.same({ "q" }, s:keys())
    end)

    it("passes on the bell that the worker did not answer", function()
      for _, wid in ipairs { A, B, C } do
        s:register(wid)
        s:fetch(wid, 1)
      end
      p:plain(1)
      local asleep = s:redis("SMEMBERS", "sl:default")
      assert.equal(1, #asleep)
      for _, wid in ipairs { A, B, C } do
        if wid ~= asleep[1] then
          s:call("leave", wid)
        end
      end
      assert.same({ "" }, s:heard("b:" .. asleep[1]))
    end)
  end)

  it("that leave hand on the timer for what is due later", function()
    s:register(A)
    s:register(B)
    s:fetch(A, 1)
    p:add({}, { delay = "+500" })
    s:fetch(A, 1, { slept = true })
    s:fetch(B, 1)
    s:call("leave", A)
    assert.same({ "" }, s:heard("b:" .. B))
  end)

  describe("te1_holds", function()
    it("names what is in flight at the worker", function()
      s:register(A)
      s:register(B)
      p:plain(3)
      local fields = s:take(A, 2)
      s:take(B, 1)
      local held = s:call("holds", A)
      assert.equal("0", table.remove(held, 1)) -- none was handed over
      table.sort(held)
      table.sort(fields)
      assert.same(fields, held)
    end)

    it("keeps nothing of a worker that is gone", function()
      assert.same({ "0" }, s:call("holds", A, 7))
      assert.same({}, s:keys())
    end)
  end)

  describe("te1_reap", function()
    before_each(function()
      s:register(A)
      s:register(B)
    end)

    local function reap(wid, ...)
      return s:call("reap", wid, ...)
    end

    it("does nothing before the lease has ended", function()
      p:plain(1)
      s:take(A, 1)
      s:advance(LEASE_MS - 1)
      assert.equal(-1, reap(A, "0", "F", "-"))
      assert.equal(1, s:redis("HLEN", "f:" .. A))
      s:advance(1)
      assert.equal(1, reap(A, "0", "F", "-"))
    end)

    it("does nothing for a worker that is gone, so that one of many reaps",
      function()
        p:plain(1)
        s:take(A, 1)
        assert.equal(1, reap(A, "1", "F", "-"))
        local before = s.fake:dump()
        assert.equal(-1, reap(A, "1", "F", "-"))
        assert.same(before, s.fake:dump())
      end)

    it("takes back what nobody has a lease for any more", function()
      p:plain(1)
      s:take(A, 1)
      s:redis("ZREM", "w", A) -- by hand: no function leaves it so
      assert.equal(1, reap(A, "0", "F", "-"))
      assert.equal(1, s:redis("LLEN", "r:default"))
      assert.equal(-1, reap(A, "0", "F", "-"))
    end)

    it("takes all tasks back, in the order of fetching", function()
      local plain = p:plain(3)
      local urgent = { p:add { priority = 4 }, p:add { priority = 4 } }
      s:take(A, 1)
      s:take(A, 2)
      s:take(A, 9)
      assert.equal(5, reap(A, "1", "F", "-"))
      assert.same({ urgent[1], urgent[2], plain[1], plain[2], plain[3] },
        s:ready("default"))
    end)

    it("counts a lost worker against what had started", function()
      p:plain(2)
      local fields = s:take(A, 2)
      reap(A, "1", "F", fields[2])
      local first = envelope.read(s:redis("LINDEX", "r:default", 0))
      local second = envelope.read(s:redis("LINDEX", "r:default", 1))
      assert.same({ 0, 1 }, { first.reaps, first.delivery })
      assert.same({ 1, 1 }, { second.reaps, second.delivery })
      assert.equal(1, s:counter("default", "lost"))
    end)

    it("counts nothing when nothing had started", function()
      p:plain(1)
      s:take(A, 1)
      assert.equal(1, reap(A, "1", "F"))
      assert.equal(0, envelope.read(s:redis("LINDEX", "r:default", 0)).reaps)
      assert.equal(0, s:counter("default", "lost"))
    end)

    it("ends a task whose tenth worker was lost", function()
      local id = p:plain(1)[1]
      for i = 1, 10 do
        local wid = ("worker%06d"):format(i)
        s:register(wid)
        assert.equal(1, #s:take(wid, 1))
        reap(wid, "1", "F\x80", "-")
      end
      assert.same({ "F\x80" }, s:call("outcome", id))
      assert.same({ id }, s:redis("ZRANGE", "x", 0, -1))
      assert.same({}, s:ready("default"))
    end)

    it("ends a task that is to fail when its worker is lost", function()
      local id = p:plain(1, { flags = LOST_FAILS })[1]
      s:take(A, 1)
      reap(A, "1", "F\x80", "-")
      assert.same({ "F\x80" }, s:call("outcome", id))
    end)

    it("but not when that task had not started", function()
      local id = p:plain(1, { flags = LOST_FAILS })[1]
      s:take(A, 1)
      reap(A, "1", "F\x80")
      assert.same({ id }, s:ready("default"))
    end)

    it("forgets the worker", function()
      s:call("leave", B)
      s:fetch(A, 1)
      s:redis("RPUSH", "b:" .. A, "")
      reap(A, "1", "F", "-")
      assert.same({ "q" }, s:keys())
    end)

    it("wakes others for the tasks, and never the one that is gone",
      function()
        p:plain(1)
        s:take(A, 2)
        s:fetch(B, 1)
        reap(A, "1", "F", "-")
        assert.same({ "" }, s:heard("b:" .. B))
        assert.equal(0, s:redis("EXISTS", "b:" .. A))
      end)

    it("passes on the bell that the worker did not answer", function()
      s:register(C)
      for _, wid in ipairs { A, B, C } do
        s:fetch(wid, 1)
      end
      p:plain(1)
      local asleep = s:redis("SMEMBERS", "sl:default")[1]
      for _, wid in ipairs { A, B, C } do
        if wid ~= asleep then
          reap(wid, "1", "F", "-")
        end
      end
      assert.same({ "" }, s:heard("b:" .. asleep))
    end)
  end)

  describe("te1_status", function()
    it("says what there is", function()
      s:call("register", A, LEASE_MS, "about A", "default")
      p:plain(3)
      p:add { priority = 2 }
      p:add({ queue = "mail" }, { delay = "+9" })
      s:take(A, 1)
      s:finish(A, "o", s:take(A, 1)[1], "F\x80")
      s:redis("LPUSH", "m", "rubbish")
      s:call("cancel", "R\x80", 60, p:plain(1)[1])
      assert.same({
        s:now(), 1, 1, 1,
        {
          { "default", 3, 0, 1, 5, 0, 1, 0, 0, 0, 0, 0, 0 },
          { "mail", 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 },
        },
        { { A, tostring(s:now() + LEASE_MS), 1, "about A" } },
        1, 0,
      }, s:call("status"))
    end)

    it("says that there is nothing", function()
      assert.same({ s:now(), 0, 0, 0, {}, {}, 0, 0 }, s:call("status"))
    end)
  end)
end)
