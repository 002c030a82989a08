-- What is known of a flow and its nodes by their ids: while it is there, and
-- when it has gone.

local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local TTL_S <const> = 60
local DAY_MS <const> = 86400000

describe("The id", function()
  local s, plan

  before_each(function()
    s = shard.new()
    s:register(A)
    plan = flow_plan.new("flow", { ttl_s = TTL_S })
    plan:node {}
  end)

  -- A queue in which something waits: no task can be looked for there.
  local function keep_busy()
    s:producer("p"):plain(1, { queue = "busy" })
  end

  local function run()
    s:finish(A, "o", s:take(A, 1)[1], "S\x01")
  end

  -- Every way to ask.
  local function known(id)
    return {
      s:call("outcome", id)[1], s:call("look", id)[1],
      s:call("state", 0, id)[1], s:call("await", "a:me", id)[1],
    }
  end

  local function all(answer)
    return { answer, answer, answer, answer }
  end

  describe("of a flow", function()
    it("can be waited for before the flow is sealed", function()
      s:call("flow", plan.producer, 2, 1, TTL_S, "", "", "",
        table.unpack(plan:pieces()))
      local waits = "=" .. plan:id(0)
      assert.same({ waits, waits }, { s:call("await", "a:me", plan:id(0))[1],
        s:call("look", plan:id(0))[1] })
      assert.equal(0, plan:send(s)[2])
      run()
      assert.same({ plan:id(0) .. "S\xc0" }, s:heard("a:me"))
    end)

    it("that never was is unknown, and nobody waits for it", function()
      keep_busy()
      assert.same(all("?"), known(plan:id(0)))
      assert.equal(0, s:redis("EXISTS", "y"))
    end)

    it("is unknown where its producer is a client", function()
      assert.same(all("?"), known(s:producer("p").id .. "00000000"))
    end)

    it("can be waited for while the flow goes on", function()
      plan:send(s)
      assert.same({ "=" .. plan:id(0) }, s:call("look", plan:id(0)))
      run()
      assert.same({ "S\xc0" }, s:call("look", plan:id(0)))
    end)

    it("says that the outcome is gone, whatever waits elsewhere", function()
      plan:send(s)
      run()
      keep_busy()
      s:advance(TTL_S * 1000 + 1)
      assert.same({ "-" }, s:call("look", plan:id(0)))
      assert.same({ "-" }, s:call("state", 1, plan:id(0)))
    end)

    it("is unknown when all of the flow is gone", function()
      plan:send(s)
      run()
      s:advance(TTL_S * 1000 + 3600 * 1000 + 1)
      assert.same(all("?"), known(plan:id(0)))
    end)
  end)

  describe("of a node", function()
    before_each(function()
      plan:send(s)
      keep_busy()
    end)

    it("says that the outcome is gone, whatever waits elsewhere", function()
      run()
      s:advance(TTL_S * 1000 + 1)
      assert.same({ "=" .. plan:id(1) }, s:call("outcome", plan:id(1)))
      assert.same({ "-" }, s:call("look", plan:id(1)))
      assert.same({ "-" }, s:call("state", 1, plan:id(1)))
    end)

    it("is unknown when all of the flow is gone", function()
      run()
      s:advance(TTL_S * 1000 + 3600 * 1000 + 1)
      assert.same(all("?"), known(plan:id(1)))
    end)

    it("is unknown beyond the flow's last", function()
      assert.same(all("?"), known(plan:id(2)))
      run()
      assert.same(all("?"), known(plan:id(2)))
    end)
  end)

  describe("that a flow was sent under", function()
    local key

    before_each(function()
      key = "i:" .. plan.producer
      plan:send(s)
    end)

    it("stays for a day from its end, and all else of it as long as its"
      .. " results", function()
      s:advance(30 * DAY_MS)
      s:register(A)
      assert.equal(-1, s:redis("PTTL", key))
      run()
      assert.equal(DAY_MS, s:redis("PTTL", key))
      s:advance(TTL_S * 1000 + 3600 * 1000 + 1)
      s:register(A)
      s:call("heartbeat", A, 15000, "default")
      s:call("leave", A)
      assert.same({ key, "q", "s:default" }, s:keys())
      assert.equal("0", s:redis("GET", key)) -- the least that Redis can keep
    end)

    it("starts no second one for a day from its end", function()
      run()
      s:advance(DAY_MS - 1)
      assert.equal(1, plan:send(s)[2])
      assert.same({}, s:ready("default"))
      s:advance(2)
      assert.equal(0, plan:send(s)[2])
    end)

    it("stays while the flow is done again", function()
      s:finish(A, "o", s:take(A, 1)[1], "F\x80")
      assert.equal("retried", s:call("flow_retry", plan.producer))
      assert.same({ -1, "1" }, { s:redis("PTTL", key), s:redis("GET", key) })
      s:advance(2 * DAY_MS)
      s:register(A)
      assert.same({ "=" .. plan:id(1) }, s:call("outcome", plan:id(1)))
    end)
  end)
end)
