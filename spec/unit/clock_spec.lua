local testing = require("taskengine.core").testing

describe("clock", function()
  after_each(function()
    testing.clock_set_fake(nil)
  end)

  it("never steps back", function()
    local _, last = testing.clock()
    for _ = 1, 1000 do
      local _, now = testing.clock()
      assert.is_true(now >= last)
      last = now
    end
  end)

  it("counts the same time in milliseconds and microseconds", function()
    local ms, us = testing.clock()
    assert.is_true(us // 1000 - ms >= 0 and us // 1000 - ms < 1000)
  end)

  it("tells the time of day", function()
    local before = os.time()
    local _, _, wall_ms = testing.clock()
    assert.is_true(wall_ms >= before * 1000)
    -- os.time reads a clock that is some milliseconds behind.
    assert.is_true(wall_ms < (os.time() + 2) * 1000)
  end)

  it("stands where a spec puts it, until it is let go", function()
    local real = testing.clock()
    testing.clock_set_fake { us = 1500, wall_ms = -7 }
    assert.same({ 1, 1500, -7 }, { testing.clock() })
    testing.clock_set_fake(nil)
    assert.is_true(testing.clock() >= real)
  end)
end)
