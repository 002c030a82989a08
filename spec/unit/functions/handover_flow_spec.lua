local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"
local FIRST <const> = 1 << 31

describe("Tasks that a flow releases together while a worker sleeps", function()
  local s, flows

  before_each(function()
    s, flows = shard.new(), 0
  end)

  local function sleep(wid, room, ...)
    s:register(wid, ...)
    s:fetch(wid, room, { takes = true, queues = { ... } })
  end

  -- Sends a flow of nodes that need nothing. Returns their ids.
  local function send(count, node)
    flows = flows + 1
    local plan, ids = flow_plan.new("flow" .. flows), {}
    for i = 1, count do
      plan:node(node or {})
      ids[i] = plan:id(i)
    end
    plan:send(s)
    return ids
  end

  local function bell(wid)
    return s:bell(wid)
  end

  local function in_flight(wid)
    return s:in_flight(wid)
  end

  -- Sends a node and three behind it. A gets it under this number and ends it,
  -- when it has room for so many. Returns the ids of the three, and what came
  -- straight to A.
  local function send_behind_head(number, room)
    local plan, ids = flow_plan.new("head"), {}
    local head = plan:node {}
    for i = 1, 3 do
      ids[i] = plan:id(plan:node { after = { { "f", head } } })
    end
    plan:send(s)
    s:heard("b:" .. A)
    local field = plan:id(head) .. (">I4"):pack(FIRST + number)
    local reply = s:call("finish", A, 15000, "t", room, 9,
      "m", "default", "60", "1", field, "S\x01")
    return ids, table.move(reply, 2, #reply, 1, {})
  end

  local function assert_queued(ids)
    assert.same(ids, s:ready("default"))
    assert.same({ "" }, bell(A))
    assert.same({}, in_flight(A))
  end

  it("are in flight there, and lie in its bell in their order", function()
    sleep(A, 9, "default")
    local ids = send(3)
    assert.same(ids, in_flight(A))
    assert.same({ 1, ids[1], 2, ids[2], 3, ids[3] }, bell(A))
    assert.same({}, s:ready("default"))
    assert.equal(3, s:counter("default", "enqueued"))
    assert.is_true(s:is_asleep(A))
    for i, item in ipairs(s:heard("b:" .. A)) do
      assert.equal(item:sub(6), s:redis("HGET", "f:" .. A,
        ids[i] .. (">I4"):pack(FIRST + i)))
    end
  end)

  it("end like any others", function()
    sleep(A, 9, "default")
    local ids = send(2)
    s:heard("b:" .. A)
    assert.equal(2, s:finish(A, "m", "default", "60", "2",
      ids[1] .. (">I4"):pack(FIRST + 1), "S\x01",
      ids[2] .. (">I4"):pack(FIRST + 2), "S\x02"))
    assert.same({ "S\x01", "S\x02" }, s:call("outcome", ids[1], ids[2]))
    assert.same({}, in_flight(A))
  end)

  it("are handed over while they are not more than it has room for", function()
    sleep(A, 5, "default")
    local ids = send(3)
    s:heard("b:" .. A)
    local more = send(3)
    assert.same(more, s:ready("default"))
    assert.same({ "" }, bell(A))
    s:heard("b:" .. A)
    assert.same(ids, in_flight(A))
    -- It says anew what it has room for.
    s:fetch(A, 9, { takes = true, slept = true })
    ids = send(6)
    assert.equal(4, bell(A)[1])
    assert.same(ids[6], bell(A)[12])
  end)

  it("are no more than it has room for after what came another way", function()
    sleep(A, 5, "default")
    local first = send(1)[1]
    s:heard("b:" .. A)
    -- What that sets off comes to it straight, and takes three places.
    local _, straight = send_behind_head(2, 4)
    assert.equal(3, #straight)
    local ids = send(2)
    assert.same(ids, s:ready("default"))
    assert.equal(4, #in_flight(A))
    assert.equal(first, in_flight(A)[1])
  end)

  it("go to their queue when the sleeper itself has let them go", function()
    sleep(A, 9, "default")
    local ids, straight = send_behind_head(1, 1)
    assert.equal(1, #straight)
    assert.same({ ids[2], ids[3] }, s:ready("default"))
    assert.same({ "" }, bell(A))
  end)

  it("go to their queue when it had not read its bell as it fetched", function()
    sleep(A, 9, "default")
    send(2)
    s:fetch(A, 9, { takes = true, slept = true })
    s:heard("b:" .. A)
    local ids = send(2)
    assert.same(ids, s:ready("default"))
  end)

  it("leave room for one that comes alone", function()
    sleep(A, 2, "default")
    send(2)
    s:heard("b:" .. A)
    local one = send(1)[1]
    assert.same({ 3, one }, bell(A))
  end)

  it("are up to sixteen", function()
    sleep(A, 99, "default")
    local ids = send(16)
    assert.same(ids, in_flight(A))
    assert.equal(32, #bell(A))
    s:heard("b:" .. A)
    ids = send(17)
    assert.same(ids, s:ready("default"))
    assert.same({ "" }, bell(A))
  end)

  it("go to their queue when they are large together", function()
    sleep(A, 9, "default")
    assert_queued(send(2, { body = ("x"):rep(8192) }))
  end)

  it("go to their queue when one of them has a priority", function()
    sleep(A, 9, "default")
    local plan = flow_plan.new("flow")
    plan:node {}
    plan:node { parts = { priority = 1 } }
    plan:send(s)
    assert.same({ plan:id(2), plan:id(1) }, s:ready("default"))
    assert.same({ "" }, bell(A))
    assert.same({}, in_flight(A))
  end)

  it("go to their queue when two workers sleep, who share them", function()
    sleep(A, 9, "default")
    sleep(B, 9, "default")
    local ids = send(2)
    assert.same(ids, s:ready("default"))
    assert.same({ { "" }, { "" } }, { bell(A), bell(B) })
  end)

  it("go to their queue when nobody says what he has room for", function()
    sleep(A, 9, "default")
    s:redis("DEL", "hl")
    assert_queued(send(2))
    assert.equal(tostring(FIRST), s:redis("HGET", "hn", A))
  end)

  it("go to their queue when the numbers are used up", function()
    sleep(A, 9, "default")
    s:redis("HSET", "hn", A, 2 * FIRST - 2)
    s:redis("HSET", "hl", A, 2 * FIRST + 9)
    assert_queued(send(2))
    assert.equal(tostring(2 * FIRST - 1), s:redis("HGET", "hn", A))
  end)

  describe("and lie unread", function()
    local ids

    before_each(function()
      sleep(A, 9, "default")
      ids = send(3)
    end)

    it("go back before others, in their order", function()
      local others = send(2)
      s:redis("RPUSH", "b:" .. A, "outcome of another")
      s:register(B)
      assert.same({}, in_flight(A))
      assert.same({ ids[1], ids[2], ids[3], others[1], others[2] },
        s:ready("default"))
      assert.same({ "", "outcome of another" }, bell(A))
    end)

    it("are known to a worker that compares", function()
      assert.same({ tostring(FIRST + 3) }, s:call("holds", A, 7))
      assert.same(ids, s:ready("default"))
    end)

    it("count no loss when their worker is reaped", function()
      s:advance(20000)
      assert.equal(3, s:call("reap", A, "0", "F", "-"))
      assert.same(ids, s:ready("default"))
      assert.equal(0, s:counter("default", "lost"))
      assert.equal(0, s:redis("EXISTS", "hn"))
      assert.equal(0, s:redis("EXISTS", "hl"))
    end)

    it("end where they are asked to, and the others go back", function()
      assert.same({ "asked" }, s:call("revoke", "R\x80", 60, "c", ids[2]))
      s:register(B)
      assert.same({ ids[1], ids[3] }, s:ready("default"))
      assert.same({ "R\x80" }, s:call("outcome", ids[2]))
      assert.equal(1, s:counter("default", "revoked"))
    end)

    it("are set aside where they are damaged, and the others go back",
      function()
        s:redis("HSET", "f:" .. A, ids[2] .. (">I4"):pack(FIRST + 2), "x")
        s:register(B)
        assert.same({ ids[1], ids[3] }, s:ready("default"))
        assert.same({ "x" }, s:redis("LRANGE", "m", 0, -1))
      end)
  end)
end)
