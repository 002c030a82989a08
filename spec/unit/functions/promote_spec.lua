local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"

describe("te1_promote", function()
  local s, p

  before_each(function()
    s = shard.new()
    p = s:producer("p")
  end)

  it("makes ready what is due, so much of it at most", function()
    local ids = {}
    for i = 1, 3 do
      ids[i] = p:add({}, { delay = "+" .. i })
    end
    s:advance(3)
    assert.same({ s:now(), s:now() }, s:call("promote", 2))
    assert.same({ ids[1], ids[2] }, s:ready("default"))
    assert.same({ s:now(), 0 }, s:call("promote", 2))
    assert.same(ids, s:ready("default"))
  end)

  it("says when the next task is due and does nothing before", function()
    p:add({}, { delay = "+50" })
    assert.same({ s:now(), s:now() + 50 }, s:call("promote", 100))
    assert.same({}, s:ready("default"))
  end)

  it("keeps priorities", function()
    local low = p:add({ priority = 1 }, { delay = "+1" })
    local high = p:add({ priority = 8 }, { delay = "+2" })
    s:advance(2)
    s:call("promote", 100)
    assert.same({ high, low }, s:ready("default"))
  end)

  it("wakes sleepers of each queue", function()
    s:register(A, "a")
    s:register(B, "b")
    p:add({ queue = "a" }, { delay = "+5" })
    s:fetch(A, 1, { queues = { "a" } })
    s:fetch(B, 1, { queues = { "b" } })
    s:advance(5)
    s:call("promote", 100)
    assert.same({ "" }, s:heard("b:" .. A))
    assert.same({}, s:heard("b:" .. B))
  end)

  it("passes over an id without an envelope", function()
    local id = p:add({}, { delay = "+2" })
    s:redis("ZADD", "z", s:now(), "nobody")
    s:advance(2)
    s:call("promote", 100)
    assert.same({ id }, s:ready("default"))
    assert.equal(0, s:redis("EXISTS", "z"))
  end)
end)
