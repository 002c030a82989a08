local testing = require("taskengine.core").testing.redis

local MOST_CHANCE <const> = 0xffffffff

describe("pace", function()
  it("makes the first attempt at once", function()
    assert.equal(0, testing.backoff_ms(0, MOST_CHANCE))
  end)

  it("pauses for up to 50 ms, doubling to 5 s", function()
    local most = {}
    for failures = 1, 9 do
      most[failures] = testing.backoff_ms(failures, MOST_CHANCE)
    end
    assert.same({ 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000 }, most)
    assert.equal(5000, testing.backoff_ms(1000000, MOST_CHANCE))
  end)

  it("leaves the pause to chance, but does not spin", function()
    assert.equal(2500, testing.backoff_ms(20, MOST_CHANCE // 2 + 1))
    for failures = 1, 20 do
      assert.equal(5, testing.backoff_ms(failures, 0))
    end
  end)

  it("pauses for at most half of the time that a server was away", function()
    local most = {}
    for i, away_ms in ipairs { 0, 99, 200, 2000, 4000, 9000, 90000 } do
      most[i] = testing.reconnect_ms(20, away_ms, 0, MOST_CHANCE)
    end
    assert.same({ 50, 50, 100, 1000, 2000, 4500, 5000 }, most)
    assert.equal(0, testing.reconnect_ms(0, 9000, 0, MOST_CHANCE))
    assert.equal(400, testing.reconnect_ms(4, 9000, 0, MOST_CHANCE))
    assert.equal(5, testing.reconnect_ms(20, 9000, 0, 0))
  end)

  it("pauses for no longer than it is told, and leaves that to chance, too",
    function()
      assert.equal(333, testing.reconnect_ms(20, 90000, 333, MOST_CHANCE))
      assert.equal(200, testing.reconnect_ms(3, 90000, 333, MOST_CHANCE))
      assert.equal(166,
        testing.reconnect_ms(20, 90000, 333, MOST_CHANCE // 2 + 1))
      assert.equal(5, testing.reconnect_ms(20, 90000, 1, MOST_CHANCE))
      assert.equal(0, testing.reconnect_ms(0, 90000, 333, MOST_CHANCE))
    end)

  it("asks a silent server within 5 s, and has its answer within 15", function()
    assert.same({ 5000, 5000 }, { testing.ping_ms(5000) })
    for _, timeout_ms in ipairs { 1, 50, 5000, 60000, 3600000 } do
      local ping_ms, pong_ms = testing.ping_ms(timeout_ms)
      assert.is_true(ping_ms <= 5000 and ping_ms + pong_ms <= 15000)
    end
  end)
end)
