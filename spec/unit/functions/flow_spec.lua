-- Flows: te1_flow, and what the ends of their nodes set off.

local envelope = require("spec.support.envelope")
local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"

describe("A flow", function()
  local s, plan

  before_each(function()
    s, plan = shard.serving(A), flow_plan.new("flow")
  end)

  local function outcome(i)
    return s:call("outcome", plan:id(i))[1]
  end

  -- Runs what is ready, each to the outcome that `ends` has for its node.
  local function run(ends, order)
    while true do
      local envelopes, number = s:fetch(A, 100)
      if not envelopes[1] then
        return order
      end
      for _, bytes in ipairs(envelopes) do
        local i = envelope.read(bytes).node
        s:finish(A, "o", envelope.field(bytes, number),
          ends and ends[i] or "S" .. i)
        if order then
          table.insert(order, i)
        end
      end
    end
  end

  it("runs a chain, each step with the outcome before it", function()
    local a = plan:node {}
    local b = plan:node { after = { { "f", a } } }
    plan:node { after = { { "f", b } } }
    assert.same({ s:now(), 0, 3 }, plan:send(s))
    for i = 1, 3 do
      local envelopes, number = s:fetch(A, 10)
      assert.equal(1, #envelopes)
      local e = envelope.read(envelopes[1])
      assert.same({ plan:id(i), plan:id(0), i }, { e.id, e.flow, e.node })
      local input = i > 1 and string.pack(">I4s4", 1, "S" .. i - 1)
        or "\0\0\0\0"
      assert.equal(input .. "\x91\x90", e.body)
      s:finish(A, "o", envelope.field(e.id, number), "S" .. i)
    end
    assert.same({ "S1", "S2", "S3", "S\xc0" },
      { outcome(1), outcome(2), outcome(3), outcome(0) })
  end)

  it("starts a join when all have arrived, once", function()
    local group = {}
    for i = 1, 3 do
      group[i] = { "f", plan:node {} }
    end
    local join = plan:node { after = group }
    plan:send(s)
    local fields = s:take(A, 3)
    s:finish(A, "o", fields[2], "S2", "o", fields[3], "S3")
    s:finish(A, "o", fields[2], "S2", "o", fields[3], "S3")
    assert.same({}, s:fetch(A, 1))
    s:finish(A, "o", fields[1], "S1")
    local envelopes, number = s:fetch(A, 2)
    assert.equal(1, #envelopes)
    assert.equal(string.pack(">I4s4s4s4", 3, "S1", "S2", "S3") .. "\x91\x90",
      envelope.read(envelopes[1]).body)
    s:finish(A, "o", envelope.field(envelopes[1], number), "Sall")
    assert.equal("Sall", outcome(join))
  end)

  it("fails what needs a failure, with its first cause", function()
    local a = plan:node {}
    local b = plan:node { after = { { "f", a } } }
    plan:node { after = { { "f", b } } }
    local survivor = plan:node { after = { { "c", b } } }
    plan:send(s)
    local cause = "F\x81\xa4kind\xa5Error"
    assert.same({ a, survivor }, run({ cause }, {}))
    local failed = "F\x83\xa4kind\xb0DependencyFailed\xa7message\xd9\x3f"
      .. "it needs the outcome of task " .. plan:id(a)
      .. ", which failed\xa5value\x82\xa2id\xb4" .. plan:id(a)
      .. "\xa5error" .. cause:sub(2)
    assert.same({ cause, failed, failed, "S4" },
      { outcome(1), outcome(2), outcome(3), outcome(4) })
    assert.equal(failed, outcome(0))
    assert.same({ plan:id(a) }, s:redis("ZRANGE", "x", 0, -1))
  end)

  describe("hands successors to the worker that finished", function()
    local function finish(count, number, field)
      local reply = s:call("finish", A, 15000, "t", count, number, "o", field,
        "S")
      local got = {}
      for i = 2, #reply do
        got[i - 1] = envelope.field(reply[i], number)
      end
      return got
    end

    it("as many as it takes, the others by their queue", function()
      local a = plan:node {}
      for _ = 1, 3 do
        plan:node { after = { { "f", a } } }
      end
      plan:send(s)
      local got = finish(2, 50, s:take(A, 1)[1])
      assert.same({ envelope.field(plan:id(2), 50),
        envelope.field(plan:id(3), 50) }, got)
      table.sort(got)
      local held = s:redis("HKEYS", "f:" .. A)
      table.sort(held)
      assert.same(got, held)
      assert.same({ plan:id(4) }, s:ready("default"))
      assert.equal(4, s:counter("default", "enqueued"))
    end)

    it("not ahead of what waits in that queue", function()
      local a = plan:node {}
      local b = plan:node { after = { { "f", a } } }
      plan:send(s)
      local field = s:take(A, 1)[1]
      local other = s:producer("p"):plain(1)[1]
      assert.same({}, finish(5, 50, field))
      assert.same({ other, plan:id(b) }, s:ready("default"))
    end)

    it("not of a queue that it does not serve, nor of a priority", function()
      local a = plan:node {}
      plan:node { after = { { "f", a } }, parts = { queue = "other" } }
      plan:node { after = { { "f", a } }, parts = { priority = 1 } }
      plan:send(s)
      assert.same({}, finish(5, 50, s:take(A, 1)[1]))
      assert.same({ { plan:id(2) }, { plan:id(3) } },
        { s:ready("other"), s:ready("default") })
    end)

    it("not under a number that is past", function()
      local a = plan:node {}
      plan:node { after = { { "f", a } } }
      plan:send(s)
      local field = s:take(A, 1)[1]
      s:call("holds", A, 60)
      assert.same({}, finish(5, 50, field))
      assert.same({ plan:id(2) }, s:ready("default"))
      assert.equal("S", outcome(a))
    end)
  end)

  it("runs an errback for a failure, and skips it without one", function()
    local a = plan:node {}
    local after_a = plan:node { after = { { "e", a } } }
    local b = plan:node {}
    local after_b = plan:node { after = { { "e", b } } }
    plan:send(s)
    assert.same({ a, b, after_b }, run({ "S1", nil, "F\x80" }, {}))
    assert.matches("Skipped", outcome(after_a), 1, true)
    assert.equal("S" .. after_b, outcome(after_b))
  end)

  -- An errback for whichever of so many nodes fails, as one input.
  local function send_errback(count)
    local after = {}
    for i = 1, count do
      after[i] = { "e", plan:node {} }
    end
    plan:node { after = after }
    local pieces = plan:pieces()
    for k, piece in ipairs(pieces) do
      if piece == "i" then
        pieces[k + 2] = string.pack(">c1BI4I4", "e", 0, 1, count)
      end
    end
    return s:try("flow", plan.producer, 3, count + 1, 60, "", "", "",
      table.unpack(pieces))
  end

  it("finds the failure among a thousand that an errback is for", function()
    send_errback(1000)
    local field
    repeat
      local fields = s:take(A, 1000)
      field = fields[#fields]
    until field:sub(1, 20) == plan:id(1000)
    s:finish(A, "o", field, "F\x80")
    local e = envelope.read(s:fetch(A, 1)[1])
    assert.same({ 1001, string.pack(">I4s4", 1, "F\x80") .. "\x91\x90" },
      { e.node, e.body })
  end)

  it("takes no errback for more", function()
    local _, problem = send_errback(1001)
    assert.matches("not well%-formed", problem)
  end)

  it("gathers what needs no task, and passes over what failed", function()
    local a, b = plan:node {}, plan:node {}
    local all = plan:node { virtual = true, body = "shape",
      after = { { "f", a }, { "c", b } } }
    plan:send(s)
    run { "S1", "F\x80" }
    assert.equal("G" .. string.pack(">I4s4s4", 2, "S1", "F\x80") .. "shape",
      outcome(all))
  end)

  it("lets what is too much to travel be read", function()
    local after = {}
    for i = 1, 129 do
      after[i] = { "f", plan:node {} }
    end
    local join = plan:node { after = after }
    local all = plan:node { virtual = true, after = after }
    plan:send(s)
    run()
    assert.equal("G\xff\xff\xff\xff" .. plan:id(all) .. "\x91\x90",
      outcome(all))
    assert.same({ 129, "S2", "S3" },
      s:call("gather", plan.producer, join, 2, 2))
    assert.same({ 129, "S129" }, s:call("gather", plan.producer, all, 129, 9))
  end)

  it("reads what was too much page by page, in order, of any size",
    function()
      local after, expected = {}, { 200 }
      for i = 1, 200 do
        after[i] = { "f", plan:node {} }
        expected[i + 1] = "S" .. (i % 70 == 0 and ("x"):rep(9000) or i)
      end
      local join = plan:node { after = after }
      plan:send(s)
      run(table.move(expected, 2, 201, 1, {}))
      assert.same(expected,
        s:call("gather", plan.producer, join, 1, 1000))
      assert.same({ 200, table.unpack(expected, 71, 111) },
        s:call("gather", plan.producer, join, 70, 41))
    end)

  it("ends many members in one call, each once", function()
    local after, operations = {}, {}
    for i = 1, 150 do
      after[i] = { "f", plan:node {} }
    end
    local join = plan:node { after = after }
    plan:send(s)
    for i, field in ipairs(s:take(A, 150)) do
      table.move({ "o", field, "S" .. i, "o", field, "Stwice" }, 1, 6,
        #operations + 1, operations)
    end
    assert.equal(150, s:finish(A, table.unpack(operations)))
    assert.equal(150, s:counter("default", "done"))
    assert.same({}, s:redis("HKEYS", "f:" .. A))
    assert.same({ plan:id(join) }, s:ready("default"))
    assert.same({ "S1", "S64", "S65", "S150" },
      { outcome(1), outcome(64), outcome(65), outcome(150) })
  end)

  describe("whose nodes succeed together", function()
    -- As operation `m`, of nodes first to last of those that are ready.
    local function successes(first, last)
      local operation = { "m", "default", 60, last - first + 1 }
      for i, field in ipairs(s:take(A, last - first + 1)) do
        operation[#operation + 1] = field
        operation[#operation + 1] = "S" .. first + i - 1
      end
      return operation
    end

    it("sets off what waits for all of them, once", function()
      local after = {}
      for i = 1, 150 do
        after[i] = { "f", plan:node {} }
      end
      local join = plan:node { after = after }
      plan:send(s)
      local operation, rest = successes(1, 100), successes(101, 150)
      assert.equal(100, s:finish(A, table.unpack(operation)))
      assert.same({}, s:ready("default"))
      assert.equal(50, s:finish(A, table.unpack(rest)))
      assert.same({ plan:id(join) }, s:ready("default"))
      local before = s.fake:dump()
      assert.equal(0, s:finish(A, table.unpack(operation)))
      assert.same(before, s.fake:dump())
      assert.same({ "S1", "S64", "S150" },
        { outcome(1), outcome(64), outcome(150) })
      assert.equal(150, s:counter("default", "done"))
    end)

    it("sets off each by its own edges", function()
      local a, b = plan:node {}, plan:node {}
      local c, d = plan:node {}, plan:node {}
      local joins = {
        plan:node { after = { { "f", a }, { "f", b } } },
        plan:node { after = { { "f", b }, { "c", c } } },
        plan:node { after = { { "s", c } } },
        plan:node { after = { { "e", d } } },
      }
      plan:send(s)
      s:finish(A, table.unpack(successes(1, 4)))
      assert.same({ plan:id(joins[1]), plan:id(joins[2]), plan:id(joins[3]) },
        s:ready("default"))
      assert.equal("R", outcome(joins[4]):sub(1, 1))
    end)

    it("ends nodes of several flows", function()
      local other = flow_plan.new("other")
      plan:node {}
      plan:send(s)
      other:node {}
      other:send(s)
      assert.equal(2, s:finish(A, table.unpack(successes(1, 2))))
      assert.same({ "S\xc0", "S\xc0" },
        s:call("outcome", plan:id(0), other:id(0)))
    end)

    it("tells those who wait", function()
      plan:node {}
      plan:node {}
      plan:send(s)
      s:call("await", "a:client", plan:id(2), plan:id(0))
      s:finish(A, table.unpack(successes(1, 2)))
      assert.same({ plan:id(2) .. "S2", plan:id(0) .. "S\xc0" },
        s:heard("a:client"))
    end)

    it("keeps what was written first, should a repeat be half done",
      function()
        plan:node {}
        plan:node {}
        plan:send(s)
        local operation = successes(1, 2)
        s:finish(A, "o", operation[5], "Sfirst")
        assert.equal(1, s:finish(A, table.unpack(operation)))
        assert.same({ "Sfirst", "S2" }, { outcome(1), outcome(2) })
        assert.equal(2, s:counter("default", "done"))
      end)

    it("leaves a flow alone of which a field says no node", function()
      plan:node {}
      plan:send(s)
      local field = s:take(A, 1)[1]
      local planted = plan:id(0) .. field:sub(21)
      s:redis("HSET", "f:" .. A, planted, "anything")
      assert.equal(2, s:finish(A, "m", "default", 60, 2, planted, "Sx", field,
        "S1"))
      assert.same({ "S1", "S\xc0" }, { outcome(1), outcome(0) })
    end)

    it("keeps their outcomes where the flow is gone", function()
      plan:node {}
      plan:send(s)
      local operation = successes(1, 1)
      s:redis("DEL", "g:" .. plan.producer)
      assert.equal(1, s:finish(A, table.unpack(operation)))
      assert.equal("S1", outcome(1))
      s:advance(62000)
      assert.equal("=" .. plan:id(1), outcome(1))
    end)
  end)

  it("releases all that need nothing, in as many calls as it takes", function()
    for _ = 1, 500 do
      plan:node {}
    end
    plan:send(s)
    local seen = {}
    run(nil, seen)
    table.sort(seen)
    assert.equal(500, #seen)
    assert.same({ 1, 500 }, { seen[1], seen[500] })
  end)

  it("leaves nothing once it has ended and its time is over", function()
    local a = plan:node {}
    plan:node { after = { { "f", a } } }
    plan:send(s)
    s:advance(30 * 86400000)
    s:register(A)
    run()
    assert.equal("S2", outcome(2))
    s:advance(3600 * 1000 + 1)
    s:register(A)
    s:call("heartbeat", A, 15000, "default")
    assert.equal("?", outcome(2))
    s:advance(86400000)
    s:call("leave", A)
    assert.same({ "q", "s:default" }, s:keys())
  end)

  it("leaves nothing where many end, whatever heartbeats there are", function()
    for i = 1, 30 do
      plan = flow_plan.new(("flow%02d"):format(i), { ttl_s = 60 })
      plan:node {}
      plan:send(s)
      run()
      s:advance(20000)
      s:register(A)
    end
    -- Those that may stay, and the one that the last end has not seen.
    assert.is_true(s:redis("ZCARD", "gx") <= 4)
    assert.equal(0, s:redis("EXISTS", "g:flow01ffffff"))
  end)

  describe("that goes on", function()
    local join

    -- A member has ended; what it has sent was noted beside its outcome.
    before_each(function()
      local a, b = plan:node {}, plan:node {}
      join = plan:node { after = { { "f", a }, { "f", b } } }
      plan:send(s)
      s:finish(A, "o", s:take(A, 1)[1], "S1")
      local p = s:producer("p")
      p:send(1, "c", plan:id(1), 60, "r", "other", 1,
        p:pack { queue = "other" })
    end)

    it("keeps what is needed, for however long that is", function()
      s:advance(30 * 86400000)
      s:register(A)
      s:finish(A, "o", s:take(A, 1)[1], "S2")
      local envelopes, number = s:fetch(A, 1)
      assert.equal(string.pack(">I4s4s4", 2, "S1", "S2") .. "\x91\x90",
        envelope.read(envelopes[1]).body)
      s:finish(A, "o", envelope.field(envelopes[1], number), "S" .. join)
      s:advance(2 * 3600 * 1000)
      assert.equal("=" .. plan:id(1), outcome(1))
    end)

    it("keeps it when it is to be forgotten, until it has ended", function()
      assert.equal(0, s:call("forget", plan:id(1)))
      assert.equal("S1", outcome(1))
      run()
      assert.equal(1, s:call("forget", plan:id(1)))
      assert.equal("-", outcome(1))
    end)
  end)

  it("does again what failed and what needs it, and that alone", function()
    local a, b = plan:node {}, plan:node {}
    plan:node { after = { { "f", a }, { "f", b } } }
    plan:send(s)
    assert.same({ a, b }, run({ "S1", "F\x80" }, {}))
    assert.equal("retried", s:call("flow_retry", plan.producer))
    assert.equal("running", s:call("flow_retry", plan.producer))
    assert.equal(0, s:redis("ZCARD", "x"))
    assert.same({ b, 3 }, run({}, {}))
    assert.same({ "S1", "S2", "S3", "S\xc0" },
      { outcome(1), outcome(2), outcome(3), outcome(0) })
    assert.equal("nothing", s:call("flow_retry", plan.producer))
  end)

  it("is refused as a whole when a piece is not well-formed", function()
    plan:node {}
    local pieces = plan:pieces()
    for _, bad in ipairs {
      { "t", 0, "x" }, { "o", 1, "12345" }, { "i", 1, "" }, { "n", 2, 1, "" },
      { "s", 0, 1 }, { "s", 1, 2 }, { "?" }, { "n", 1, 2, pieces[6] },
    } do
      local args = table.move(pieces, 1, #pieces, 1, {})
      table.move(bad, 1, #bad, #args + 1, args)
      local _, problem = s:try("flow", plan.producer, 3, 1, 60, "", "", "",
        table.unpack(args))
      assert.matches("not well%-formed", problem)
    end
    assert.equal(0, s:redis("EXISTS", "g:" .. plan.producer))
  end)

  it("is accepted once, and not before all its nodes are there", function()
    local a = plan:node {}
    plan:node { after = { { "f", a } } }
    local pieces = plan:pieces()
    local _, problem = s:try("flow", plan.producer, 3, 3, 60, "", "", "",
      table.unpack(pieces))
    assert.matches("2 nodes of 3", problem, 1, true)
    plan.producer = ("n"):rep(12)
    assert.equal(2, s:call("flow", plan.producer, 1, 2, 60, "", "", "",
      table.unpack(pieces))[2])
    assert.equal(0, plan:send(s)[2])
    assert.equal(1, plan:send(s)[2])
    assert.same({ plan:id(1) }, s:ready("default"))
  end)

  it("keeps what came with a seal that was too early", function()
    local a = plan:node {}
    plan:node { after = { { "f", a } } }
    local pieces = plan:pieces()
    s:try("flow", plan.producer, 3, 3, 60, "", "", "", table.unpack(pieces))
    assert.same({}, s:ready("default"))
    local record = plan:compiled().records[2]
    assert.same({ 0, 3 }, { select(2, table.unpack(s:call("flow",
      plan.producer, 1, 3, 60, "", "", "", "n", 3, 1, record))) })
    assert.same({ plan:id(1) }, s:ready("default"))
  end)
end)
