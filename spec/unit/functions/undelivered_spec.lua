local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"
local EXPIRED <const> = "R\x82\xa4kind\xa7Expired\xa7message"
  .. "\xd9\x25expired before a worker could take it"

describe("te1_fetch, instead of handing it out,", function()
  local s, p

  before_each(function()
    s, p = shard.serving(A)
  end)

  describe("puts aside", function()
    -- Among others, that look as it does otherwise.
    local function has_malformed(bytes)
      local first = p:plain(1)[1]
      s:redis("RPUSH", "r:default", bytes)
      local second = p:plain(1)[1]
      assert.same({ first, second }, s:fetch_ids(A, 2))
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
      ["an envelope of a queue with as long a name"] =
        envelope.new { id = any, queue = "another" },
      ["a priority above 9"] = envelope.new { id = any, priority = 10 },
    }
    for what, bytes in pairs(cases) do
      it(what .. ", as malformed", function()
        has_malformed(bytes)
      end)
    end

    it("an envelope of another queue that it has looked at", function()
      local mail = p:plain(1, { queue = "mail" })[1]
      local bytes = envelope.new { id = any, queue = "mail" }
      s:redis("RPUSH", "r:default", bytes)
      assert.same({ mail },
        s:fetch_ids(A, 9, { queues = { "mail", "default" } }))
      assert.same({ bytes }, s:redis("LRANGE", "m", 0, -1))
    end)

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
      assert.same({ known[1] }, s:fetch_ids(A, 1))
      assert.same({ known[2], newer[1], newer[2] }, s:ready("default"))
      assert.equal(0, s:redis("EXISTS", "m"))
    end)

    it("with its priority", function()
      local newer = p:add { version = 2, priority = 4 }
      local known = p:add { priority = 4 }
      local low = p:add { priority = 1 }
      assert.same({ known }, s:fetch_ids(A, 1))
      assert.same({ newer, low }, s:ready("default"))
    end)

    it("and wakes nobody for it, who could be as old", function()
      s:register(B)
      s:fetch(B, 1)
      s:redis("RPUSH", "r:default", p:pack { version = 2 })
      assert.same({}, s:fetch_ids(A, 1))
      assert.same({}, s:heard("b:" .. A))
      assert.same({}, s:heard("b:" .. B))
      assert.is_true(s:is_asleep(A))
    end)

    it("however many there are, once in a fetch", function()
      local bytes = {}
      for i = 1, 3000 do
        bytes[i] = p:pack { version = 2 }
      end
      p:send(3000, "r", "default", 3000, table.unpack(bytes))
      assert.same({}, s:fetch_ids(A, 100))
      assert.equal(3000, s:redis("LLEN", "r:default"))
      assert.is_true(s:is_asleep(A))
      assert.same({}, s:heard("b:" .. A))
    end)
  end)

  describe("ends an expired task", function()
    it("as revoked of kind Expired, and goes on to the next", function()
      local old = p:add({}, { expires = 100 })
      local good = p:plain(1)[1]
      s:advance(100)
      assert.same({ good }, s:fetch_ids(A, 1))
      assert.same({ EXPIRED }, s:call("outcome", old))
      assert.equal(1, s:counter("default", "expired"))
      assert.equal(0, s:counter("default", "revoked"))
    end)

    it("behind another that it hands out", function()
      local first = p:plain(1)[1]
      p:add({}, { expires = 100 })
      s:advance(100)
      assert.same({ first }, s:fetch_ids(A, 9))
      assert.equal(1, s:counter("default", "expired"))
    end)

    it("not before its time", function()
      local id = p:add({}, { expires = 100 })
      s:advance(99)
      assert.same({ id }, s:fetch_ids(A, 1))
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
      assert.same({}, s:fetch_ids(A, 1))
      assert.same({ EXPIRED }, s:call("outcome", old))
      assert.equal(0, s:redis("EXISTS", "t"))
    end)
  end)

  it("drops a task that was revoked, and goes on to the next", function()
    local first, gone, good = table.unpack(p:plain(3, { ttl_s = 60 }))
    assert.same({ "revoked" }, s:call("cancel", "R\x80", 60, gone))
    assert.same({ first, good }, s:fetch_ids(A, 2))
    assert.equal(1, s:counter("default", "revoked"))
    assert.equal(0, s:redis("EXISTS", "cx"))
    assert.same({ "R\x80" }, s:call("outcome", gone))
  end)
end)
