-- That nothing stays for ever of a flow that has ended, however late what is
-- to give it its time to live is done.

local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
-- Their outcomes are in more keys than one call sees to.
local NODES <const> = 1000
local KEPT_S <const> = 1
local HOUR_MS <const>, WEEK_MS <const> = 3600000, 7 * 86400000

describe("A large flow that has ended", function()
  local s, plan

  -- Calls do little at once, as they would for a flow that is larger.
  before_each(function()
    s = shard.new(1, { flow_steps_max = 2 })
    s:register(A)
    plan = flow_plan.new("flow", { ttl_s = KEPT_S })
    for _ = 1, NODES do
      plan:node {}
    end
  end)

  -- Until nothing is left to be done.
  local function go_on()
    s:work_off(10 * NODES)
  end

  -- Runs it up to the call that ends it.
  local function run_to_the_end()
    assert.equal(0, plan:send(s)[2])
    go_on()
    local fields = s:take(A, NODES)
    assert.equal(NODES, #fields)
    for k = 1, NODES - 1 do
      s:finish(A, "o", fields[k], "Sv")
    end
    go_on()
    s:finish(A, "o", fields[NODES], "Sv")
    assert.equal("S\xc0", s:call("outcome", plan:id(0))[1])
  end

  local function beat()
    s:register(A)
    s:call("heartbeat", A, 15000, "default")
  end

  local function assert_leaves_nothing()
    s:advance(WEEK_MS + HOUR_MS)
    beat()
    s:call("leave", A)
    assert.same({ "q", "s:default" }, s:keys())
  end

  it("leaves nothing when its time is over before that is given", function()
    run_to_the_end()
    assert.equal(1, s:redis("EXISTS", "gq"))
    s:advance(KEPT_S * 1000 + 1)
    beat()
    go_on()
    assert_leaves_nothing()
  end)

  it("leaves nothing when no worker was there for long", function()
    run_to_the_end()
    s:advance(KEPT_S * 1000 + 2 * HOUR_MS)
    beat()
    go_on()
    assert_leaves_nothing()
  end)

  it("keeps its outcomes as long as was asked, from then on", function()
    run_to_the_end()
    s:advance(KEPT_S * 1000 + 2 * HOUR_MS)
    go_on()
    assert.equal("Sv", s:call("outcome", plan:id(NODES))[1])
    s:advance(KEPT_S * 1000 - 1)
    beat()
    assert.equal("Sv", s:call("outcome", plan:id(NODES))[1])
    assert.equal(1, s:redis("EXISTS", "g:" .. plan.producer))
  end)

  it("lets go of what it holds, however late", function()
    local own = flow_plan.new("own", { ttl_s = KEPT_S })
    for _ = 1, 3 do
      own:node {}
    end
    own:send(s)
    go_on()
    for i, field in ipairs(s:take(A, 3)) do
      local held = flow_plan.new("held" .. i, { ttl_s = KEPT_S })
      held.delegate = own:id(i)
      held:node {}
      held:node {
        virtual = true, after = { { "f", 1 } }, delegate = 0, body = "",
      }
      held:send(s)
      s:finish(A, "w", field, held.producer)
      go_on()
      s:finish(A, "o", s:take(A, 1)[1], "Sv")
      if i < 3 then
        go_on()
      end
    end
    for _ = 1, 2 * NODES do
      if s:call("outcome", own:id(0))[1] == "S\xc0" then
        break
      end
      s:call("promote", 1)
    end
    assert.equal(1, s:redis("EXISTS", "gq"))
    s:advance(KEPT_S * 1000 + 2 * HOUR_MS)
    beat()
    go_on()
    assert_leaves_nothing()
  end)

  describe("before what it is to do for a task that delegated", function()
    local FORGOTTEN <const> = "^-$"
    local ended, id, field

    before_each(function()
      id = s:producer("p"):plain(1)[1]
      field = s:take(A, 1)[1]
      ended = flow_plan.new("ended", { ttl_s = KEPT_S })
    end)

    local function delegate()
      s:finish(A, "w", field, ended.producer)
    end

    local function finish_last_node()
      for _, last in ipairs(s:take(A, 10)) do
        if last:sub(1, 20) == ended:id(3) then
          s:finish(A, "o", last, "S3")
        end
      end
      assert.equal("S\xc0", s:call("outcome", ended:id(0))[1])
    end

    -- What the first two nodes set off is more than one call does; the second
    -- may end the task. From then on there is much to do for another flow.
    local function run(number, begin)
      ended:node {}
      ended:node { delegate = number }
      ended:node { after = { { "f", 1 } } }
      ended:send(s)
      go_on()
      local fields = s:take(A, 2)
      if begin then
        begin()
      end
      plan:send(s)
      s:finish(A, "o", fields[1], "S1", "o", fields[2], "S2")
      finish_last_node()
    end

    -- Its time is over before anybody comes to that.
    local function be_late()
      s:advance(KEPT_S * 1000 + 1)
      beat()
      go_on()
    end

    local function assert_ended_as(pattern)
      assert.matches(pattern, s:call("outcome", id)[1])
      assert.equal(0, s:redis("EXISTS", "gl"))
    end

    it("ends one for which no node of it ends", function()
      run()
      delegate()
      be_late()
      assert_ended_as("^F.*its flow is damaged")
    end)

    it("ends one as its node, whose outcome is forgotten", function()
      ended.delegate = id
      run(0, delegate)
      be_late()
      assert_ended_as(FORGOTTEN)
    end)

    it("goes once that is done", function()
      run()
      delegate()
      be_late()
      s:advance(KEPT_S * 1000)
      beat()
      assert.equal(0, s:redis("EXISTS", "g:" .. ended.producer))
    end)
  end)

  it("is seen to by the workers that leave", function()
    run_to_the_end()
    while s:redis("EXISTS", "gq") == 1 do
      s:call("leave", A)
    end
    assert_leaves_nothing()
  end)
end)
