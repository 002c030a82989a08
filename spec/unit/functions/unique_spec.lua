local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const> = "worker000001", "worker000002"
local DIGEST <const>, OTHER <const> = ("d"):rep(16), ("e"):rep(16)
local UNIQUE_START <const> = 32
local FAILURE <const>, REVOKED <const> = "F\x81\xa4kind\xa1x", "R\x80"
local WEEK_MS <const> = 7 * 86400000

describe("Of a unique task", function()
  local s, p

  before_each(function()
    s, p = shard.serving(A)
  end)

  local function add(opts, parts)
    parts = parts or {}
    parts.digest = parts.digest or DIGEST
    opts = opts or {}
    opts.unique = opts.unique or "l"
    return p:add(parts, opts)
  end

  local function end_one(record)
    s:finish(A, "o", s:take(A, 1)[1], record)
  end

  local function assert_free()
    assert.same({}, s:redis("HGETALL", "l"))
    assert.same({}, s:redis("HGETALL", "lo"))
  end

  describe("while one has not ended", function()
    it("no second one is made: who sends it gets the first one's id",
      function()
        local id = add()
        assert.equal(id, add())
        assert.equal(id, add({ delay = "+500", expires = 9 }, { queue = "b" }))
        assert.same({ id }, s:ready("default"))
        assert.same({}, s:ready("b"))
        assert.equal(0, s:redis("ZCARD", "z"))
        assert.equal(1, s:counter("default", "enqueued"))
        assert.equal(0, s:counter("b", "enqueued"))
      end)

    it("others are made, be they unique or not", function()
      local first = add()
      local second, third = add(nil, { digest = OTHER }), p:add()
      assert.same({ first, second, third }, s:ready("default"))
    end)

    it("those of the same batch are not made either", function()
      local one, two = p:pack { digest = DIGEST }, p:pack { digest = DIGEST }
      local id = one:sub(1, 20)
      assert.same({ s:now(), 0, id, id }, p:send(2,
        "g", one, "default", "", "", "l", "g", two, "default", "", "", "l"))
      assert.same({ id }, s:ready("default"))
    end)

    for what, place in pairs {
      ["waits for its time"] = function()
        return add { delay = "+5000" }
      end,
      ["waits for its turn"] = function()
        return add(nil, { priority = 3 })
      end,
      ["is in flight"] = function()
        local id = add()
        s:take(A, 1)
        return id
      end,
      ["was handed over"] = function()
        s:fetch(A, 1, { takes = true })
        local id = add()
        assert.equal(1, s:redis("HLEN", "f:" .. A))
        return id
      end,
      ["was handed back"] = function()
        local id = add()
        s:finish(A, "h", s:take(A, 1)[1])
        return id
      end,
      ["died with its child"] = function()
        local id = add()
        s:finish(A, "l", s:take(A, 1)[1], FAILURE)
        return id
      end,
      ["was lost with its worker"] = function()
        local id = add()
        s:take(A, 1)
        s:call("reap", A, "1", FAILURE, "-")
        return id
      end,
    } do
      it("there is none that " .. what, function()
        assert.equal(place(), add())
      end)
    end
  end)

  describe("another is made, and nothing is left,", function()
    for what, finish in pairs {
      ["succeeded"] = function()
        add()
        end_one("S\1")
      end,
      ["failed"] = function()
        add()
        end_one(FAILURE)
      end,
      ["died too often"] = function()
        add()
        for _ = 1, 3 do
          s:finish(A, "l", s:take(A, 1)[1], FAILURE)
        end
      end,
      ["was lost too often"] = function()
        add(nil, { reaps = 9 })
        s:take(A, 1)
        s:call("reap", A, "1", FAILURE, "-")
        s:register(A)
      end,
      ["is known to no worker"] = function()
        add()
        s:finish(A, "n", s:take(A, 1)[1], FAILURE)
      end,
      ["expired"] = function()
        add { expires = 10 }
        s:advance(10)
        s:take(A, 1)
      end,
      ["was revoked before its time"] = function()
        s:call("cancel", REVOKED, 60, add { delay = "+5000" })
      end,
      ["was revoked before its turn"] = function()
        s:call("cancel", REVOKED, 60, add(nil, { priority = 3 }))
      end,
      ["was revoked in a ready list"] = function()
        s:call("cancel", REVOKED, 60, add())
      end,
      ["was purged"] = function()
        add()
        s:call("purge", REVOKED, 10, "default")
      end,
      ["was purged before its time"] = function()
        add { delay = "+5000" }
        s:call("purge_due", REVOKED, 10, "default", "", "")
      end,
      ["has no envelope any more"] = function()
        s:redis("HDEL", "t", add { delay = "+5" })
        s:advance(5)
        s:take(A, 1)
      end,
      ["has an envelope that cannot be read"] = function()
        add()
        local bytes = s:redis("LPOP", "r:default", 1)[1]
        s:redis("RPUSH", "r:default", bytes:sub(1, 102))
        s:take(A, 1)
      end,
      ["was deleted by somebody, and revoked"] = function()
        local id = add()
        s:redis("DEL", "r:default")
        assert.same({ "finished" }, s:call("cancel", REVOKED, 60, id))
      end,
    } do
      it("when the first one " .. what, function()
        finish()
        assert_free()
        local id = add()
        assert.equal(envelope.id(p.id, p.last), id)
        assert.equal(1, s:redis("HLEN", "l"))
        assert.equal(1, s:redis("HLEN", "lo"))
      end)
    end

    it("when one that was revoked comes out of its list behind it", function()
      local first = add()
      s:call("cancel", REVOKED, 60, first)
      local second = add()
      assert.same({ second }, s:fetch_ids(A, 2))
      assert.equal(second, add())
    end)
  end)

  describe("that holds its lock for a time", function()
    it("another is made when that is over", function()
      local first = add { unique = "l500" }
      s:advance(499)
      assert.equal(first, add { unique = "l500" })
      s:advance(1)
      local second = add { unique = "l500" }
      assert.same({ first, second }, s:ready("default"))
    end)

    it("the end lets go of no other's lock", function()
      add { unique = "l500" }
      s:advance(500)
      local second = add()
      end_one("S\1")
      assert.equal(second, add())
      end_one("S\1")
      assert_free()
    end)

    it("the end comes first", function()
      add { unique = "l500" }
      end_one("S\1")
      assert_free()
    end)
  end)

  describe("that holds its lock until it is started", function()
    local PARTS <const> = { flags = UNIQUE_START, digest = DIGEST }

    it("another is made when a worker has taken it", function()
      local first = add(nil, PARTS)
      assert.equal(first, add(nil, PARTS))
      s:take(A, 1)
      assert_free()
      assert.not_equal(first, add(nil, PARTS))
    end)

    it("so it is of each of two that are taken together", function()
      add(nil, PARTS)
      add(nil, { flags = UNIQUE_START, digest = OTHER })
      s:take(A, 2)
      assert_free()
    end)

    it("none is handed over: it might come back unread", function()
      s:fetch(A, 1, { takes = true })
      assert.same({ add(nil, PARTS) }, s:ready("default"))
    end)

    it("the end lets go of no other's lock", function()
      add(nil, PARTS)
      local field = s:take(A, 1)[1]
      local second = add(nil, PARTS)
      s:finish(A, "o", field, "S\1")
      assert.equal(second, add(nil, PARTS))
    end)

    it("it stays free when the first one goes back", function()
      add(nil, PARTS)
      s:finish(A, "h", s:take(A, 1)[1])
      assert_free()
    end)
  end)

  describe("that is among the dead", function()
    local id

    before_each(function()
      id = add { unique = "l500" }
      end_one(FAILURE)
    end)

    it("the lock is taken again when it is run again", function()
      assert.same({ "requeued" }, s:call("requeue", id, ""))
      s:advance(500)
      assert.equal(id, add())
      end_one("S\1")
      assert_free()
    end)

    it("it stays there while another holds the lock", function()
      local other = add()
      assert.same({ "taken" }, s:call("requeue", id, ""))
      assert.equal(1, s:redis("ZCARD", "x"))
      assert.equal(other, add())
      end_one("S\1")
      assert.same({ "requeued" }, s:call("requeue", id, ""))
    end)

    it("to delete it lets go of no other's lock", function()
      local other = add()
      s:call("delete", id, "")
      assert.equal(other, add())
    end)
  end)

  describe("whose enqueue is repeated", function()
    local function send(bytes, unique)
      return p:send(1, "g", bytes, "default", "", "", unique or "l")
    end

    it("the answer is the same, also behind the end of both", function()
      local first = add()
      local second = p:pack { digest = DIGEST }
      assert.same({ s:now(), 0, first }, send(second))
      end_one("S\1")
      assert.same({ s:now(), 1, first }, send(second))
      assert.same({}, s:ready("default"))
      local third = p:pack { digest = DIGEST }
      assert.same({ s:now(), 0, third:sub(1, 20) }, send(third))
      end_one("S\1")
      assert.same({ s:now(), 1, third:sub(1, 20) }, send(third))
    end)

    it("what is remembered for that is of the last batch, for a week",
      function()
        local first = add()
        add()
        add()
        local digits = envelope.id(p.id, p.last):sub(13)
        assert.same({ digits, first }, s:redis("HGETALL", "d:" .. p.id))
        s:advance(WEEK_MS)
        assert.equal(1, s:redis("EXISTS", "d:" .. p.id))
        s:advance(1)
        assert.equal(0, s:redis("EXISTS", "d:" .. p.id))
      end)

    it("who looks for the one that was not made finds the other", function()
      local first = add()
      add()
      local second = envelope.id(p.id, p.last)
      assert.same({ "=" .. first }, s:call("look", second))
      end_one("S\7")
      assert.same({ "S\7" }, s:call("look", second))
    end)

    describe("by another, who does not know of the first", function()
      local lost, other

      before_each(function()
        other = s:producer("other")
        lost = p:pack { digest = DIGEST }
      end)

      local function repeat_it()
        other.last = other.last + 1
        return other:send(1, "g", lost, "default", "", "", "li")[3]
      end

      it("one is made, and locks", function()
        local id = lost:sub(1, 20)
        assert.equal(id, repeat_it())
        assert.equal(id, repeat_it())
        assert.equal(2, send(lost)[2])
        p = s:producer("third")
        assert.equal(id, add())
        assert.same({ id }, s:ready("default"))
      end)

      it("none is made beside the one that is there", function()
        local there = other:add({ digest = DIGEST }, { unique = "l" })
        assert.equal(there, repeat_it())
        end_one("S\1")
        assert.equal(there, repeat_it())
        assert.equal(2, send(lost)[2])
        assert.same({}, s:ready("default"))
      end)

      it("the answer is that of the first, who was told of another's",
        function()
          local there = other:add({ digest = DIGEST }, { unique = "l" })
          send(lost)
          end_one("S\1")
          assert.equal(there, repeat_it())
          assert.same({}, s:ready("default"))
        end)
    end)
  end)

  describe("locks that somebody has damaged", function()
    it("hold nobody up when one half is gone", function()
      for _, key in ipairs { "l", "lo" } do
        local first = add()
        s:redis("DEL", key)
        local second = add()
        assert.not_equal(first, second)
        assert.equal(second, add())
        end_one("S\1")
        end_one("S\1")
        assert_free()
      end
    end)

    it("are set aside", function()
      for _, key in ipairs { "l", "lo" } do
        s:redis("SET", key, "x")
        local id = add()
        assert.equal(id, add())
        end_one("S\1")
        assert_free()
      end
      assert.equal(2, s:redis("LLEN", "m"))
    end)

    it("are taken when they are no locks", function()
      s:redis("HSET", "l", DIGEST, "rubbish")
      local id = add()
      assert.equal(id, add())
    end)
  end)

  describe("nothing is done of what is not well-formed:", function()
    for what, case in pairs {
      ["a lock without a digest"] = { "l" },
      ["a time that is none"] = { "l-5", DIGEST },
      ["a caller's id besides"] = { "lumine", DIGEST, "mine" },
      ["a second lock"] = { "ll", DIGEST },
    } do
      it(what, function()
        local before = s.fake:dump()
        local bytes = p:pack { digest = case[2], alias = case[3] }
        local reply, problem = s:try("enqueue", p.id, 1, 1,
          "g", bytes, "default", "", "", case[1])
        assert.is_nil(reply)
        assert.matches("a group is not well%-formed", problem)
        assert.same(before, s.fake:dump())
      end)
    end
  end)

  it("the count of those in a call is not bounded by Lua's stack", function()
    add()
    local args = {}
    for _ = 1, 5000 do
      table.move({ "g", p:pack { digest = DIGEST }, "default", "", "", "l" },
        1, 6, #args + 1, args)
    end
    local reply = p:send(5000, table.unpack(args))
    assert.equal(envelope.id(p.id, 1), reply[5002])
    assert.equal(5000, s:redis("HLEN", "d:" .. p.id))
  end)

  it("others are served by whoever wakes", function()
    s:register(B)
    s:fetch(B, 1)
    add(nil, { flags = UNIQUE_START })
    assert.same({ "" }, s:heard("b:" .. B))
    add(nil, { flags = UNIQUE_START })
    assert.same({}, s:heard("b:" .. B))
  end)
end)
