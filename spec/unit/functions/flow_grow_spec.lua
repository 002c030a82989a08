-- Flows that grow: te1_flow_add, for a task that runs.

local envelope = require("spec.support.envelope")
local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local ADDED <const>, NO_MEMBER <const>, IS_OVER <const> = 0, 1, 2
local TOO_FAR <const> = 3

describe("A member of a group", function()
  local s, plan

  before_each(function()
    s, plan = shard.serving(A), flow_plan.new("flow")
  end)

  local function addition(...)
    local added = flow_plan.new("added")
    for _, node in ipairs { ... } do
      added:node(node)
    end
    return added
  end

  local function member()
    return addition { joins = true }
  end

  local function outcome(i)
    return s:call("outcome", plan:id(i))[1]
  end

  -- Runs what is ready, each to the outcome that `ends` has for its node.
  -- Returns the bodies by node.
  local function run(ends)
    local bodies = {}
    while true do
      local envelopes, number = s:fetch(A, 100)
      if not envelopes[1] then
        return bodies
      end
      for _, bytes in ipairs(envelopes) do
        local e = envelope.read(bytes)
        bodies[e.node] = e.body
        s:finish(A, "o", envelope.field(bytes, number),
          ends and ends[e.node] or "S" .. e.node)
      end
    end
  end

  local function inputs(...)
    local parts = { string.pack(">I4", select("#", ...)) }
    for _, record in ipairs { ... } do
      parts[#parts + 1] = string.pack(">s4", record)
    end
    return table.concat(parts) .. "\x91\x90"
  end

  -- Two members, of which the first runs, and what gathers them.
  local function send(kind, join)
    local a, b = plan:node {}, plan:node {}
    join = join or {}
    join.grows, join.after = true, { { kind, a }, { kind, b } }
    plan:node(join)
    plan:send(s)
    return s:take(A, 1)[1]
  end

  it("adds one, whose result comes behind the others", function()
    local field = send("f")
    assert.same({ s:now(), ADDED, 3 }, member():add_to(s, plan, 1, "x"))
    s:finish(A, "o", field, "S1")
    local bodies = run()
    assert.equal(inputs("S1", "S2", "S4"), bodies[3])
    assert.same({ "S4", "S3", "S\xc0" },
      { outcome(4), outcome(3), outcome(0) })
  end)

  it("adds it once, however often it says so", function()
    local field = send("f")
    for _ = 1, 3 do
      assert.same({ s:now(), ADDED, 3 }, member():add_to(s, plan, 1, "x"))
    end
    s:finish(A, "o", field, "S1")
    run()
    assert.same({ s:now(), ADDED, 3 }, member():add_to(s, plan, 1, "x"))
    assert.equal("4", s:redis("HGET", "g:" .. plan.producer, "n"))
    assert.equal("S\xc0", outcome(0))
  end)

  it("is the parent of the tasks that it adds, for as long as they last",
    function()
      local field = send("f")
      addition({}, { virtual = true, after = { { "f", 1 } }, joins = true })
        :add_to(s, plan, 1, "x")
      assert.same({ "", plan:id(4) }, s:call("kin", plan:id(1)))
      assert.same({ plan:id(1) }, s:call("kin", plan:id(4)))
      s:finish(A, "o", field, "S1")
      s:advance(3600 * 1000 + 1)
      assert.same({ plan:id(1) }, s:call("kin", plan:id(4)))
      run()
      s:advance(3600 * 1000 + 1)
      assert.same({ "" }, s:call("kin", plan:id(4)))
    end)

  it("holds up what gathers the group until it has ended", function()
    local field = send("f")
    member():add_to(s, plan, 1, "x")
    s:finish(A, "o", field, "S1")
    local fields = s:take(A, 2)
    s:finish(A, "o", fields[1], "S2")
    assert.same({}, s:fetch(A, 1))
    s:finish(A, "o", fields[2], "S4")
    assert.same({ plan:id(3) }, { envelope.read(s:fetch(A, 1)[1]).id })
  end)

  it("adds chains and several at once, in their order", function()
    local field = send("f")
    addition({}, { after = { { "f", 1 } }, joins = true }, { joins = true })
      :add_to(s, plan, 1, "x")
    assert.equal(6, member():add_to(s, plan, 1, "y")[3])
    s:finish(A, "o", field, "S1")
    local bodies = run()
    assert.equal(inputs("S4"), bodies[5])
    assert.equal(inputs("S1", "S2", "S5", "S6", "S7"), bodies[3])
  end)

  it("adds to what gathers without a task, and to what takes nothing",
    function()
      local field = send("f", { virtual = true, body = "" })
      member():add_to(s, plan, 1, "x")
      s:finish(A, "o", field, "S1")
      run()
      assert.equal("G" .. string.pack(">I4s4s4s4", 3, "S1", "S2", "S4"),
        outcome(3))
      plan = flow_plan.new("order")
      field = send("s")
      member():add_to(s, plan, 1, "x")
      s:finish(A, "o", field, "S1")
      assert.equal(inputs(), run()[3])
    end)

  it("adds what adds in its turn", function()
    local field = send("f")
    member():add_to(s, plan, 1, "x")
    s:finish(A, "o", field, "S1")
    local fields = s:take(A, 2)
    assert.same({ s:now(), ADDED, 4 }, member():add_to(s, plan, 4, "y"))
    s:finish(A, "o", fields[1], "S2", "o", fields[2], "S4")
    assert.equal(inputs("S1", "S2", "S4", "S5"), run()[3])
  end)

  it("adds what fails the group, and runs again with it", function()
    local field = send("f")
    member():add_to(s, plan, 1, "x")
    s:finish(A, "o", field, "S1")
    run { [4] = "F\x80" }
    assert.matches("DependencyFailed", outcome(3), 1, true)
    assert.equal("retried", s:call("flow_retry", plan.producer))
    assert.same({ [3] = inputs("S1", "S2", "S4"), [4] = inputs() }, run())
  end)

  it("adds to a group that has failed, for when it runs again", function()
    local fields = { send("f"), s:take(A, 1)[1] }
    s:finish(A, "o", fields[2], "F\x80")
    assert.equal(ADDED, member():add_to(s, plan, 1, "x")[2])
    s:finish(A, "o", fields[1], "S1")
    assert.same({ [4] = inputs() }, run())
    s:call("flow_retry", plan.producer)
    assert.equal(inputs("S1", "S2", "S4"), run()[3])
  end)

  it("shares what many additions have in common", function()
    send("f")
    for i = 1, 50 do
      member():add_to(s, plan, 1, "x" .. i)
    end
    assert.same({ "2", "2", "2" },
      s:redis("HMGET", "g:" .. plan.producer, "nt", "no", "ni"))
    assert.equal(30, #s:redis("HGET", "g:" .. plan.producer, "i2"))
  end)

  it("leaves nothing once all is over", function()
    local field = send("f")
    member():add_to(s, plan, 1, "x")
    s:finish(A, "o", field, "S1")
    run()
    s:advance(3600 * 1000 + 1)
    s:register(A)
    s:call("heartbeat", A, 15000, "default")
    s:advance(7 * 86400000)
    s:call("leave", A)
    assert.same({ "q", "s:default" }, s:keys())
  end)

  describe("is told", function()
    it("that it is none", function()
      local a = plan:node {}
      plan:node { after = { { "f", a } } }
      plan:send(s)
      s:take(A, 1)
      assert.equal(NO_MEMBER, member():add_to(s, plan, 1, "x")[2])
    end)

    it("that it is too late", function()
      assert.equal(IS_OVER, member():add_to(s, plan, 1, "x")[2])
      local field = send("f")
      assert.equal(IS_OVER, member():add_to(s, plan, 3, "x")[2])
      assert.equal(IS_OVER, member():add_to(s, plan, 9, "x")[2])
      s:finish(A, "o", field, "S1")
      assert.equal(IS_OVER, member():add_to(s, plan, 1, "x")[2])
      s:take(A, 1)
      plan:revoke(s, "w")
      assert.equal(IS_OVER, member():add_to(s, plan, 2, "x")[2])
    end)

    it("that it is in more groups than can grow at once", function()
      local a = plan:node {}
      for _ = 1, 101 do
        plan:node { grows = true, after = { { "f", a } } }
      end
      plan:send(s)
      s:take(A, 1)
      assert.equal(TOO_FAR, member():add_to(s, plan, 1, "x")[2])
    end)

    it("that a piece is not well-formed, and nothing is done", function()
      send("f")
      local good = member():pieces()
      for _, case in ipairs {
        { 1, good, "", "" }, { 1, good, "d", plan:id(1) }, { 1, {}, "x", "" },
        { 2, good },
        { 1, addition({}):pieces() }, { 1, { "n", 1, 1, ("\1"):rep(18) } },
        { 5000, good }, { 0, {} },
      } do
        local args = table.move(case[2], 1, #case[2], 1, {})
        table.move(case, 3, #case, #args + 1, args)
        local _, problem = s:try("flow_add", plan.producer, 1, "x", case[1],
          table.unpack(args))
        assert.matches("not well%-formed", problem)
      end
      assert.equal("3", s:redis("HGET", "g:" .. plan.producer, "n"))
    end)
  end)
end)
