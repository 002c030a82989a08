-- Nodes of a flow that end in one call: however many, in whatever order, all is
-- as when they end one after the other, each with its envelope.

local dump = require("spec.support.fake_redis.dump")
local flow_plan = require("spec.support.flow_plan")
local random = require("spec.support.fake_redis.random")
local seed = require("spec.support.seed")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local FLOWS <const> = os.getenv("TE_FULL") == "1" and 4000 or 120
local CHUNK <const>, NODES_MAX <const> = 61, 150
local LARGE <const> = ("x"):rep(5000)

describe("Nodes that end in one call", function()
  local chance

  -- A group whose join takes all of it, or members with an edge of their own.
  local function plan_of(nodes, is_group)
    local plan, after = flow_plan.new("flow", { ranges = true }), {}
    for i = 1, nodes do
      after[i] = { i % 3 == 0 and "c" or "f", plan:node {} }
    end
    if is_group then
      plan:node { after = after }
    else
      for i = 1, nodes do
        plan:node { after = { after[i], after[i % nodes + 1] } }
      end
    end
    return plan
  end

  -- In which order nodes end: as they come, all at random, or backwards, some
  -- of them twice.
  local function draw_ends(nodes)
    local ends, order = {}, chance:pick { "queue", "any", "stack" }
    for i = 1, nodes do
      local at = order == "queue" and i or order == "stack" and 1
        or chance:upto(i)
      table.insert(ends, at, {
        at = i,
        outcome = chance:pick { "S", "S", "S", "J", "S" .. LARGE } .. i,
      })
    end
    for _ = 1, chance:upto(4) - 1 do
      local k = chance:upto(#ends)
      table.insert(ends, math.min(k + chance:upto(3), #ends + 1), ends[k])
    end
    return ends
  end

  -- What happens to a flow: the calls ahead of the ends, and the ends.
  local function draw()
    local nodes = chance:upto(chance:pick { CHUNK, NODES_MAX })
    local story = {
      nodes = nodes,
      is_group = chance:upto(2) == 1,
      taken_first = chance:upto(nodes),
      waits = chance:pick { 0, 1, 3, 40 },
      failed = {},
      header = chance:pick { "x", "x", "passes", "counted" },
      ends = draw_ends(nodes),
    }
    for k = 1, chance:upto(5) - 1 do
      story.failed[k] = chance:upto(nodes)
    end
    return story
  end

  -- A shard where all is as it is ahead of the ends, and the fields of these.
  local function begin(story)
    local s, plan = shard.serving(A), plan_of(story.nodes, story.is_group)
    plan:send(s)
    local fields = s:take(A, story.taken_first)
    s:advance(5)
    table.move(s:take(A, NODES_MAX), 1, NODES_MAX, #fields + 1, fields)
    assert.equal(story.nodes, #fields)
    for k = 1, story.waits do
      s:call("await", "a:me", plan:id((7 * k) % (story.nodes + 1)))
    end
    for _, i in ipairs(story.failed) do
      s:finish(A, "o", fields[i], "F\x80")
    end
    -- As one that is set up to be done again, or whose nodes are counted.
    s:redis("HSET", "g:" .. plan.producer, story.header, story.nodes // 2 + 1)
    s:advance(3)
    return s, fields
  end

  -- Ends those from the first-th to the last-th in one call.
  local function finish(s, fields, ends, first, last)
    local operation = { "m", "default", 60, last - first + 1 }
    for k = first, last do
      table.insert(operation, fields[ends[k].at])
      table.insert(operation, ends[k].outcome)
    end
    return s:finish(A, table.unpack(operation))
  end

  it("end as one after the other", function()
    local number = seed.begin()
    chance = random.new(number)
    for k = 1, FLOWS do
      local story = draw()
      local together, fields = begin(story)
      local one_by_one = begin(story)
      local ends, at, own, own_singly = story.ends, 1, 0, 0
      while at <= #ends do
        local to = math.min(at + chance:upto(70) - 1, #ends)
        own = own + finish(together, fields, ends, at, to)
        for j = at, to do
          own_singly = own_singly + one_by_one:finish(A, "o",
            fields[ends[j].at], ends[j].outcome)
        end
        at = to + 1
      end
      local what = ("TE_SEED=%d, flow %d"):format(number, k)
      assert.equal(own_singly, own, what)
      assert.same({}, dump.difference(one_by_one.fake:dump(),
        together.fake:dump()), what)
    end
  end)

  it("are no more than the flow says that it has", function()
    local s, plan = shard.serving(A), flow_plan.new("flow")
    for _ = 1, 40 do
      plan:node {}
    end
    plan:send(s)
    local fields = s:take(A, 40)
    s:call("await", "a:me", plan:id(0))
    s:redis("HSET", "g:" .. plan.producer, "n", 30)
    s:finish(A, "o", fields[1], "S\x01")
    local operation = { "m", "default", 60, 39 }
    for k = 2, 40 do
      table.move({ fields[k], "S\x01" }, 1, 2, #operation + 1, operation)
    end
    s:finish(A, table.unpack(operation))
    s:work_off()
    assert.same({ "0", "done" },
      s:redis("HMGET", "g:" .. plan.producer, "left", "state"))
    assert.equal(1, #s:heard("a:me"))
  end)
end)
