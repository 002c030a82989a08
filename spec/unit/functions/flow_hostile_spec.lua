-- The functions of flows, called with what nobody should send: a refusal in
-- plain words, and nothing done.

local flow_plan = require("spec.support.flow_plan")
local random = require("spec.support.fake_redis.random")
local seed = require("spec.support.seed")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"
local CALLS <const> = os.getenv("TE_FULL") == "1" and 20000 or 500
local JUNK <const> = {
  "", "0", "-1", "1.5", "1e9", "nan", "inf", "0x10", "99999999999999999999",
  "4294967296", "junk", "\0", ("x"):rep(300), " 1", "a:me", "R\x80",
}

describe("The functions of flows", function()
  local chance, s, plan

  -- A flow that runs, and calls of its functions that are as they must be.
  local function begin()
    s, plan = shard.serving(A), flow_plan.new("flow")
    plan:node {}
    plan:node {}
    plan:node { after = { { "f", 1 }, { "f", 2 } }, grows = true }
    plan:send(s)
    s:take(A, 2)
    local other, addition = flow_plan.new("other"), flow_plan.new("more")
    other:node {}
    other:node { after = { { "f", 1 } } }
    addition:node { joins = true }
    return {
      { "flow", other.producer, 3, 2, 60, "name", "a:me", 2,
        table.unpack(other:pieces()) },
      { "flow_add", plan.producer, 1, "x1", 1,
        table.unpack(addition:pieces()) },
      { "gather", plan.producer, 3, 1, 10 },
      { "flow_look", plan.producer, "c", 1, 10 },
      { "revoke", "R\x80", 60, "w", plan:id(0) },
      { "flow_retry", plan.producer },
    }
  end

  -- One argument is another one, or gone, or there is one more.
  local function spoil(args)
    local at, how = 1 + chance:upto(#args - 1), chance:upto(4)
    if how == 1 then
      table.remove(args, at)
    elseif how == 2 then
      table.insert(args, at, JUNK[chance:upto(#JUNK)])
    else
      args[at] = JUNK[chance:upto(#JUNK)]
    end
  end

  it("do nothing when they refuse, and say so", function()
    local number = seed.begin()
    chance = random.new(number)
    for k = 1, CALLS do
      local calls = begin()
      local args = calls[chance:upto(#calls)]
      for _ = 1, chance:upto(2) do
        if #args > 1 then
          spoil(args)
        end
      end
      local before = s.fake:dump()
      local reply, problem = s:try(table.unpack(args))
      local what = ("TE_SEED=%d, call %d, te1_%s: %s"):format(number, k,
        args[1], problem or "")
      if problem then
        assert.truthy(problem:find("^ERR te1_"), what)
        assert.same(before, s.fake:dump(), what)
      else
        assert.not_nil(reply, what)
      end
    end
  end)

  describe("pass over", function()
    before_each(begin)

    for _, numbers in ipairs {
      "0 0", "0 1", "1 0", "1 2", "4 1", "9 9", "1 999999999999999",
      "999999999999999 1", "281474976710655 0", ("9"):rep(400) .. " 1",
      "1 " .. ("9"):rep(400),
    } do
      it("work of numbers that are none: " .. numbers:sub(1, 20), function()
        s:call("finish", A, 15000, "t", 10, 100, "o",
          s:call("holds", A)[1], "S1")
        for _, revoked in ipairs { false, true } do
          if revoked then
            plan:revoke(s, "t")
          end
          for what in ("abcehknprsuxyz"):gmatch(".") do
            s:redis("RPUSH", "gq", plan.producer .. what .. numbers)
          end
          s:work_off(50)
        end
      end)
    end

    for field, value in pairs { revoked = "R\x80", mode = "t" } do
      it("the end of a flow whose header says nothing but " .. field, function()
        s:redis("HSET", "g:" .. plan.producer, field, value)
        s:redis("RPUSH", "gq", plan.producer .. "y0 0", plan.producer .. "x1 0")
        s:work_off(50)
      end)
    end
  end)
end)
