local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local NO_RESULT <const> = 1
local REVOKED <const> = "R\x81\xa4kind\xa7Revoked"
local WEEK_MS <const> = 7 * 86400000

describe("Results:", function()
  local s, p

  before_each(function()
    s, p = shard.serving(A)
  end)

  local function outcome(id)
    return s:call("outcome", id)[1]
  end

  local function cancel(id)
    return s:call("cancel", REVOKED, 60, id)[1]
  end

  local function end_next(record)
    local field = s:take(A, 1)[1]
    s:finish(A, "o", field, record or "S\x01")
    return field:sub(1, 20)
  end

  describe("te1_outcome", function()
    it("is the outcome of what has ended", function()
      local id = p:plain(1)[1]
      end_next("S\x2a")
      assert.equal("S\x2a", outcome(id))
    end)

    it("tells what waits or runs from what was never enqueued", function()
      local waits, runs = p:plain(1)[1], p:add { priority = 1 }
      local due = p:add({}, { delay = "+9" })
      s:take(A, 1)
      assert.same({ "=" .. waits, "=" .. runs, "=" .. due, "?", "?" },
        s:call("outcome", waits, runs, due, envelope.id(p.id, 4),
          envelope.id("nobodyxxxxxx", 1)))
    end)

    it("knows the caller's id", function()
      local id = p:add({ alias = "mine" }, { unique = "umine" })
      assert.equal("=" .. id, outcome("mine"))
      end_next()
      assert.equal("S\x01", outcome("mine"))
      assert.equal("?", outcome("other"))
    end)

    it("is known of the dead for as long as they are", function()
      local id = p:plain(1, { ttl_s = 1 })[1]
      end_next("F\x80")
      s:advance(WEEK_MS)
      assert.equal("F\x80", outcome(id))
    end)

    it("writes nothing", function()
      p:plain(1)
      local before = s.fake:dump()
      s:call("outcome", envelope.id(p.id, 1), "mine", "")
      assert.same(before, s.fake:dump())
    end)
  end)

  describe("te1_look", function()
    local function look(...)
      return s:call("look", ...)
    end

    it("has what te1_outcome has of what waits, runs or has ended", function()
      local ended = p:plain(1)[1]
      end_next("S\x2a")
      local runs, due = p:plain(1)[1], p:add({}, { delay = "+9" })
      s:take(A, 1)
      local urgent = p:add { priority = 1 }
      assert.same({ "S\x2a", "=" .. runs, "=" .. due, "=" .. urgent, "?" },
        look(ended, runs, due, urgent, envelope.id(p.id, 9)))
    end)

    it("tells that an outcome is gone, once no ready list is left", function()
      local id, other = p:plain(1, { ttl_s = 1 })[1], p:plain(1)[1]
      end_next()
      s:advance(1100)
      assert.same({ "=" .. id }, look(id)) -- it may be in the list
      s:take(A, 1)
      assert.same({ "-", "=" .. other }, look(id, other))
    end)

    it("tells that none was kept", function()
      local id = p:plain(1, { flags = NO_RESULT })[1]
      end_next()
      assert.same({ "-" }, look(id))
    end)

    it("looks for no task among very many in flight", function()
      local gone = p:plain(1, { flags = NO_RESULT })[1]
      end_next()
      for _ = 1, 5 do
        p:plain(1000)
        s:take(A, 1000)
      end
      assert.same({ "-" }, look(gone))
      p:plain(1)
      s:take(A, 1)
      assert.same({ "=" .. gone }, look(gone))
    end)

    it("says of a large one only that it is there", function()
      local id = p:plain(1)[1]
      end_next("S" .. ("x"):rep(65536))
      assert.same({ ">" }, look(id))
    end)

    it("writes nothing", function()
      p:plain(1)
      local before = s.fake:dump()
      look(envelope.id(p.id, 1), "mine", "")
      assert.same(before, s.fake:dump())
    end)
  end)

  describe("te1_await", function()
    it("has the outcome where it is there", function()
      local id = p:plain(1)[1]
      end_next("S\x2a")
      assert.same({ "S\x2a", "?" },
        s:call("await", "a:client", id, envelope.id(p.id, 2)))
      assert.equal(0, s:redis("EXISTS", "y", shard.PREFIX .. "yt"))
    end)

    it("has it come to the inbox where it is not", function()
      local id = p:plain(1)[1]
      assert.same({ "=" .. id }, s:call("await", "a:client", id))
      end_next("S\x2a")
      assert.same({ id .. "S\x2a" }, s:heard("a:client"))
      assert.equal(0, s:redis("EXISTS", "y", shard.PREFIX .. "yt"))
    end)

    it("says of a large one only that it is there", function()
      local fits, large = p:plain(1)[1], p:plain(1)[1]
      end_next("S" .. ("x"):rep(65535))
      end_next("S" .. ("x"):rep(65536))
      local reply = s:call("await", "a:c1", fits, large)
      assert.equal(65536, #reply[1])
      assert.equal(">", reply[2])
      assert.equal(65537, #outcome(large))
    end)

    it("tells an inbox once, however often it asked", function()
      local id = p:plain(1)[1]
      s:call("await", "a:client", id, id)
      s:call("await", "a:client", id)
      end_next()
      assert.equal(1, #s:heard("a:client"))
    end)

    it("tells inboxes whose names begin alike", function()
      local id = p:plain(1)[1]
      s:call("await", "a:client2", id)
      s:call("await", "a:client", id)
      end_next()
      assert.equal(1, #s:heard("a:client"))
      assert.equal(1, #s:heard("a:client2"))
    end)

    it("takes a thousand inboxes for a task, and says when it takes no more",
      function()
        local id = p:plain(1)[1]
        local count = 0
        local function await_once_more()
          count = count + 1
          return s:try("await", ("a:client%06d"):format(count), id)
        end
        local reply, problem = await_once_more()
        while reply do
          reply, problem = await_once_more()
        end
        assert.is_true(count > 1000 and count < 2000)
        assert.truthy(problem:find("too many wait for one task", 1, true))
        end_next()
        assert.equal(1, #s:heard("a:client000001"))
        assert.equal(1, #s:heard(("a:client%06d"):format(count - 1)))
        assert.equal(0, #s:heard(("a:client%06d"):format(count)))
      end)

    it("is forgotten after a week, but not when it was asked again",
      function()
        local ids = p:plain(2)
        s:call("await", "a:client", ids[1], ids[2])
        s:advance(WEEK_MS - 1)
        s:call("await", "a:client", ids[2])
        s:advance(1)
        s:call("await", "a:other")
        assert.same({ ids[2] }, s:redis("HKEYS", "y"))
        assert.same({ ids[2] }, s:redis("ZRANGE", "yt", 0, -1))
      end)

    it("tells of every kind of end", function()
      local ids = p:plain(3, { flags = NO_RESULT })
      local due = p:add({}, { delay = "+5" })
      s:call("await", "a:client", ids[1], ids[2], ids[3], due)
      end_next("F\x80")
      s:finish(A, "d", "default", 1, s:take(A, 1)[1])
      cancel(ids[3])
      cancel(due)
      assert.same({ ids[1] .. "F\x80", ids[2] .. "-", ids[3] .. REVOKED,
        due .. REVOKED }, s:heard("a:client"))
    end)
  end)

  describe("te1_unwait", function()
    it("ends a wait of that inbox alone", function()
      local id = p:plain(1)[1]
      s:call("await", "a:client", id)
      s:call("await", "a:other", id)
      assert.equal(1, s:call("unwait", "a:client", id))
      end_next()
      assert.same({}, s:heard("a:client"))
      assert.equal(1, #s:heard("a:other"))
    end)

    it("leaves nothing of the last", function()
      local id = p:plain(1)[1]
      s:call("await", "a:client", id)
      s:call("unwait", "a:client", id)
      assert.equal(0, s:redis("EXISTS", "y", shard.PREFIX .. "yt"))
    end)

    it("counts only what it ended", function()
      local ids = p:plain(2)
      s:call("await", "a:client", ids[1])
      assert.equal(0, s:call("unwait", "a:other", ids[1], ids[2], "mine"))
      assert.equal(1, s:call("unwait", "a:client", ids[1], ids[1]))
    end)
  end)

  describe("te1_forget", function()
    it("puts a mark in place of the outcome, for as long", function()
      local id = p:plain(1, { ttl_s = 60 })[1]
      end_next()
      s:advance(59000)
      assert.equal(1, s:call("forget", id))
      assert.equal("-", outcome(id))
      s:advance(2000)
      assert.equal("=" .. id, outcome(id))
    end)

    it("counts what it forgot, once", function()
      local ids = p:plain(2)
      end_next()
      assert.equal(1, s:call("forget", ids[1], ids[2], "mine"))
      assert.equal(0, s:call("forget", ids[1]))
      assert.equal("=" .. ids[2], outcome(ids[2]))
    end)

    it("leaves the neighbours of a chunk alone", function()
      local ids = p:plain(2)
      end_next("S\x01")
      end_next("S\x02")
      s:call("forget", ids[1])
      assert.same({ "-", "S\x02" }, s:call("outcome", ids[1], ids[2]))
    end)
  end)
end)
