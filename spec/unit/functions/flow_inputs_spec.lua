-- What becomes of a node when the outcome of another that it takes was deleted.

local envelope = require("spec.support.envelope")
local flow_plan = require("spec.support.flow_plan")
local shard = require("spec.support.shard")

local A <const> = "workerAAAAAA"

describe("A node that takes what somebody has deleted", function()
  local s, plan

  before_each(function()
    s, plan = shard.serving(A), flow_plan.new("flow")
  end)

  local function gone(i)
    local text = ("the result of task %s, which it needs, is gone")
      :format(plan:id(i))
    return ("F\x82\xa4kind\xa9Forgotten\xa7message\xd9%c%s"):format(#text,
      text)
  end

  local function outcome(i)
    return s:call("outcome", plan:id(i))[1]
  end

  local function delete_outcome(i)
    local id = plan:id(i)
    assert.equal(1, s:redis("HDEL", "v:" .. id:sub(1, 19), id:sub(20)))
  end

  -- Of `count` nodes, which run; the last one ends when the outcome of the
  -- first has been deleted.
  local function run(count)
    assert.equal(0, plan:send(s)[2])
    local fields = s:take(A, count)
    for k = 1, count - 1 do
      s:finish(A, "o", fields[k], "S\x01")
    end
    delete_outcome(1)
    s:finish(A, "o", fields[count], "S\x02")
  end

  -- The inputs of the only task that is there now.
  local function inputs()
    local bytes = assert(s:fetch(A, 2)[1])
    local body = envelope.read(bytes).body
    local list, at = {}, 5
    for k = 1, (string.unpack(">I4", body)) do
      list[k], at = string.unpack(">s4", body, at)
    end
    return list
  end

  it("fails, and what needs it fails with that", function()
    plan:node {}
    plan:node {}
    plan:node { after = { { "f", 1 }, { "f", 2 } } }
    plan:node { after = { { "f", 3 } } }
    run(2)
    assert.same({}, s:fetch(A, 1))
    assert.equal(gone(1), outcome(3))
    assert.matches("DependencyFailed.*" .. plan:id(3) .. ".*Forgotten",
      outcome(4))
    assert.equal(0, s:call("flow_look", plan.producer, "h", 0, 0)[4])
  end)

  it("fails also without a task of its own", function()
    plan:node {}
    plan:node {}
    plan:node { virtual = true, after = { { "f", 1 }, { "f", 2 } } }
    run(2)
    assert.equal(gone(1), outcome(3))
  end)

  it("fails where that is all that it takes", function()
    plan:node {}
    plan:node {}
    plan:node { after = { { "f", 1 }, { "s", 2 } } }
    run(2)
    assert.equal(gone(1), outcome(3))
  end)

  for _, kind in ipairs { "c", "i" } do
    it("gets that in place of it over an edge " .. kind, function()
      plan:node {}
      plan:node {}
      plan:node { after = { { kind, 1 }, { "f", 2 } } }
      run(2)
      assert.same({ "-" .. plan:id(1), "S\x02" }, inputs())
    end)
  end

  describe("in a flow that is done again, for it was forgotten", function()
    -- The last of three nodes fails; it takes what the first had, in this way.
    local function run_again(kind, also)
      plan:node {}
      plan:node {}
      plan:node { after = { { kind, 1 }, { also or "s", 2 } } }
      plan:send(s)
      for _, field in ipairs(s:take(A, 2)) do
        s:finish(A, "o", field, "S\1")
      end
      s:finish(A, "o", s:take(A, 1)[1], "F\x80")
      assert.equal(1, s:call("forget", plan:id(1)))
      assert.equal("retried", s:call("flow_retry", plan.producer))
    end

    for also, what in pairs { s = "alone", f = "among others" } do
      it("fails, " .. what, function()
        run_again("f", also)
        assert.same({}, s:fetch(A, 1))
        assert.equal(gone(1), outcome(3))
      end)

      it("gets that in place of it over an edge c, " .. what, function()
        run_again("c", also)
        assert.equal("-" .. plan:id(1), inputs()[1])
      end)
    end
  end)

  it("is told which, where it reads what it takes", function()
    local after = {}
    for i = 1, 130 do
      plan:node {}
      after[i] = { "f", i }
    end
    plan:node { after = after }
    run(130)
    local page = s:call("gather", plan.producer, 131, 1, 1000)
    assert.same({ 130, "-" .. plan:id(1), "S\x01" },
      { page[1], page[2], page[3] })
  end)
end)

-- As a worker tells successes, and as it repeats them.
for how, tell in pairs {
  ["told at once"] = function(s, field, outcome)
    return s:finish(A, "m", "default", 3600, 1, field, outcome)
  end,
  ["told again"] = function(s, field, outcome)
    return s:finish(A, "o", field, outcome)
  end,
} do
  describe("A node that takes large outcomes " .. how, function()
    local LARGE <const> = "S" .. ("x"):rep(600000)
    local MANY <const> = 20
    local s, plan

    -- Of many nodes some end, which is what those after them take.
    before_each(function()
      s = shard.new()
      s:register(A)
      plan = flow_plan.new("flow")
    end)

    -- How many bytes of outcomes a call reads at the most in one command.
    local function watch()
      local most = 0
      s:watch(function(reply, command, key)
        if key and key:find(":v:", 1, true) and command:find("^HM?GET$") then
          local all = type(reply) == "table" and table.concat(reply) or reply
          most = math.max(most, #(all or ""))
        end
      end)
      return function()
        return most
      end
    end

    local function run(kind, outcome)
      local after = {}
      for i = 1, MANY do
        after[i] = { kind, plan:node {} }
      end
      plan:node { after = after }
      assert.equal(0, plan:send(s)[2])
      for k, field in ipairs(s:take(A, MANY)) do
        tell(s, field, outcome(k))
      end
    end

    local function is_far()
      local body = envelope.read(assert(s:fetch(A, 1)[1])).body
      return body:sub(1, 4) == "\xff\xff\xff\xff"
    end

    it("gets none of them with it, and nobody reads them for that", function()
      local most = watch()
      run("f", function()
        return LARGE
      end)
      assert.is_true(is_far())
      assert.equal(0, most())
    end)

    it("gets them in pages, for which few are read", function()
      run("f", function(k)
        return k % 2 == 0 and LARGE or "S\x01"
      end)
      assert.is_true(is_far())
      local most, at, pages = watch(), 1, 0
      while at <= MANY do
        local page = s:call("gather", plan.producer, MANY + 1, at, 1000)
        for k = 2, #page do
          assert.equal(at % 2 == 0 and LARGE or "S\x01", page[k])
          at = at + 1
        end
        pages = pages + 1
        assert.is_true(pages <= MANY)
      end
      assert.equal(MANY // 2, pages)
      assert.equal(#LARGE, most())
    end)

    it("gets small ones with it", function()
      run("f", function(k)
        return "S" .. ("y"):rep(k)
      end)
      assert.is_false(is_far())
    end)

    it("gets no single one with it that it would not, either", function()
      plan:node {}
      plan:node {}
      plan:node { after = { { "f", 1 }, { "s", 2 } } }
      plan:send(s)
      local fields = s:take(A, 2)
      tell(s, fields[1], LARGE)
      local most = watch()
      tell(s, fields[2], "S\x01")
      assert.is_true(is_far())
      assert.equal(0, most())
      local page = s:call("gather", plan.producer, 3, 1, 10)
      assert.same({ 1, LARGE }, page)
    end)
  end)
end

describe("A node that takes many together", function()
  local MANY <const> = 30
  local s, plan

  before_each(function()
    s, plan = shard.serving(A), flow_plan.new("flow", { ranges = true })
  end)

  local function body()
    return envelope.read(assert(s:fetch(A, 1)[1])).body
  end

  local function group(kind)
    local after = {}
    for i = 1, MANY do
      after[i] = { kind, plan:node {} }
    end
    return after
  end

  it("gets none of them when one is gone behind what is too much", function()
    plan:node { after = group("f") }
    plan:send(s)
    local fields, large = s:take(A, MANY), "S" .. ("x"):rep(3900)
    for k = 1, MANY - 1 do
      s:finish(A, "o", fields[k], large)
    end
    local id = plan:id(20)
    s:redis("HDEL", "v:" .. id:sub(1, 19), id:sub(20))
    s:finish(A, "o", fields[MANY], large)
    assert.equal("\xff\xff\xff\xff", body():sub(1, 4))
  end)

  it("gets what they have ended with, not what stood there", function()
    plan:node { after = group("f") }
    plan:send(s)
    local operation, id = { "m", "default", 60, MANY }, plan:id(7)
    for _, field in ipairs(s:take(A, MANY)) do
      table.move({ field, "S\x01" }, 1, 2, #operation + 1, operation)
    end
    s:redis("HSET", "v:" .. id:sub(1, 19), id:sub(20), "Sother")
    s:finish(A, table.unpack(operation))
    assert.equal(string.pack(">I4", MANY)
      .. string.pack(">s4", "S\x01"):rep(MANY), body():sub(1, 4 + 6 * MANY))
    assert.same({ "S\x01" }, s:call("outcome", id))
  end)

  it("reads one cause of failures as often as there is room for it", function()
    plan:node {}
    for _ = 2, 61 do -- the next is of another chunk
      plan:node { virtual = true }
    end
    local after = {}
    for i = 1, MANY do
      after[i] = { "c", plan:node { after = { { "f", 1 } } } }
    end
    plan:node { after = after }
    plan:send(s)
    local cause, reads = "F" .. ("x"):rep(600000), 0
    s:watch(function(reply)
      reads = reads + (reply == cause and 1 or 0)
    end)
    s:finish(A, "o", s:take(A, 1)[1], cause)
    s:work_off()
    reads = 0
    assert.equal("\xff\xff\xff\xff", body():sub(1, 4))
    assert.equal(2, #s:call("gather", plan.producer, 62 + MANY, 1, 1000))
    assert.is_true(reads <= 2)
  end)
end)
