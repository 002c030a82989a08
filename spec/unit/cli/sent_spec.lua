local compile = require("taskengine.canvas.compile")
local core = require("taskengine.core")
local sent = require("taskengine.cli.sent")
local te = require("taskengine")

local LANE <const>, FLOW <const> = "laneAAAAAAAA", "flowAAAAAAAA"

describe("taskengine.cli.sent", function()
  local one, task, asked

  -- Who answers questions about flows: nodes, and how many have not ended.
  local function answer(nodes, left)
    table.remove(asked, 1)(nodes and { 0, 0, nodes, left, 1, "", "", 0, "" }
      or nil)
  end

  local requests = {}
  function requests:send(_, _, _, callback)
    asked[#asked + 1] = callback
  end

  before_each(function()
    one, asked = sent.new(), {}
    task = te.app("sent"):task("task", function() end)
  end)

  local function send(canvas, producer)
    producer = producer or FLOW
    one:flow_begins(requests, producer, compile.plan(canvas))
    one:flow_accepted(producer)
  end

  local function group(count)
    local list = {}
    for i = 1, count do
      list[i] = task:s()
    end
    return te.group(list)
  end

  local function ended(producer, number, is_success, is_old)
    one:ended(core.envelope.id(producer, number), is_success ~= false,
      is_old or false)
  end

  local function assert_counts(count, done)
    assert.same({ count, done }, { one:counts() })
  end

  it("counts the tasks of a flow when Redis has it, and once", function()
    assert.is_true(one:is_empty())
    local plan = compile.plan(group(5):on_error(task:s()))
    one:flow_begins(requests, FLOW, plan)
    assert_counts(0, 0)
    assert.is_false(one:is_empty())
    one:flow_accepted(FLOW)
    one:flow_begins(requests, FLOW, plan)
    one:flow_accepted(FLOW)
    assert_counts(5, 0)
  end)

  it("hears of tasks one by one, and never of more than were sent", function()
    send(group(2))
    one:accepted(requests, LANE, 1, 1)
    for _ = 1, 3 do
      ended(FLOW, 1)
    end
    assert_counts(3, 2)
    ended(FLOW, 3) -- the node that gathers them
    assert_counts(3, 2)
    for _ = 1, 2 do
      ended(LANE, 1)
    end
    assert_counts(3, 3)
  end)

  it("takes a flow for ended when its last nodes have succeeded", function()
    send(te.chain(group(5), task:s():link(task:s())))
    ended(FLOW, 6)
    assert_counts(7, 1)
    ended(FLOW, 7)
    assert_counts(7, 7)
    ended(FLOW, 1)
    assert_counts(7, 7)
  end)

  it("does not when one of them has failed, while others go on", function()
    send(group(5))
    ended(FLOW, 6, false)
    assert_counts(5, 0)
  end)

  it("counts no end of what others have sent", function()
    one:accepted(requests, LANE, 1, 1)
    ended(FLOW, 1, true, true)
    assert_counts(1, 0)
    ended(LANE, 1, true, true)
    assert_counts(1, 1)
  end)

  it("asks Redis how far each flow is, in turn, until it has ended", function()
    send(group(5))
    one:look()
    one:look() -- not before there is an answer
    assert.equal(1, #asked)
    answer(6, 4)
    assert_counts(5, 2)
    send(group(3), "flowBBBBBBBB")
    one:look()
    answer(nil)
    assert_counts(8, 2)
    one:look()
    answer(4, 1)
    assert_counts(8, 5)
    for _ = 1, 2 do
      one:look()
      answer(6, 0)
      assert_counts(8, 8)
    end
    one:look()
    assert.equal(0, #asked)
  end)

  local function sources()
    local list = {}
    for i, source in ipairs(one:sources()) do
      list[i] = ("%s %d-%d"):format(source.producer, source.first, source.last)
    end
    return list
  end

  it("lists what is to be revoked, flows as a whole first, once", function()
    one:accepted(requests, LANE, 7, 7)
    send(group(5))
    assert.same({ FLOW .. " 0-0", FLOW .. " 1-6", LANE .. " 1-7" }, sources())
    assert.same({ LANE .. " 1-7" }, sources())
  end)

  it("and no flow that has ended, but one that was not sent as a whole",
    function()
      send(group(5))
      ended(FLOW, 6)
      one:flow_begins(requests, "flowBBBBBBBB", compile.plan(group(1)))
      assert.same({ "flowBBBBBBBB 0-0", "flowBBBBBBBB 1-2" }, sources())
    end)
end)
