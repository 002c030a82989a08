local core = require("taskengine.core")
local idle_loop = require("spec.support.idle_loop")

local testing, loop = core.testing, core.loop
local MAX_US <const> = testing.spin.MAX_US

describe("spin", function()
  local spin, now_us

  local function set_clock(us)
    now_us = us
    testing.clock_set_fake { us = us }
  end

  local function make(cores)
    spin = testing.spin.new(cores)
  end

  before_each(function()
    set_clock(1000000)
    make(2)
  end)

  after_each(function()
    spin:close()
    testing.clock_set_fake(nil)
    idle_loop.check()
  end)

  -- A question is answered so much later. Returns whether it was waited for
  -- awake.
  local function ask(us)
    spin:start()
    local is_awake = spin:is_awake()
    set_clock(now_us + us)
    spin:stop()
    assert.is_false(spin:is_awake())
    return is_awake
  end

  it("keeps the loop awake until the answer is there", function()
    spin:start()
    for _ = 1, 3 do
      assert.is_true(loop.run("once"))
      assert.is_true(spin:is_awake())
    end
    spin:stop()
    assert.is_false(spin:is_awake())
    assert.is_false(loop.alive())
  end)

  it("gives up after some hundred microseconds", function()
    spin:start()
    set_clock(now_us + MAX_US - 1)
    loop.run("once")
    assert.is_true(spin:is_awake())
    set_clock(now_us + 1)
    loop.run("once")
    assert.is_false(spin:is_awake())
  end)

  it("does not begin again with a question beside the first", function()
    spin:start()
    set_clock(now_us + MAX_US - 1)
    spin:start()
    set_clock(now_us + 1)
    loop.run("once")
    assert.is_false(spin:is_awake())
  end)

  it("does nothing without a question", function()
    spin:stop()
    assert.is_true(ask(1))
  end)

  it("sleeps where there is one core", function()
    spin:close()
    make(1)
    assert.is_false(ask(1))
    assert.is_false(ask(1))
  end)

  it("sleeps where answers take long, until they do not", function()
    assert.is_true(ask(MAX_US))
    assert.is_false(ask(10))
    assert.is_true(ask(10))
  end)

  it("learns nothing of a question that was dropped", function()
    spin:start()
    set_clock(now_us + 10 * MAX_US)
    spin:drop()
    assert.is_false(spin:is_awake())
    assert.is_true(ask(10))
  end)

  it("forgives one that took very long", function()
    for _ = 1, 20 do
      assert.is_true(ask(100))
    end
    assert.is_true(ask(10000000))
    assert.is_true(ask(100))
  end)
end)
