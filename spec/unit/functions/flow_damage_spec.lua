-- Whatever somebody deletes of a live flow, or writes over it: its functions go
-- on, the flow ends, and who waits for it learns how.

local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local ROUNDS_MAX <const> = 60
local STAGES <const> = 5 -- ends ahead of the damage
-- With TE_FULL=1 all damages at each stage, otherwise others at each.
local EVERY <const> = os.getenv("TE_FULL") == "1" and 1
  or os.getenv("TE_IS_WATCHED") and 10 or 3

describe("A flow of which something is damaged", function()
  local s, plan

  -- A bit of everything.
  local function new_plan()
    plan = flow_plan.new("flow", { ttl_s = 60 })
    plan:node {}
    plan:node {}
    plan:node { after = { { "f", 1 }, { "f", 2 } } }
    plan:node { after = { { "f", 3 } }, parts = { priority = 3 } }
    plan:node { after = { { "f", 1 }, { "f", 2 } }, virtual = true }
    plan:node { after = { { "c", 4 }, { "i", 5 } } }
    plan:node { after = { { "e", 4 } } }
    plan:node { after = { { "f", 1 } }, delay_ms = 5 }
  end

  -- Runs what there is, `count` tasks at the most. Returns how many.
  local function run(count)
    local ended = 0
    while ended < count do
      local field = s:take(A, 1)[1]
      if not field then
        return ended
      end
      if ended % 2 == 0 then
        s:finish(A, "o", field, "S\x01")
      else
        s:finish(A, "m", "default", 60, 1, field, "S\x01")
      end
      ended = ended + 1
    end
    return ended
  end

  -- A flow of which so many tasks have ended, and one runs.
  local function begin(stage, steps_max)
    s = shard.new(1, { flow_steps_max = steps_max })
    s:register(A)
    new_plan()
    assert.equal(0, plan:send(s)[2])
    run(stage)
    return s:take(A, 1)[1]
  end

  local function ids()
    local list = {}
    for i = 0, #plan.nodes do
      list[i + 1] = plan:id(i)
    end
    return list
  end

  -- A node that who asks for it would wait for, 0 for the flow; nil when there
  -- is none.
  local function open_node()
    for i, known in ipairs(s:call("look", table.unpack(ids()))) do
      if known:sub(1, 1) == "=" then
        return i - 1
      end
    end
  end

  -- All that workers and a client do from then on: all of it ends.
  local function assert_ends(field)
    s:call("await", "a:me", table.unpack(ids()))
    if field then
      s:call("finish", A, 15000, "t", 10, 1000000, "o", field, "S\x01")
      s.fetches = 1000000
    end
    local rounds, open = 0, open_node()
    while open do
      rounds = rounds + 1
      assert.is_true(rounds <= ROUNDS_MAX, "open: " .. open)
      for _, taken in ipairs(s:call("holds", A)) do
        if #taken == 24 then
          s:finish(A, "o", taken, "S\x01")
        end
      end
      run(10)
      s:advance(100)
      s:call("heartbeat", A, 15000, "default")
      open = open_node()
    end
    s:call("state", 1, table.unpack(ids()))
    s:call("gather", plan.producer, 5, 1, 10)
    for _, what in ipairs { "h", "c", "n", "t", "o", "i" } do
      s:call("flow_look", plan.producer, what, 1, 10)
    end
    s:call("flow_retry", plan.producer)
    run(20)
    plan:revoke(s, "c")
    run(20)
  end

  local JUNK <const> = {
    string = function(key) s:redis("SET", key, "junk") end,
    list = function(key) s:redis("RPUSH", key, "junk") end,
    hash = function(key) s:redis("HSET", key, "junk", "junk") end,
  }

  -- Ways to damage a key, by name.
  local function damages_of(key, kind)
    local list = {}
    local function add(name, act)
      list[#list + 1] = { name = name, act = act }
    end
    add("deleted", function() s:redis("DEL", key) end)
    for other, put in pairs(JUNK) do
      if other ~= kind then
        add("a " .. other, function()
          s:redis("DEL", key)
          put(key)
        end)
      end
    end
    if kind == "hash" then
      for _, field in ipairs(s:redis("HKEYS", key)) do
        add("without " .. field, function() s:redis("HDEL", key, field) end)
        for _, junk in ipairs { "", "junk", "-1", "99999999999999999", "nan" }
        do
          add(("%s=%q"):format(field, junk), function()
            s:redis("HSET", key, field, junk)
          end)
        end
      end
    elseif kind == "string" then
      add("cut", function()
        s:redis("SET", key, s:redis("GET", key):sub(1, -8))
      end)
      add("overwritten", function()
        s:redis("SET", key, ("!"):rep(#s:redis("GET", key)))
      end)
    elseif kind == "list" then
      add("with junk", function()
        s:redis("LPUSH", key, plan.producer .. "r1 999999999999",
          plan.producer .. "e7 1", plan.producer .. "e99 1",
          plan.producer .. "junk", "junk")
      end)
    elseif kind == "zset" then
      add("with junk", function()
        s:redis("ZADD", key, 0, "junk", 1, "1 99999999")
      end)
    end
    return list
  end

  local function is_of_flow(key)
    return key:find("^g") or key:find(plan.producer, 1, true) or key == "t"
      or key == "z" or key:find("^[rp]:")
  end

  -- All damages at a stage, each of which has a flow of its own.
  local function each_damage(stage, steps_max, visit)
    begin(stage, steps_max)
    for _, key in ipairs(s:keys()) do
      if is_of_flow(key) then
        local kind = s:redis("TYPE", key).ok
        begin(stage, steps_max)
        for at = 1 + stage % EVERY, #damages_of(key, kind), EVERY do
          local field = begin(stage, steps_max)
          local damage = damages_of(key, kind)[at]
          local ok, problem = xpcall(function()
            damage.act()
            visit(field)
          end, debug.traceback)
          if not ok then
            error(("%s %s: %s"):format(key, damage.name, problem), 0)
          end
        end
      end
    end
  end

  it("ends as it should when nothing is", function()
    assert_ends(begin(0))
    for i = 0, #plan.nodes do
      local letter = i == 0 and "S\xc0" or i == 5 and "G"
        or i == 7 and "R" or "S\x01"
      assert.equal(letter, s:call("outcome", plan:id(i))[1]:sub(1, #letter))
    end
  end)

  for stage = 0, STAGES do
    it(("ends all the same, after %d of its tasks"):format(stage), function()
      each_damage(stage, nil, assert_ends)
    end)

    it(("ends when work is left, after %d of its tasks"):format(stage),
      function()
        each_damage(stage, 2, assert_ends)
      end)
  end
end)
