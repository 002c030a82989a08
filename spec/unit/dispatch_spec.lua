local core = require("taskengine.core")
local envelope = require("spec.support.envelope")

local claims, dispatch = core.testing.claims, core.testing.dispatch

local CLAIMS <const> = claims.MAX
local AHEAD_US <const> = 3000

local function id(n)
  return envelope.id("AbcdefGHI012", n)
end

local function field(n)
  return envelope.field(id(n), 1)
end

describe("dispatch", function()
  local master, child, d, added

  before_each(function()
    master = assert(claims.create(nil))
    child = assert(master:attach())
    added = 0
  end)

  after_each(function()
    child:close()
    master:close()
  end)

  -- All of its children are ready.
  local function make(processes, concurrency, seats)
    d = dispatch.new(master, processes, concurrency, seats or processes)
    for index = 0, processes - 1 do
      d:set_ready(index)
    end
    return d
  end

  local function add(count, name)
    for _ = 1, count do
      added = added + 1
      d:add(envelope.new { id = id(added), name = name })
    end
  end

  -- Offers as many as there is room for: to which children.
  local function offer_all(now_ms)
    local children, tokens = {}, {}
    local function offer()
      return d:offer(now_ms)
    end
    for to, _, token in offer do
      children[#children + 1] = to
      tokens[#tokens + 1] = token
    end
    return children, tokens
  end

  it("gives each task to the child that has the least to do", function()
    make(3, 2)
    assert.equal(6, d:room())
    add(4)
    assert.equal(2, d:room())
    local children, tokens = offer_all()
    assert.same({ 0, 1, 2, 0 }, children)
    d:finish(1, tokens[2])
    add(2)
    assert.same({ 1, 1 }, (offer_all()))
  end)

  -- A task of this name has run for so long, at a time before all others.
  local function run(run_us, name)
    add(1, name)
    local children, tokens = offer_all(1)
    d:finish(children[1], tokens[1], 1, run_us)
  end

  describe("of a kind that is very short", function()
    before_each(function()
      make(2, 1)
      run(60)
    end)

    it("keeps tasks together", function()
      add(7)
      assert.same({ 0, 0, 0, 1, 1, 1, 0 }, (offer_all(5)))
    end)

    it("does not put one behind what began before", function()
      add(1)
      offer_all(5)
      add(2)
      assert.same({ 1, 1 }, (offer_all(6)))
    end)

    it("does put one behind others when one of those has just ended", function()
      add(2)
      local _, tokens = offer_all(5)
      d:finish(0, tokens[1], 6)
      add(2)
      assert.same({ 0, 0 }, (offer_all(6)))
    end)

    it("counts those of other kinds by what they take", function()
      run(120, "other")
      add(1)
      add(1, "other")
      add(1)
      assert.same({ 0, 0, 1 }, (offer_all(5)))
    end)

    it("does not put one behind a long one, wherever that stands", function()
      run(5000, "long")
      add(1, "long")
      add(4)
      local children, tokens = offer_all(5)
      assert.same({ 0, 1, 1, 1, 0 }, children)
      for k = 2, 4 do
        d:finish(1, tokens[k], 5)
      end
      add(1)
      assert.same({ 1 }, (offer_all(5)))
    end)

    it("does not count one that waits for others", function()
      run(150, "other")
      add(2, "other")
      local children, tokens = offer_all(5)
      assert.same({ 0, 1 }, children)
      d:wait(0, tokens[1])
      add(2)
      assert.same({ 0, 0 }, (offer_all(5)))
    end)

    it("spreads tasks once one was longer", function()
      run(101)
      add(2)
      assert.same({ 0, 1 }, (offer_all(5)))
    end)

    it("keeps them together again when it was the only one", function()
      run(101)
      for _ = 1, 20 do
        run(60)
      end
      add(2)
      assert.same({ 0, 0 }, (offer_all(5)))
    end)

    it("finds brief what one child has to do, if it is not much", function()
      assert.is_false(d:is_brief())
      add(3)
      local _, tokens = offer_all(5)
      assert.is_true(d:is_brief())
      add(1)
      assert.same({ 1 }, (offer_all(5)))
      assert.is_false(d:is_brief()) -- the other one has some, too
      for k = 1, 3 do
        d:finish(0, tokens[k], 6)
      end
      assert.is_true(d:is_brief())
    end)

    it("finds nothing brief of a kind that is not known", function()
      add(1, "other")
      offer_all(5)
      assert.is_false(d:is_brief())
    end)

    it("does not count one that waits as something to do", function()
      run(60, "other")
      add(1, "other")
      local _, tokens = offer_all(5)
      assert.is_true(d:is_brief())
      d:wait(0, tokens[1])
      assert.is_false(d:is_brief())
    end)

    it("finds it uneven when longer ones wait beside an idle child", function()
      add(3)
      local _, tokens = offer_all(5)
      assert.is_false(d:is_uneven(0, 200))
      assert.is_true(d:is_uneven(0, 201))
      d:finish(0, tokens[1], 6)
      d:finish(0, tokens[2], 6)
      assert.is_false(d:is_uneven(0, 201)) -- the last one is running
      add(4)
      assert.same({ 1, 1, 1, 0 }, (offer_all(7)))
      assert.is_false(d:is_uneven(0, 201)) -- the other one has some, too
    end)

    it("does not find it uneven when nobody else may get tasks", function()
      d:set_ready(1, 0)
      add(3)
      offer_all(5)
      assert.is_false(d:is_uneven(0, 201))
    end)
  end)

  it("spreads tasks of a kind that is not known", function()
    make(2, 1)
    run(60)
    add(2, "other")
    assert.same({ 0, 1 }, (offer_all(5)))
  end)

  it("passes over children that may get none, or no more", function()
    d = dispatch.new(master, 3, 2, 3)
    add(4)
    assert.same({}, (offer_all()))
    d:set_ready(1)
    d:set_ready(2, 0)
    assert.same({ 1, 1 }, (offer_all()))
    d:set_ready(2, 1)
    assert.same({ 2, 2 }, (offer_all()))
  end)

  it("takes no more than the children hold, less what is held", function()
    make(2, 3)
    assert.equal(6, d:room())
    add(8)
    assert.equal(0, d:room())
    assert.equal(6, #offer_all())
    assert.equal(0, d:room())
  end)

  it("offers some milliseconds of short tasks behind the slots", function()
    make(1, 1)
    assert.equal(1, d:room())
    assert.equal(1000, d:learn(1000))
    assert.equal(1 + AHEAD_US // 1000, d:room())
    assert.equal(1000 + (9000 - 1000) / 8, d:learn(9000))
    assert.equal(1 + AHEAD_US // 2000, d:room())
  end)

  it("lets a single long task among short ones count little", function()
    make(1, 1)
    d:learn(10)
    local mean = 10 + (16 * 10 - 10) / 8
    assert.equal(mean, d:learn(9999))
    assert.equal(mean + (16 * mean - mean) / 8, d:learn(9999))
  end)

  it("lets a slow task count at once", function()
    make(1, 1)
    d:learn(10)
    assert.equal(10 + (10000 - 10) / 8, d:learn(10000))
  end)

  it("counts a task that took no time at all as a microsecond", function()
    make(1, 1)
    assert.equal(1, d:learn(0))
  end)

  it("shares the slots while there are more children than usual", function()
    make(2, 2, 4)
    add(3)
    assert.same({ 0, 1, 0 }, (offer_all()))
    d:set_ready(2)
    d:set_ready(3)
    assert.equal(5, d:room())
    d:set_crowded(true)
    assert.equal(1, d:room())
    add(2)
    assert.same({ 2 }, (offer_all()))
  end)

  it("takes the slots of tasks that wait for others for free", function()
    make(1, 1)
    add(1)
    local _, tokens = offer_all()
    assert.equal(0, d:room())
    d:wait(0, tokens[1])
    assert.equal(1, d:room())
  end)

  it("takes no more than there are claims", function()
    make(2, CLAIMS)
    assert.equal(CLAIMS, d:room())
    for n = 1, CLAIMS - 1 do
      master:offer(field(n))
    end
    assert.equal(1, d:room())
    add(2)
    assert.equal(1, #offer_all())
    assert.equal(0, d:room())
  end)

  it("takes back what was not begun, and keeps the order", function()
    make(1, 4)
    add(6)
    local _, tokens = offer_all()
    assert.is_true(child:take(tokens[2]))
    assert.same({ field(1), field(3), field(4), field(5), field(6) },
      d:withdraw(0))
    local to, first = d:offer()
    assert.same({ 0, field(1) }, { to, first })
  end)

  it("says which children may keep tasks waiting", function()
    make(1, 1)
    d:learn(1000)
    add(1)
    local _, tokens = offer_all()
    assert.is_false(d:may_stall(0))
    add(1)
    offer_all()
    assert.is_true(d:may_stall(0))
    d:wait(0, tokens[1])
    assert.is_false(d:may_stall(0))
    child:take(tokens[1])
    child:execute(0, tokens[1])
    assert.is_true(d:may_stall(0))
  end)
end)
