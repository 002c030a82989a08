-- What a flow that goes on needs of one that has ended.

local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local FAILED <const> = "F\x81\xa4kind\xa5Error"
-- More than travel with what needs them.
local MANY <const> = 130
local KEPT_S <const>, LONG_MS <const> = 60, 5 * 3600000
local DAY_MS <const> = 86400000

describe("A flow that has ended in the place of a task", function()
  local s, own, delegate

  before_each(function()
    s = shard.new()
    s:register(A)
    own = flow_plan.new("own", { ttl_s = KEPT_S })
    own:node {}
    own:node { delay_ms = DAY_MS }
    own:node { after = { { "f", 1 }, { "f", 2 } } }
  end)

  local function outcome(id)
    return s:call("outcome", id)[1]
  end

  -- Time goes by, and somebody takes away what is to go.
  local function pass(ms)
    s:advance(ms)
    s:register(A)
    s:call("heartbeat", A, 15000, "default")
  end

  -- A group of many, whose table is that of a task.
  local function send_group(name, id, count)
    local plan = flow_plan.new(name, { ttl_s = KEPT_S })
    local after = {}
    for i = 1, count do
      after[i] = { "f", plan:node {} }
    end
    plan:node { virtual = true, after = after, delegate = 0, body = "" }
    plan.delegate = id
    assert.equal(0, plan:send(s)[2])
    return plan
  end

  -- Runs what is ready, all of it.
  local function run_all(record)
    local fields
    repeat
      fields = s:take(A, 10)
      for _, field in ipairs(fields) do
        s:finish(A, "o", field, record or "Sv")
      end
    until #fields == 0
  end

  local function begin()
    own:send(s)
    return s:take(A, 1)[1]
  end

  local function replace(field)
    delegate = send_group("delegate", own:id(1), MANY)
    assert.equal(1, s:finish(A, "w", field, delegate.producer))
    run_all()
  end

  local function results_there()
    return s:call("gather", delegate.producer, MANY + 1, 1, 1)[1]
  end

  -- The node that was due has come to its time.
  local function run_the_rest(record)
    pass(DAY_MS)
    s:call("promote", 10)
    run_all(record)
  end

  local function assert_leaves_nothing()
    pass(8 * DAY_MS)
    s:call("leave", A)
    assert.same({ "q", "s:default" }, s:keys())
  end

  it("stays for the flow of that task, and goes with it", function()
    replace(begin())
    pass(LONG_MS)
    assert.equal(MANY, results_there())
    run_the_rest()
    assert.equal("S\xc0", outcome(own:id(0)))
    assert.equal(MANY, results_there())
    assert_leaves_nothing()
  end)

  it("stays when it ended before the task said so, too", function()
    local field = begin()
    delegate = send_group("delegate", own:id(1), MANY)
    run_all()
    s:finish(A, "w", field, delegate.producer)
    pass(LONG_MS)
    assert.equal(MANY, results_there())
    run_the_rest()
    assert_leaves_nothing()
  end)

  it("keeps its results from being forgotten meanwhile", function()
    replace(begin())
    assert.equal(0, s:call("forget", delegate:id(1)))
    run_the_rest()
    assert.equal(1, s:call("forget", delegate:id(1)))
  end)

  it("stays with the cause of a failure", function()
    local field = begin()
    delegate = flow_plan.new("delegate", { ttl_s = KEPT_S })
    delegate.delegate = own:id(1)
    delegate:node {}
    delegate:node { after = { { "f", 1 } }, delegate = 0 }
    delegate:send(s)
    s:finish(A, "w", field, delegate.producer)
    run_all(FAILED)
    pass(LONG_MS)
    assert.matches("DependencyFailed.*" .. delegate:id(1) .. ".*Error",
      outcome(own:id(1)))
    run_the_rest()
    assert_leaves_nothing()
  end)

  it("stays again when the flow of that task is retried", function()
    replace(begin())
    pass(DAY_MS)
    s:call("promote", 10)
    run_all(FAILED)
    assert.equal("retried", s:call("flow_retry", own.producer))
    pass(LONG_MS)
    assert.equal(MANY, results_there())
    run_the_rest()
    assert.equal("S\xc0", outcome(own:id(0)))
    assert_leaves_nothing()
  end)

  it("keeps what it holds itself as long", function()
    local field = begin()
    local between = send_group("between", own:id(1), 1)
    s:finish(A, "w", field, between.producer)
    local inner = s:take(A, 1)[1]
    assert.equal(between:id(1), inner:sub(1, 20))
    delegate = send_group("delegate", between:id(1), MANY)
    s:finish(A, "w", inner, delegate.producer)
    run_all()
    pass(LONG_MS)
    assert.equal(MANY, results_there())
    run_the_rest()
    assert.equal(MANY, results_there())
    assert_leaves_nothing()
  end)

  it("stays as long as the outcome of a task outside of flows", function()
    local id = s:producer("p"):plain(1, { ttl_s = 600 })[1]
    local field = s:take(A, 1)[1]
    delegate = send_group("delegate", id, MANY)
    s:finish(A, "w", field, delegate.producer)
    run_all()
    pass(590 * 1000)
    assert.equal(MANY, results_there())
    assert_leaves_nothing()
  end)

  it("does not stay for a result that stands for itself", function()
    local field = begin()
    delegate = flow_plan.new("delegate", { ttl_s = KEPT_S })
    delegate.delegate = own:id(1)
    delegate:node { delegate = 0 }
    delegate:send(s)
    s:finish(A, "w", field, delegate.producer)
    run_all()
    pass(LONG_MS)
    assert.equal(0, s:redis("EXISTS", "g:" .. delegate.producer))
  end)
end)
