local envelope = require("spec.support.envelope")
local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"
local HAS_PAST <const>, LOST_FAILS <const> = 16, 2
local HALF <const>, DONE <const> = "\x81\xa1s\xa4HALF", "\x81\xa1s\xa4DONE"
local ABOUT <const> = "\x83\xa4name\xa2w1\xa4host\xa1h\xa3pid\x07"
local REVOKED <const> = "R\x81\xa4kind\xa7Revoked"
local WEEK_MS <const> = 7 * 86400000

describe("States:", function()
  local s, p

  before_each(function()
    s = shard.new()
    p = s:producer("p")
    s:call("register", A, 15000, ABOUT, "default")
  end)

  -- One task in flight at A: its id and field.
  local function running(parts, opts)
    local id = p:add(parts, opts)
    return id, s:take(A, 1)[1]
  end

  local function state(id, everywhere)
    return s:call("state", everywhere and "1" or "0", id)[1]
  end

  local function entries()
    return s:redis("HLEN", "st")
  end

  describe("what a task says", function()
    it("is known as long as it runs, with the time", function()
      local id, field = running()
      s:advance(7)
      assert.equal(0, s:finish(A, "p", field, HALF))
      assert.same({ "=" .. id, "in flight", 0, s:now(), HALF, "", "" },
        state(id))
      s:advance(5)
      s:finish(A, "p", field, DONE)
      assert.same({ s:now(), DONE }, { table.unpack(state(id), 4, 5) })
    end)

    it("is noted in the envelope, so that no end passes it by", function()
      local _, field = running()
      s:finish(A, "p", field, HALF)
      local env = s:redis("HGET", "f:" .. A, field)
      assert.equal(HAS_PAST, envelope.read(env).flags)
      s:finish(A, "p", field, DONE)
      assert.equal(env, s:redis("HGET", "f:" .. A, field))
    end)

    it("changes nothing when the task is not in flight there", function()
      local _, field = running()
      s:register(B)
      local before = s.fake:dump()
      s:finish(B, "p", field, HALF)
      s:finish(A, "p", envelope.field(field, 77), HALF)
      s:finish(A, "p", "rubbish", HALF)
      assert.same(before, s.fake:dump())
      s:finish(A, "o", field, "S\x01")
      before = s.fake:dump()
      s:finish(A, "p", field, HALF)
      assert.same(before, s.fake:dump())
    end)

    it("is not taken from a damaged envelope", function()
      local id, field = running()
      s:redis("HSET", "f:" .. A, field, ("x"):rep(200))
      s:finish(A, "p", field, HALF)
      assert.equal(("x"):rep(200), s:redis("HGET", "f:" .. A, field))
      assert.equal("", state(id)[2])
    end)

    it("is of no other delivery of the task", function()
      local id, field = running()
      s:finish(A, "p", field, HALF, "b", field)
      assert.same({ "", "" }, { state(id)[2], state(id)[5] })
      local again = s:take(A, 1)[1]
      assert.equal("", state(id)[5])
      s:finish(A, "p", field, HALF)
      assert.equal("", state(id)[5])
      s:finish(A, "p", again, DONE)
      assert.equal(DONE, state(id)[5])
    end)

    it("needs three arguments", function()
      local _, field = running()
      local _, problem = s:try("finish", A, 15000, "p", field)
      assert.truthy(problem:find("not an operation", 1, true))
    end)

    local function nothing_is_left()
      assert.equal(0, entries())
      s:call("leave", A)
      s:advance(WEEK_MS + 1)
      s:register(B)
      s:call("leave", B)
      local left = s:keys()
      for i = #left, 1, -1 do
        if left[i] == "n" then
          table.remove(left, i)
        end
      end
      assert.same({ "q", "s:default" }, left)
    end

    for how, finish in pairs {
      ["with a value"] = function(field)
        s:finish(A, "o", field, "S\x01")
      end,
      ["failing, among the dead"] = function(field)
        s:finish(A, "o", field, "F\x80")
        s:call("delete", field:sub(1, 20), "")
      end,
      ["with the third death"] = function(field)
        for _ = 1, 3 do
          s:finish(A, "p", field, HALF, "l", field, "F\x80")
          field = s:take(A, 1)[1]
        end
        s:call("delete", envelope.id(p.id, 1), "")
      end,
      ["where it waits again, revoked"] = function(field)
        s:finish(A, "b", field)
        s:call("cancel", REVOKED, 1, field:sub(1, 20))
        s:fetch(A, 1)
      end,
      ["where it waits again, purged"] = function(field)
        s:finish(A, "b", field)
        s:call("purge", REVOKED, 10, "default")
      end,
      ["where it is due, revoked"] = function(field)
        s:register(B)
        s:finish(A, "n", field, "F\x80")
        s:call("cancel", REVOKED, 1, field:sub(1, 20))
        s:call("leave", B)
      end,
      ["damaged"] = function(field)
        s:redis("HSET", "f:" .. A, field, "rubbish")
        s:finish(A, "o", field, "S\x01")
        s:redis("DEL", "m")
      end,
    } do
      it("goes when the task ends " .. how, function()
        local _, field = running({ ttl_s = 1 })
        s:finish(A, "p", field, HALF)
        finish(field)
        nothing_is_left()
      end)
    end

    it("goes when its worker is lost and it may not be repeated", function()
      local _, field = running { flags = LOST_FAILS, ttl_s = 1 }
      s:finish(A, "p", field, HALF)
      s:call("reap", A, "1", "F\x80", "-")
      s:call("delete", envelope.id(p.id, 1), "")
      nothing_is_left()
    end)
  end)

  describe("te1_state", function()
    it("is the outcome of what has ended", function()
      local id, field = running()
      s:finish(A, "o", field, "S\x2a")
      assert.equal("S\x2a", state(id))
      id, field = running()
      s:finish(A, "o", field, "S" .. ("x"):rep(70000))
      assert.equal(">", state(id))
      assert.equal("?", state(envelope.id("nobodyxxxxxx", 1)))
    end)

    it("tells when a task is due", function()
      local id = p:add({}, { delay = "+50" })
      local when = s:now() + 50
      assert.same({ "=" .. id, "due", when, 0, "", "", "" }, state(id))
      assert.same(state(id), state(id, true))
    end)

    it("looks for a place only where it is asked to", function()
      local urgent = p:add { priority = 3 }
      local ready = p:plain(1)[1]
      assert.same({ "", "" }, { state(urgent)[2], state(ready)[2] })
      assert.equal("prioritised", state(urgent, true)[2])
      assert.equal("ready", state(ready, true)[2])
      s:take(A, 2)
      assert.same({ "", "" }, { state(ready)[2], state(ready)[7] })
      assert.same({ "in flight", "\2w1\1h\0017" },
        { state(ready, true)[2], state(ready, true)[7] })
    end)

    it("knows what waits in a flow, and the flow itself", function()
      local plan = flow_plan.new("flow")
      local first = plan:node {}
      plan:node { after = { { "f", first } } }
      plan:send(s)
      local field = s:take(A, 1)[1]
      local function places()
        local found = {}
        for i = 0, 2 do
          local row = state(plan:id(i), true)
          found[i + 1] = type(row) == "table" and row[2] or row
        end
        return found
      end
      assert.same({ "flow", "in flight", "flow" }, places())
      assert.same({ "=" .. plan:id(0) }, s:call("look", plan:id(0)))
      s:finish(A, "o", field, "S1")
      assert.same({ "flow", "S1", "ready" }, places())
      s:finish(A, "o", s:take(A, 1)[1], "S2")
      assert.same({ "S\xc0", "S1", "S2" }, places())
    end)

    it("tells what is nowhere any more, as far as anybody can", function()
      local id, field = running { ttl_s = 1 }
      s:finish(A, "o", field, "S\x01")
      s:advance(2000)
      assert.equal("=" .. id, state(id)[1])
      assert.equal("-", state(id, true))
      p:plain(1)
      assert.equal("ready", state(id, true)[2])
    end)

    it("does not look for it among more than 5,000 in flight", function()
      local id = p:plain(1)[1]
      local fields = {}
      for i = 1, 5001 do
        fields[2 * i - 1] = envelope.field(envelope.id("other0000000", i), 1)
        fields[2 * i] = "x"
      end
      s:redis("HSET", "f:" .. A, table.unpack(fields))
      assert.equal("", state(id, true)[2])
    end)

    it("has the last note on the task", function()
      local id, field = running()
      s:finish(A, "l", field, "F\x80")
      local note = s:redis("LINDEX", "h:" .. id, -1)
      assert.equal("c", note:sub(9, 9))
      assert.equal(note, state(id)[6])
    end)

    it("knows the caller's id, and several at once", function()
      local id = p:add({ alias = "mine" }, { unique = "umine" })
      local other = p:plain(1)[1]
      local reply = s:call("state", "0", "mine", other)
      assert.same({ "=" .. id, "=" .. other }, { reply[1][1], reply[2][1] })
    end)

    it("is asked for 1,000 at most", function()
      local ids = {}
      for i = 1, 1001 do
        ids[i] = "x"
      end
      assert.equal(1000, #s:call("state", "0", table.unpack(ids, 1, 1000)))
      local _, problem = s:try("state", "0", table.unpack(ids))
      assert.truthy(problem:find("too many", 1, true))
    end)

    it("writes nothing", function()
      local id, field = running()
      s:finish(A, "p", field, HALF)
      local before = s.fake:dump()
      s:call("state", "1", id, "mine", "")
      assert.same(before, s.fake:dump())
    end)
  end)

  describe("te1_kin", function()
    local parent

    before_each(function()
      parent = running()
    end)

    local function kin(id)
      return s:call("kin", id)
    end

    -- A batch of plain tasks that a task has sent; their ids.
    local function send(n, ttl_s)
      local args, ids = {}, {}
      for i = 1, n do
        args[i] = p:pack()
        ids[i] = args[i]:sub(1, 20)
      end
      assert.equal(0, p:send(n, "c", parent, ttl_s or 60, "r", "default", n,
        table.unpack(args))[2])
      return ids
    end

    it("is whoever sent it and whatever it sent", function()
      local first, second = send(2), send(1)
      assert.same({ "", first[1], first[2], second[1] }, kin(parent))
      assert.same({ parent }, kin(first[2]))
      assert.same({ "" }, kin(envelope.id("nobodyxxxxxx", 1)))
    end)

    it("has only those behind the name, until the next one", function()
      local a, b, c, d = p:pack(), p:pack { priority = 1 }, p:pack(), p:pack()
      local other = envelope.id("otherxxxxxxx", 5)
      p:send(4, "r", "default", 1, a, "c", parent, 60, "g", b, "default", "",
        "", "", "c", other, 60, "r", "default", 1, c, "c", "", 60, "r",
        "default", 1, d)
      assert.same({ "", b:sub(1, 20) }, kin(parent))
      assert.same({ "", c:sub(1, 20) }, kin(other))
      assert.same({ "" }, kin(a:sub(1, 20)))
      assert.same({ "" }, kin(d:sub(1, 20)))
    end)

    it("has a task that was there already, once", function()
      local id = p:add({ alias = "mine" }, { unique = "umine" })
      for _ = 1, 2 do
        p:send(1, "c", parent, 60, "g", p:pack { alias = "mine" }, "default",
          "", "", "umine")
      end
      assert.same({ "", id }, kin(parent))
      assert.same({ parent }, kin("mine"))
    end)

    it("does not change when the batch is repeated", function()
      local batch = { 2, "c", parent, 60, "r", "default", 2, p:pack(),
        p:pack() }
      assert.equal(0, p:send(table.unpack(batch))[2])
      local before = s.fake:dump()
      assert.equal(1, p:send(table.unpack(batch))[2])
      assert.same(before, s.fake:dump())
    end)

    it("has the first 1,000", function()
      local ids = send(999)
      ids[1000] = send(3)[1]
      send(1)
      table.insert(ids, 1, "")
      assert.same(ids, kin(parent))
      assert.same({ "" }, kin(envelope.id(p.id, p.last)))
    end)

    it("has a flow as one, once it is sealed", function()
      local plan = flow_plan.new("flow")
      plan:node {}
      plan.parent = parent
      s:call("flow", plan.producer, 2, 1, 60, "", "", "",
        table.unpack(plan:pieces()))
      assert.same({ "" }, kin(parent))
      plan:send(s)
      plan:send(s)
      assert.same({ "", plan:id(0) }, kin(parent))
      assert.same({ parent }, kin(plan:id(0)))
      assert.same({ parent }, kin(plan:id(1)))
      plan.producer = "other1xxxxxx"
      plan.parent = "nobody"
      local _, problem = s:try("flow", plan.producer, 3, 1, 60, "", "", "",
        table.unpack(plan:pieces()))
      assert.matches("not well%-formed", problem)
    end)

    it("goes with the outcomes", function()
      local child = send(1, 5)[1]
      s:advance(6000)
      assert.same({ "" }, kin(parent))
      assert.same({ "" }, kin(child))
    end)

    it("stays as long as the outcome that is kept longer", function()
      local child = send(1, 5)[1]
      s:finish(A, "s", "default", 60, 1, envelope.field(parent, 1), "S\x01")
      s:advance(59000)
      assert.same({ "", child }, kin(parent))
    end)

    it("is forgotten with the outcome", function()
      send(1)
      s:finish(A, "s", "default", 60, 1, envelope.field(parent, 1), "S\x01")
      s:call("forget", parent)
      assert.same({ "" }, kin(parent))
    end)

    it("is no outcome", function()
      local child = send(1)[1]
      assert.same({ "=" .. child, "=" .. parent },
        s:call("outcome", child, parent))
    end)

    for what, group in pairs {
      ["a name that is none"] = { "c", "parent", "60" },
      ["no time to live"] = { "c", envelope.id("p" .. ("x"):rep(11), 1), "0" },
      ["a time to live that is none"] =
        { "c", envelope.id("p" .. ("x"):rep(11), 1), "x" },
      ["one without an end"] =
        { "c", envelope.id("p" .. ("x"):rep(11), 1), "9999999999" },
      ["half a group"] = { "c" },
    } do
      it("is not noted of " .. what, function()
        local before = s.fake:dump()
        local _, problem = s:try("enqueue", p.id, p.last + 1, p.last + 1,
          table.unpack(group))
        assert.truthy(problem:find("not well-formed", 1, true))
        assert.same(before, s.fake:dump())
      end)
    end
  end)
end)
