local core = require("taskengine.core")
local idle_loop = require("spec.support.idle_loop")
local seed = require("spec.support.seed")

local loop = core.loop

describe("taskengine.core.loop.timer", function()
  idle_loop.for_each_spec()

  it("goes off once, never early", function()
    local started, calls = loop.now(), 0
    local took
    loop.timer(20, function()
      took = loop.now() - started
      calls = calls + 1
    end)
    assert.is_true(loop.alive())
    assert.is_false(loop.run())
    assert.equal(1, calls)
    assert.is_true(took >= 20, took)
  end)

  it("counts from when it was made, not from the turn's begin", function()
    local made, took
    loop.defer(function()
      local busy_until = loop.now() + 30
      repeat until loop.now() >= busy_until
      made = loop.now()
      loop.timer(20, function()
        took = loop.now() - made
      end)
    end)
    loop.run()
    assert.is_true(took >= 20, took)
  end)

  it("takes fractions of a millisecond", function()
    local calls = 0
    loop.timer(0.25, function()
      calls = calls + 1
    end)
    loop.run()
    assert.equal(1, calls)
  end)

  it("is stopped by close, also when it is the next or ran", function()
    local ran = {}
    local function timer(ms, name)
      return loop.timer(ms, function()
        ran[#ran + 1] = name
      end)
    end
    local first, second = timer(1, "first"), timer(2, "second")
    local third = timer(3, "third")
    local far = timer(1e9, "far")
    first:close()
    first:close()
    third:close()
    far:close()
    loop.run()
    second:close()
    assert.same({ "second" }, ran)
  end)

  it("is closed at the end of a block", function()
    do
      local _ <close> = loop.timer(1e9, error)
      assert.is_true(loop.alive())
    end
    assert.is_false(loop.alive())
  end)

  it("repeats until it is closed, by itself too", function()
    local calls = 0
    local timer
    timer = loop.timer(0, function()
      calls = calls + 1
      if calls == 3 then
        timer:close()
      end
    end, 1)
    loop.run()
    assert.equal(3, calls)
  end)

  it("does not make up for repetitions that it missed", function()
    local calls = 0
    local busy = true
    local timer <close> = loop.timer(0, function()
      calls = calls + 1
      if busy then
        busy = false
        local busy_until = loop.now() + 30
        repeat until loop.now() >= busy_until
      else
        loop.stop()
      end
    end, 5)
    loop.run()
    assert.equal(2, calls)
    timer:close()
  end)

  it("may close another that is due in the same turn", function()
    local ran = {}
    local other
    loop.timer(0, function()
      ran[#ran + 1] = "one"
      other:close()
    end)
    other = loop.timer(0, function()
      ran[#ran + 1] = "other"
    end)
    loop.run()
    assert.same({ "one" }, ran)
  end)

  it("stays although nobody keeps its handle", function()
    local calls = 0
    for _ = 1, 100 do
      loop.timer(1, function()
        calls = calls + 1
      end)
    end
    collectgarbage()
    collectgarbage()
    loop.run()
    assert.equal(100, calls)
  end)

  it("lets go of its function when it is done", function()
    local kept = setmetatable({}, { __mode = "k" })
    local function watched()
      local fn = function()
        return kept
      end
      kept[fn] = true
      return fn
    end
    loop.timer(0, watched())
    loop.timer(1e9, watched()):close()
    loop.run()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(kept))
  end)

  it("goes off in the order of the due times", function()
    seed.begin()
    local timers, got = {}, {}
    for i = 1, 500 do
      local ms = math.random(0, 5) * 4
      local earliest = loop.now() + ms
      local handle = loop.timer(ms, function()
        got[#got + 1] = timers[i]
      end)
      -- Making it may have taken long; due it is between these two.
      timers[i] = { i = i, ms = ms, handle = handle,
        earliest = earliest, latest = loop.now() + ms + 1 }
    end
    for _ = 1, 200 do
      local timer = timers[math.random(500)]
      timer.handle:close()
      timer.is_closed = true
    end
    local left = 0
    for _, timer in ipairs(timers) do
      left = left + (timer.is_closed and 0 or 1)
    end
    loop.run()
    assert.equal(left, #got)
    for at, timer in ipairs(got) do
      assert.is_nil(timer.is_closed)
      local before = got[at - 1] or timer
      assert.is_true(before.earliest <= timer.latest)
      assert.is_true(before.ms ~= timer.ms or before.i <= timer.i)
    end
  end)

  it("refuses what is no delay and no function", function()
    for _, delay in ipairs { -1, 0 / 0, 1 / 0, -1 / 0 } do
      assert.error_matches(function()
        loop.timer(delay, print)
      end, "bad argument #1 to 'timer' %(not a delay%)")
    end
    assert.error_matches(function()
      loop.timer("soon", print)
    end, "number expected")
    assert.error_matches(function()
      loop.timer(1, nil)
    end, "function expected")
    assert.error_matches(function()
      loop.timer(1, print, 0)
    end, "not above 0")
  end)
end)
