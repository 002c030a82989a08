-- How a flow ends that cannot go on, because something of it was deleted.

local envelope = require("spec.support.envelope")
local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local DAMAGED <const> = "F\x82\xa4kind\xa9Malformed\xa7message"
  .. "\xd9\x24its flow is damaged in Redis or gone"
-- Nodes; cells that are read together.
local LARGE <const>, WINDOW_BYTES <const> = 300, 12 * 256
-- More tasks than one call ends.
local MANY <const> = 90
local LINE <const> = "flow %s could not go on: something of it in Redis was"
  .. " deleted or overwritten"

describe("A flow that cannot go on", function()
  local s, plan

  -- A join of two, and what comes behind it.
  before_each(function()
    s = shard.new()
    s:register(A)
    plan = flow_plan.new("flow", { ttl_s = 60 })
    plan:node {}
    plan:node {}
    plan:node { after = { { "f", 1 }, { "f", 2 } } }
    plan:node { after = { { "f", 3 } } }
  end)

  local function send()
    assert.equal(0, plan:send(s, "a:me", #plan.nodes)[2])
  end

  local function finish(field)
    assert.equal(1, s:finish(A, "o", field, "S\x01"))
  end

  local function look(i)
    return s:call("look", plan:id(i))[1]
  end

  local function left()
    return s:call("flow_look", plan.producer, "h", 0, 0)[4]
  end

  local function key(name)
    return name .. plan.producer
  end

  -- Who waits has heard of it, and it has ended; what had an outcome has it.
  local function assert_ended(ended)
    s:fetch(A, 1) -- what was released just before is dropped
    assert.same({ plan:id(4) .. DAMAGED }, s:heard("a:me"))
    assert.equal(0, left())
    assert.equal(DAMAGED, look(0))
    for i = 1, 4 do
      assert.equal(ended[i] and "S\x01" or DAMAGED, look(i))
    end
    assert.same({ LINE:format(plan:id(0)) }, s:redis("LRANGE", "m", 0, -1))
  end

  local function assert_leaves_nothing()
    s:advance(8 * 86400000)
    s:register(A)
    s:call("heartbeat", A, 15000, "default")
    s:call("leave", A)
    s:redis("DEL", "n") -- counters
    assert.same({ "q", "s:default" }, s:keys())
  end

  for _, name in ipairs { "g:", "gn:", "gs:" } do
    it("ends when a task of it ends, without " .. name, function()
      for _, args in ipairs { { "o" }, { "m", "default", 60, 1 } } do
        send()
        local fields = s:take(A, 2)
        finish(fields[1])
        s:redis("DEL", key(name))
        table.move({ fields[2], "S\x01" }, 1, 2, #args + 1, args)
        assert.equal(1, s:finish(A, table.unpack(args)))
        assert_ended { true, true }
        assert_leaves_nothing()
        s:register(A)
      end
    end)
  end

  it("ends when all that runs has ended, without what was counted", function()
    send()
    local fields = s:take(A, 2)
    finish(fields[1])
    s:redis("DEL", key("gw:"))
    finish(fields[2])
    assert_ended { true, true }
    assert_leaves_nothing()
  end)

  it("ends when work for it was deleted, and nothing else runs", function()
    s = shard.new(1, { flow_steps_max = 2 })
    s:register(A)
    for _ = 1, 6 do
      plan:node {} -- more than are released at once
    end
    assert.equal(0, plan:send(s, "a:me", 4)[2])
    local field = s:take(A, 1)[1]
    s:redis("DEL", key("gr:"))
    s:redis("DEL", "gq")
    while field or s:redis("EXISTS", "gq") == 1 do
      if field then
        finish(field)
      end
      field = s:take(A, 1)[1]
    end
    assert.same({ "S\x01", DAMAGED, 0 }, { look(4), look(10), left() })
  end)

  it("lets what runs end as it does", function()
    plan:node {}
    plan.nodes[3].after[3] = { "f", 5 }
    assert.equal(0, plan:send(s)[2])
    local fields = s:take(A, 3)
    s:redis("DEL", key("gn:"))
    finish(fields[1])
    assert.same({ "S\x01", "=" .. plan:id(2), DAMAGED, DAMAGED },
      s:call("outcome", plan:id(1), plan:id(2), plan:id(3), plan:id(4)))
    finish(fields[2])
    finish(fields[3])
    assert.same({ "S\x01", "S\x01", 0 }, { look(2), look(5), left() })
    assert_leaves_nothing()
  end)

  it("is told to who asks, where nothing of it runs", function()
    send()
    finish(s:take(A, 1)[1])
    s:redis("DEL", "r:default")
    assert.same({ DAMAGED, DAMAGED, "S\x01" },
      { look(0), look(4), look(1) })
    assert.same({ DAMAGED }, s:call("state", 1, plan:id(3)))
    -- Nobody asks for more than is known when he does not look everywhere.
    assert.equal("=" .. plan:id(3), s:call("state", 0, plan:id(3))[1][1])
  end)

  it("is told to who asks, when its header is gone", function()
    send()
    s:redis("DEL", key("g:"))
    assert.same({ DAMAGED, DAMAGED }, { look(0), look(4) })
  end)

  it("is none as long as one of its tasks waits or runs", function()
    plan.nodes[1].delay_ms, plan.nodes[2].delay_ms = 50, 50
    send()
    assert.equal("=" .. plan:id(4), look(4))
    s:advance(60)
    assert.equal("=" .. plan:id(4), look(4))
    local fields = s:take(A, 2)
    assert.equal("=" .. plan:id(4), look(4))
    finish(fields[1])
    assert.equal("=" .. plan:id(4), look(4))
  end)

  it("ends when it is revoked, though its tasks are nowhere", function()
    send()
    s:redis("DEL", "r:default")
    assert.equal("revoked", plan:revoke(s, "w"))
    assert.same({ "R\x80", "R\x80", 0 }, { look(1), look(4), left() })
    assert_leaves_nothing()
  end)

  it("may be run again, and ends again", function()
    send()
    local fields = s:take(A, 2)
    s:redis("DEL", key("gn:"))
    finish(fields[1])
    finish(fields[2])
    assert.equal("retried", s:call("flow_retry", plan.producer))
    assert.same({ DAMAGED, 0 }, { look(4), left() })
  end)

  it("ends in portions when it is large, with what ends meanwhile", function()
    s = shard.new(1, { flow_steps_max = 20 })
    s:register(A)
    for _ = 1, LARGE do
      plan:node {}
    end
    send()
    s:work_off()
    local fields, most = s:take(A, LARGE // 2), 0
    s:watch(function(reply, command)
      if command == "GETRANGE" then
        most = math.max(most, #reply)
      end
    end)
    s:redis("HSET", key("g:"), "left", "junk")
    s:redis("SETRANGE", key("gs:"), 12 * LARGE, "?")
    for k = #fields, 1, -1 do
      finish(fields[k])
    end
    while s:redis("EXISTS", "gq", shard.PREFIX .. "r:default") > 0 do
      s:fetch(A, 10)
    end
    local ended, broken = 0, 0
    for i = 1, #plan.nodes do
      ended = ended + (look(i) == "S\x01" and 1 or 0)
      broken = broken + (look(i) == DAMAGED and 1 or 0)
    end
    assert.same({ #fields, #plan.nodes - #fields, 0 },
      { ended, broken, left() })
    assert.is_true(most <= WINDOW_BYTES)
    assert_leaves_nothing()
  end)

  it("is looked for once, whoever asks for however many of it", function()
    send()
    s:redis("DEL", "r:default")
    local looks = 0
    s:watch(function(_, command, _, from, to)
      if command == "GETRANGE" and from == "0" and to == "-1" then
        looks = looks + 1
      end
    end)
    assert.same({ DAMAGED, DAMAGED, DAMAGED },
      s:call("look", plan:id(1), plan:id(3), plan:id(4)))
    assert.equal(1, looks)
  end)

  it("is not found where that takes more than a call may", function()
    s = shard.new(1, { flow_steps_max = LARGE })
    s:register(A)
    for _ = 1, 2 * LARGE do
      plan:node {}
    end
    send()
    s:work_off()
    s:redis("DEL", "r:default")
    assert.equal("=" .. plan:id(4), look(4))
  end)

  describe("and to which a task delegates", function()
    local id, field

    before_each(function()
      id = s:producer("p"):plain(1)[1]
      field = s:take(A, 1)[1]
      s:call("await", "a:him", id)
      plan.delegate = id
    end)

    it("ends that task, where no edge leads to it", function()
      send()
      s:finish(A, "w", field, plan.producer)
      for _ = 1, 4 do
        finish(s:take(A, 1)[1])
      end
      assert.same({ id .. DAMAGED }, s:heard("a:him"))
      assert.equal(0, s:redis("EXISTS", "gl", shard.PREFIX .. key("gd:")))
    end)

    it("ends that task, which is late", function()
      send()
      for _ = 1, 4 do
        finish(s:take(A, 1)[1])
      end
      s:finish(A, "w", field, plan.producer)
      assert.same({ id .. DAMAGED }, s:heard("a:him"))
    end)

    it("ends that task with what is its own end", function()
      plan.nodes[4].delegate = 0
      send()
      s:finish(A, "w", field, plan.producer)
      s:redis("DEL", key("gn:"))
      finish(s:take(A, 1)[1])
      s:fetch(A, 1)
      assert.same({ id .. DAMAGED }, s:heard("a:him"))
    end)

    it("ends all such tasks, not all in one call", function()
      s = shard.new(1, { flow_steps_max = 20 })
      s:register(A)
      local ids = s:producer("many"):plain(MANY)
      local fields = s:take(A, MANY)
      send()
      local own = s:take(A, 4)
      for _, delegating in ipairs(fields) do
        assert.equal(1, s:finish(A, "w", delegating, plan.producer))
      end
      repeat
        finish(table.remove(own))
        table.move(s:take(A, 4), 1, 4, #own + 1, own)
      until #own == 0
      assert.equal(1, s:redis("EXISTS", key("gd:")))
      s:work_off(MANY)
      for _, ended in ipairs(ids) do
        assert.equal(DAMAGED, s:call("outcome", ended)[1])
      end
      assert_leaves_nothing()
    end)

    it("sets aside what is no task in that one's place", function()
      plan.nodes[4].delegate = 0
      send()
      s:finish(A, "w", field, plan.producer)
      s:redis("HSET", key("gd:"), id, "rubbish")
      for _ = 1, 4 do
        finish(s:take(A, 1)[1])
      end
      assert.equal("F", s:heard("a:him")[1]:sub(21, 21))
      assert.same({ "rubbish" }, s:redis("LRANGE", "m", 0, -1))
    end)
  end)

  it("is no flow that an envelope names and that never was", function()
    local p = s:producer("other")
    local other = flow_plan.new("nobody")
    local id = p:plain(1, { flow = other:id(0), node = 7 })[1]
    finish(s:take(A, 1)[1])
    assert.equal("S\x01", s:call("outcome", id)[1])
    assert.equal(0, s:redis("EXISTS", "g:" .. p.id,
      shard.PREFIX .. "g:" .. other.producer))
  end)

  it("takes no end of a node that it has not", function()
    send()
    local forged = envelope.new {
      id = envelope.id(plan.producer, 99), flow = plan:id(0), node = 99,
    }
    s:redis("LPUSH", "r:default", forged)
    local field = s:take(A, 1)[1]
    finish(field)
    assert.equal(4, left())
  end)
end)
