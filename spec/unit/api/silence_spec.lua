local loop = require("taskengine.core").loop
local silence = require("taskengine.silence")
local wait_until = require("spec.support.wait").wait_until

describe("A silence", function()
  local watch, looks, goes_on

  before_each(function()
    looks, goes_on = {}, true
    watch = silence.new(4, 16, function()
      looks[#looks + 1] = loop.now()
      return goes_on
    end)
  end)

  after_each(function()
    watch:stop()
  end)

  local function looked(n)
    return function()
      return #looks >= n
    end
  end

  it("is looked into, the more rarely the longer it lasts", function()
    watch:watch()
    wait_until(looked(5))
    for i, least_ms in ipairs { 8, 16, 16, 16 } do
      assert.is_true(looks[i + 1] - looks[i] >= least_ms)
    end
  end)

  it("ends with what is heard, and begins again", function()
    watch:watch()
    wait_until(looked(3)) -- the next would be 16 ms later
    watch:heard()
    wait_until(looked(4))
    assert.is_true(looks[4] - looks[3] >= 20)
    wait_until(looked(5))
    assert.is_true(looks[5] - looks[4] >= 8)
  end)

  it("is looked into as long as that is wanted", function()
    goes_on = false
    watch:watch()
    watch:watch()
    wait_until(looked(1))
    assert.is_nil(watch.timer)
    watch:watch()
    wait_until(looked(2))
    assert.equal(2, #looks)
  end)

  it("is nothing after a stop", function()
    watch:watch()
    watch:stop()
    watch:stop()
    local is_over
    loop.timer(20, function()
      is_over = true
    end)
    wait_until(function()
      return is_over
    end)
    assert.same({}, looks)
  end)
end)
