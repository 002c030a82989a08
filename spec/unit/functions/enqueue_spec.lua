local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const>, C <const> =
  "workerAAAAAA", "workerBBBBBB", "workerCCCCCC"
local WEEK_MS <const> = 7 * 86400 * 1000

describe("te1_enqueue", function()
  local s, p

  before_each(function()
    s = shard.new()
    p = s:producer("p")
  end)

  local function sleepers(queue)
    return s:redis("SCARD", "sl:" .. queue)
  end

  local function fall_asleep(queue, ...)
    for _, wid in ipairs { ... } do
      s:register(wid, queue)
      s:fetch(wid, 1, { queues = { queue } })
    end
  end

  local function rung(...)
    local count = 0
    for _, wid in ipairs { ... } do
      count = count + #s:heard("b:" .. wid)
    end
    return count
  end

  describe("of a task whose outcome somebody waits for", function()
    local INBOX <const> = "a:client"

    it("lays the outcome into his inbox", function()
      s:register(A)
      local bytes = p:pack()
      assert.same({ s:now(), 0 },
        p:send(1, "r", "default", 1, bytes, "a", INBOX))
      assert.equal(INBOX, s:redis("HGET", "y", bytes:sub(1, 20)))
      local field = s:take(A, 1)[1]
      s:finish(A, "o", field, "S\x01")
      assert.same({ bytes:sub(1, 20) .. "S\x01" }, s:heard(INBOX))
      assert.equal(0, s:redis("EXISTS", "y", shard.PREFIX .. "yt"))
    end)

    it("tells him nothing when it was accepted before", function()
      local bytes = p:pack()
      p:send(1, "r", "default", 1, bytes)
      assert.equal(1, p:send(1, "r", "default", 1, bytes, "a", INBOX)[2])
      assert.equal(0, s:redis("EXISTS", "y"))
    end)

    it("is refused where it is not one plain task, or no inbox", function()
      local one, two = p:pack(), p:pack()
      for _, args in ipairs {
        { "r", "default", 2, one, two, "a", INBOX },
        { "g", one, "default", "", "", "", "a", INBOX },
        { "a", INBOX, "r", "default", 1, one },
        { "r", "default", 1, one, "a", INBOX, "a", INBOX },
        { "r", "default", 1, one, "a", "r:default" },
        { "r", "default", 1, one, "a" },
      } do
        local reply, problem = s:try("enqueue", p.id, 1, 2,
          table.unpack(args))
        assert.is_nil(reply)
        assert.matches("not well%-formed", problem)
      end
      assert.same({}, s:keys())
    end)
  end)

  describe("of plain tasks", function()
    it("puts them behind what is there, in the order given", function()
      local first, second = p:plain(2), p:plain(1)
      assert.same({ first[1], first[2], second[1] }, s:ready("default"))
    end)

    it("stores the envelope as it was sent", function()
      local bytes = p:pack { body = "\x91\x91\xc0", sent_ms = 17 }
      p:send(1, "r", "default", 1, bytes)
      assert.same({ bytes }, s:redis("LRANGE", "r:default", 0, -1))
    end)

    it("says the time and that it was done", function()
      assert.same({ 0, 0 }, p:send(1, "r", "default", 1, p:pack()))
    end)

    it("takes several queues in one call", function()
      local a, b = p:pack { queue = "a" }, p:pack { queue = "b" }
      p:send(2, "r", "a", 1, a, "r", "b", 1, b)
      assert.same({ a:sub(1, 20) }, s:ready("a"))
      assert.same({ b:sub(1, 20) }, s:ready("b"))
    end)

    it("counts them and remembers the queue's name", function()
      p:plain(3, { queue = "mail" })
      assert.equal(3, s:counter("mail", "enqueued"))
      assert.same({ "mail" }, s:redis("SMEMBERS", "q"))
    end)

    it("takes 4,000 of one queue at once", function()
      assert.equal(4000, #p:plain(4000))
      assert.equal(4000, s:redis("LLEN", "r:default"))
    end)
  end)

  describe("with options", function()
    it("keeps priorities apart, 9 first, first in first out among equals",
      function()
        local low = { p:add { priority = 1 }, p:add { priority = 1 } }
        local high = { p:add { priority = 9 }, p:add { priority = 9 } }
        local middle, plain = p:add { priority = 5 }, p:add { priority = 0 }
        assert.same(
          { high[1], high[2], middle, low[1], low[2], plain },
          s:ready("default"))
      end)

    it("answers with the ids of the groups that are not plain", function()
      local a, b, c = p:pack(), p:pack(), p:pack()
      local reply = p:send(3, "g", a, "default", "", "", "",
        "r", "default", 1, b, "g", c, "default", "+5", "", "")
      assert.same({ s:now(), 0, a:sub(1, 20), c:sub(1, 20) }, reply)
    end)

    it("lays a task aside for so long, or until then", function()
      local soon = p:add({}, { delay = "+1500" })
      local later = p:add({}, { delay = s:now() + 9000 })
      assert.same(
        { soon, tostring(s:now() + 1500), later, tostring(s:now() + 9000) },
        s:redis("ZRANGE", "z", 0, -1, "WITHSCORES"))
      assert.same({}, s:ready("default"))
      assert.equal(2, s:counter("default", "enqueued"))
    end)

    it("makes a task ready whose time has come already", function()
      local past = p:add({}, { delay = s:now() - 1 })
      local present = p:add({}, { delay = "+0" })
      assert.same({ past, present }, s:ready("default"))
    end)

    it("writes when the task expires into the envelope", function()
      p:add({ body = "\x91\x91\x01" }, { expires = 60000 })
      local e = envelope.read(s:redis("LINDEX", "r:default", 0))
      assert.equal(s:now() + 60000, e.expiry_ms)
      assert.equal("\x91\x91\x01", e.body)
    end)

    it("remembers the queue's name of a task that is due later", function()
      p:add({ queue = "mail" }, { delay = "+5" })
      assert.same({ "mail" }, s:redis("SMEMBERS", "q"))
    end)
  end)

  describe("repeated", function()
    it("changes nothing and answers with the same ids", function()
      local a, b = p:pack(), p:pack { alias = "mine" }
      local args = { "r", "default", 1, a,
        "g", b, "default", "+5", "", "umine" }
      p:send(2, table.unpack(args))
      local before = s.fake:dump()
      assert.same({ s:now(), 1, b:sub(1, 20) }, p:send(2, table.unpack(args)))
      assert.same(before, s.fake:dump())
    end)

    it("is refused when a part of the batch is new", function()
      p:plain(2)
      local before = s.fake:dump()
      local c = p:pack()
      local reply, problem = s:try("enqueue", p.id, 2, 3,
        "r", "default", 2, c, c)
      assert.is_nil(reply)
      assert.truthy(problem:find("half of it was done before", 1, true))
      assert.same(before, s.fake:dump())
    end)

    it("is known for a week after the producer's last enqueue", function()
      local bytes = p:pack()
      p:send(1, "r", "default", 1, bytes)
      s:advance(WEEK_MS - 1)
      assert.equal(1, p:send(1, "r", "default", 1, bytes)[2])
      p:plain(1)
      s:advance(WEEK_MS - 1)
      assert.equal(2, s:call("enqueue", p.id, 9, 9, "r", "default", 1,
        p:pack())[2])
    end)
  end)

  describe("with numbers that leave a gap", function()
    local function enqueue(producer, first)
      return s:call("enqueue", producer, first, first, "r", "default", 1,
        envelope.new { id = envelope.id(producer, first) })[2]
    end

    it("does nothing: what is missing could not be told from what is there",
      function()
        assert.equal(0, enqueue(p.id, 1))
        local before = s.fake:dump()
        assert.equal(2, enqueue(p.id, 3))
        assert.same(before, s.fake:dump())
        assert.equal(0, enqueue(p.id, 2))
      end)

    it("does nothing for a producer that was forgotten", function()
      assert.equal(2, enqueue(p.id, 7))
      assert.same({}, s:keys())
    end)

    it("tells exactly which tasks were enqueued", function()
      enqueue(p.id, 1)
      enqueue(p.id, 3)
      local first, third = envelope.id(p.id, 1), envelope.id(p.id, 3)
      assert.same({ "=" .. first, "?" }, s:call("outcome", first, third))
    end)
  end)

  describe("with an id that the caller chose", function()
    it("makes one task of two calls, by whomever", function()
      local other = s:producer("other")
      local id = p:add({ alias = "mine" }, { unique = "umine" })
      assert.equal(id, other:add({ alias = "mine" }, { unique = "umine" }))
      assert.same({ id }, s:ready("default"))
      assert.equal(1, s:counter("default", "enqueued"))
    end)

    it("remembers it as long as the outcome, and no longer", function()
      s:register(A)
      local first = p:add({ alias = "mine", ttl_s = 60 },
        { unique = "umine" })
      s:advance(WEEK_MS)
      s:finish(A, "o", s:take(A, 1)[1], "S\x01")
      local other = s:producer("other")
      s:advance(60000)
      assert.equal(first, other:add({ alias = "mine" }, { unique = "umine" }))
      s:advance(1)
      assert.not_equal(first,
        other:add({ alias = "mine" }, { unique = "umine" }))
    end)
  end)

  describe("of an id that another producer drew", function()
    local lost, other

    before_each(function()
      other = s:producer("other")
      p:plain(4)
      lost = p:pack()
    end)

    local function repeat_it()
      other.last = other.last + 1
      return other:send(1, "g", lost, "default", "", "", "i")
    end

    it("accepts the task, and once only", function()
      local id = lost:sub(1, 20)
      assert.same({ s:now(), 0, id }, repeat_it())
      other = s:producer("third")
      assert.same({ s:now(), 0, id }, repeat_it())
      assert.equal(id, s:ready("default")[5])
      assert.equal(5, s:counter("default", "enqueued"))
      assert.same({ "=" .. id }, s:call("outcome", id))
    end)

    it("retires the producer, whose own request may come late", function()
      repeat_it()
      local before = s.fake:dump()
      assert.same({ 0, 2 }, p:send(1, "r", "default", 1, lost))
      assert.same(before, s.fake:dump())
    end)

    it("does nothing when the producer's own request was done", function()
      p:send(1, "r", "default", 1, lost)
      repeat_it()
      assert.equal(5, s:counter("default", "enqueued"))
      assert.equal(0, p:send(1, "r", "default", 1, p:pack())[2])
    end)

    it("does nothing while the task is there, however old", function()
      other.last = other.last + 1
      other:send(1, "g", lost, "default", "+" .. 3 * WEEK_MS, "", "i")
      s:advance(2 * WEEK_MS)
      other = s:producer("third")
      repeat_it()
      assert.equal(5, s:counter("default", "enqueued"))
    end)

    it("does nothing while the outcome is known", function()
      s:register(A)
      lost = p:pack { ttl_s = 3 * 604800 }
      repeat_it()
      for _, field in ipairs(s:take(A, 9)) do
        s:finish(A, "o", field, "S\x01")
      end
      s:advance(2 * WEEK_MS)
      other = s:producer("third")
      repeat_it()
      assert.equal(5, s:counter("default", "enqueued"))
    end)

    it("is forgotten a week later", function()
      repeat_it()
      s:redis("DEL", "r:default")
      s:advance(WEEK_MS + 1)
      assert.same({ "q", "s:default" }, s:keys())
    end)
  end)

  describe("of what is not well-formed", function()
    local function refuses(...)
      p:plain(1)
      local before = s.fake:dump()
      local good = p:pack()
      local reply, problem = s:try("enqueue", p.id, 2, 3,
        "r", "default", 1, good, ...)
      assert.is_nil(reply)
      assert.truthy(problem:find("a group is not well-formed", 1, true))
      assert.same(before, s.fake:dump())
    end

    local id = envelope.id("pxxxxxxxxxxx", 3)
    local bytes = envelope.new { id = id }
    local cases = {
      ["an unknown kind of group"] = { "x", bytes },
      ["a group that is cut off"] = { "g", bytes, "default", "", "" },
      ["a group with less than it says"] = { "r", "default", 2, bytes },
      ["a group of nothing"] = { "r", "default", 0 },
      ["too large a group"] = { "r", "default", 4001, bytes },
      ["a number that is none"] = { "r", "default", "x", bytes },
      ["an envelope that is cut off"] =
        { "g", bytes:sub(1, 102), "default", "", "", "" },
      ["version 0"] = { "g", envelope.new { id = id, version = 0 },
        "default", "", "", "" },
      ["an envelope of another queue"] = { "g", bytes, "mail", "", "", "" },
      ["a priority above 9"] = { "g", envelope.new { id = id, priority = 10 },
        "default", "", "", "" },
      ["a delay that is none"] = { "g", bytes, "default", "+-5", "", "" },
      ["a delay of nothing"] = { "g", bytes, "default", "+", "", "" },
      ["an expiry that is none"] = { "g", bytes, "default", "", "5.5", "" },
      ["an unknown kind of uniqueness"] =
        { "g", bytes, "default", "", "", "x" },
      ["a caller's id that the envelope lacks"] =
        { "g", bytes, "default", "", "", "umine" },
      ["a repeat of an id that no producer draws"] =
        { "g", "-" .. bytes:sub(2), "default", "", "", "i" },
    }
    for what, args in pairs(cases) do
      it("does nothing: " .. what, function()
        refuses(table.unpack(args))
      end)
    end
  end)

  describe("wakes", function()
    it("one sleeper more than there are tasks", function()
      fall_asleep("default", A, B, C)
      p:plain(1)
      assert.equal(2, rung(A, B, C))
      assert.equal(1, sleepers("default"))
    end)

    it("as many for a task with options", function()
      fall_asleep("default", A, B, C)
      p:add { priority = 3 }
      assert.equal(2, rung(A, B, C))
    end)

    it("nobody of another queue", function()
      fall_asleep("mail", A)
      p:plain(1)
      assert.equal(0, rung(A))
    end)

    it("each sleeper once, until it sleeps again", function()
      fall_asleep("default", A)
      p:plain(1)
      p:plain(1)
      assert.equal(1, rung(A))
    end)

    it("a sleeper to set its timer by the earliest due task", function()
      fall_asleep("default", A, B)
      p:add({}, { delay = "+9000" })
      assert.equal(2, rung(A, B))
      s:fetch(A, 1, { slept = true })
      s:fetch(B, 1, { slept = true })
      p:add({}, { delay = "+9500" })
      assert.equal(0, rung(A, B))
      p:add({}, { delay = "+8000" })
      assert.equal(2, rung(A, B))
    end)

    it("a sleeper where the earlier due task woke nobody", function()
      fall_asleep("default", A)
      p:add({ queue = "mail" }, { delay = "+1000" })
      assert.equal(0, rung(A))
      p:add({}, { delay = "+2000" })
      assert.equal(1, rung(A))
    end)

    it("a sleeper where the timer was for a task that was revoked", function()
      fall_asleep("default", A)
      local id = p:add({}, { delay = "+1000" })
      s:fetch(A, 1, { slept = true })
      s:heard("b:" .. A)
      s:call("cancel", "R", 60, id)
      p:add({}, { delay = "+2000" })
      assert.equal(1, rung(A))
    end)
  end)
end)
