local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"
local NO_RESULT <const> = 1
local REVOKED <const> = "R\x81\xa4kind\xa7Revoked"

describe("Revoking:", function()
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

  describe("te1_cancel", function()
    it("answers for each of many", function()
      local ids = p:plain(3)
      local due = p:add({}, { delay = "+9" })
      end_next()
      s:take(A, 1)
      assert.same({ "finished", "running", "revoked", "revoked", "unknown",
        "finished" }, s:call("cancel", REVOKED, 60, ids[1], ids[2], ids[3],
        due, "mine", due))
      s:take(A, 1)
      assert.same({ REVOKED, REVOKED }, s:call("outcome", ids[3], due))
    end)

    it("revokes a task that is due later", function()
      local id = p:add({}, { delay = "+100" })
      assert.equal("revoked", cancel(id))
      assert.equal(REVOKED, outcome(id))
      assert.equal(1, s:counter("default", "revoked"))
      assert.equal(0, s:redis("EXISTS", "z", shard.PREFIX .. "t"))
    end)

    it("revokes a task of some priority", function()
      local id = p:add { priority = 9 }
      assert.equal("revoked", cancel(id))
      assert.same({}, s:take(A, 1))
      assert.equal(0, s:redis("EXISTS", "p:default", shard.PREFIX .. "t"))
    end)

    it("revokes a ready task, which never starts", function()
      local ids = p:plain(3)
      assert.equal("revoked", cancel(ids[2]))
      assert.equal(REVOKED, outcome(ids[2]))
      assert.equal(ids[1], end_next())
      assert.equal(ids[3], end_next())
      assert.same({}, s:take(A, 1))
      assert.equal(1, s:counter("default", "revoked"))
    end)

    it("keeps the outcome as long as was asked, also without a result",
      function()
        local ids = p:plain(1, { flags = NO_RESULT })
        ids[2] = p:add({ flags = NO_RESULT }, { delay = "+9" })
        for _, id in ipairs(ids) do
          cancel(id)
          assert.equal(REVOKED, outcome(id))
        end
        s:advance(61000)
        for _, id in ipairs(ids) do
          assert.equal("=" .. id, outcome(id))
        end
      end)

    it("stops a ready task whose outcome was forgotten meanwhile", function()
      local id = p:plain(1)[1]
      cancel(id)
      s:advance(61000)
      s:call("await", "a:client", id)
      assert.same({}, s:take(A, 1))
      assert.same({ id .. "-" }, s:heard("a:client"))
    end)

    it("says when the task runs, and lets it", function()
      local id = p:plain(1)[1]
      local field = s:take(A, 1)[1]
      assert.equal("running", cancel(id))
      s:finish(A, "o", field, "S\x01")
      assert.equal("S\x01", outcome(id))
    end)

    it("says when the task has ended", function()
      local ids = p:plain(2)
      end_next()
      s:finish(A, "d", "default", 1, s:take(A, 1)[1])
      for _, id in ipairs(ids) do
        assert.equal("finished", cancel(id))
      end
    end)

    it("says so of the dead when their outcome is kept no more", function()
      local dead = p:plain(1, { ttl_s = 1 })[1]
      end_next("F\x80")
      s:advance(1001)
      assert.equal("finished", cancel(dead))
      p:plain(1)
      assert.equal("finished", cancel(dead))
      assert.equal("F\x80", outcome(dead))
    end)

    it("says when there is no such task", function()
      assert.equal("unknown", cancel(envelope.id(p.id, 1)))
      assert.equal("unknown", cancel("mine"))
    end)

    it("knows the caller's id, which it lets expire", function()
      p:add({ alias = "mine", ttl_s = 60 }, { unique = "umine" })
      assert.equal("revoked", cancel("mine"))
      assert.equal(REVOKED, outcome("mine"))
      s:take(A, 1)
      s:advance(60001)
      assert.equal(0, s:redis("EXISTS", "u:mine"))
    end)

    it("changes nothing when repeated", function()
      local ids = p:plain(1)
      ids[2] = p:add({}, { delay = "+100" })
      for _, id in ipairs(ids) do
        cancel(id)
        local before = s.fake:dump()
        assert.equal("finished", cancel(id))
        assert.same(before, s.fake:dump())
      end
    end)
  end)

  describe("te1_revoke", function()
    local function revoke(id, mode)
      return s:call("revoke", REVOKED, 60, mode or "c", id)[1]
    end

    -- A task that runs: its id and its field.
    local function running(parts)
      local id = p:plain(1, parts)[1]
      return id, s:take(A, 1)[1]
    end

    -- What a worker is told of requests, by its bell and by its heartbeats.
    local function told(wid)
      local requests = {}
      for _, item in ipairs(s:heard("b:" .. wid)) do
        requests[#requests + 1] = item:match("^~(.*)$")
      end
      return requests
    end

    local function asked(wid)
      return s:call("heartbeat", wid, 15000, "default")[7]
    end

    it("takes what waits from where it waits, whatever the mode", function()
      for _, mode in ipairs { "w", "c", "t" } do
        local ids = { p:plain(1)[1], p:add { priority = 3 },
          p:add({}, { delay = "+100" }) }
        assert.same({ "revoked", "revoked", "revoked" },
          s:call("revoke", REVOKED, 60, mode, table.unpack(ids)))
        assert.same({ REVOKED, REVOKED, REVOKED },
          s:call("outcome", table.unpack(ids)))
      end
      assert.same({}, s:take(A, 10))
    end)

    it("answers as te1_cancel for what runs, when only that is asked for",
      function()
        local id = running()
        assert.equal("running", revoke(id, "w"))
        assert.same({}, asked(A))
      end)

    it("asks the worker that has a task in hand to end it", function()
      local id, field = running()
      assert.equal("asked", revoke(id))
      assert.same({ "c" .. field }, told(A))
      assert.same({ "c" .. field }, asked(A))
      assert.equal("=" .. id, outcome(id))
    end)

    it("asks nobody else", function()
      s:register(B)
      local id = running()
      revoke(id)
      assert.same({}, told(B))
      assert.same({}, asked(B))
    end)

    it("asks once, and once more when it is to be killed", function()
      local id, field = running()
      for _, mode in ipairs { "c", "c", "t", "c", "t" } do
        assert.equal("asked", revoke(id, mode))
      end
      assert.same({ "c" .. field, "t" .. field }, told(A))
      assert.same({ "t" .. field }, asked(A))
    end)

    it("keeps the outcome of who asked first", function()
      local id, field = running()
      revoke(id)
      s:call("revoke", "R\x80", 60, "t", id)
      s:finish(A, "b", field)
      assert.equal(REVOKED, outcome(id))
    end)

    it("lets a task end as it ends before it obeys", function()
      for _, operation in ipairs {
        { "o", "S\x01" }, { "o", "F\x80" }, { "s", "S\x01" }, { "d" },
      } do
        local id, field = running()
        revoke(id)
        if operation[1] == "o" then
          s:finish(A, "o", field, operation[2])
          assert.equal(operation[2], outcome(id))
        elseif operation[1] == "s" then
          s:finish(A, "s", "default", 60, 1, field, operation[2])
          assert.equal(operation[2], outcome(id))
        else
          s:call("await", "a:client", id)
          s:finish(A, "d", "default", 1, field)
          assert.same({ id .. "-" }, s:heard("a:client"))
        end
        assert.equal(0, s:redis("EXISTS", "cr:" .. A))
      end
    end)

    -- What else becomes of a task in flight, and the task goes on.
    local LEAVES <const> = {
      ["is handed back unspent"] = { "h" },
      ["is handed back"] = { "b" },
      ["loses its child"] = { "l", "F\x80" },
      ["is unknown there"] = { "n", "F\x80" },
      ["asks for another attempt"] =
        { "r", string.pack(">I8Bs4", 0, 1, "") .. "F\x80" },
    }
    for what, operation in pairs(LEAVES) do
      it("ends a task that " .. what .. ", in place of that", function()
        s:register(B)
        local id, field = running()
        revoke(id)
        assert.equal(1, s:finish(A, operation[1], field, operation[2]))
        assert.equal(REVOKED, outcome(id))
        assert.equal(1, s:counter("default", "revoked"))
        assert.same({}, s:take(A, 1))
        assert.equal(0, s:redis("EXISTS", "cr:" .. A, shard.PREFIX .. "z",
          shard.PREFIX .. "x"))
      end)
    end

    it("ends only the one that was meant", function()
      local ids = p:plain(2)
      local fields = s:take(A, 2)
      revoke(ids[1])
      s:finish(A, "h", fields[1], "h", fields[2])
      assert.same({ REVOKED, "=" .. ids[2] },
        s:call("outcome", table.unpack(ids)))
      assert.same({ ids[2] }, s:ready("default"))
    end)

    for _, started in ipairs { "-", "none of them" } do
      it("ends a task whose worker is lost: " .. started, function()
        local id = running()
        revoke(id)
        assert.equal(1, s:call("reap", A, "1", "F\x80", started))
        assert.equal(REVOKED, outcome(id))
        assert.same({}, s:ready("default"))
        assert.equal(0, s:counter("default", "lost"))
        assert.equal(0, s:redis("EXISTS", "cr:" .. A))
      end)
    end

    it("ends a task that was handed over and lies unread", function()
      s:fetch(A, 1, { takes = true })
      local id = p:plain(1)[1]
      assert.equal("asked", revoke(id))
      s:call("holds", A)
      assert.equal(REVOKED, outcome(id))
      assert.same({}, s:ready("default"))
      assert.equal(0, s:redis("EXISTS", "cr:" .. A))
    end)

    it("tells who waits for a task that ends by it", function()
      local id, field = running()
      s:call("await", "a:client", id)
      revoke(id)
      assert.same({}, s:heard("a:client"))
      s:finish(A, "b", field)
      assert.same({ id .. REVOKED }, s:heard("a:client"))
    end)

    it("has nothing of a worker that leaves", function()
      local id, field = running()
      revoke(id)
      s:redis("HDEL", "f:" .. A, field) -- by somebody's hand
      assert.equal(1, s:call("leave", A))
      assert.equal(0, s:redis("EXISTS", "cr:" .. A))
    end)

    it("tells a worker of no more than 1,000 at a time", function()
      local ids = p:plain(1001)
      s:take(A, 1000)
      s:take(A, 1)
      s:call("revoke", REVOKED, 60, "c", table.unpack(ids))
      assert.equal(1000, #asked(A))
    end)

    it("refuses what is no outcome, no time, or no mode", function()
      local id = running()
      for _, wrong in ipairs {
        { REVOKED, 60, "" }, { REVOKED, 60, "x" }, { REVOKED, 60, "ct" },
        { "S1", 60, "c" }, { "", 60, "c" }, { REVOKED, "soon", "c" },
        { REVOKED, -1, "c" },
      } do
        local before = s.fake:dump()
        local _, problem = s:try("revoke", wrong[1], wrong[2], wrong[3], id)
        assert.matches("not an outcome, a time and a mode", problem, 1, true)
        assert.same(before, s.fake:dump())
      end
    end)
  end)
end)
