local core = require("taskengine.core")
local shard = require("spec.support.shard")
local shard_client = require("spec.support.shard_client")
local te = require("taskengine")

local success = shard_client.success

describe("Who waits at once for what was sent", function()
  local site = shard_client.for_each_spec()

  before_each(function()
    site.transport.asks_ahead = true
  end)

  local function send_and_get(value)
    local r = site:send()
    site:finish_later(1, 1, success(value))
    assert.equal(value, r:get())
  end

  it("asks the first time only", function()
    for i = 1, 5 do
      send_and_get(i)
    end
    assert.equal(1, site:calls("te1_await"))
    assert.equal(5, site:calls("te1_enqueue"))
    assert.equal(0, site.shard:redis("EXISTS", "y", shard.PREFIX .. "yt"))
  end)

  it("asks again for what it did not wait for at once", function()
    send_and_get(1)
    local old = site:send()
    local new = site:send()
    site:finish(1, success(2))
    site:finish(1, success(3))
    assert.equal(3, new:get())
    assert.equal(2, old:get())
    -- Nobody waited for the one before this at once.
    local count = site:calls("te1_await")
    site:send()
    site:finish_later(1, 1, success(4))
    local r = site:send()
    assert.equal(count, site:calls("te1_await"))
    site:finish_later(1, 1, success(5))
    assert.equal(5, r:get())
    assert.equal(count + 1, site:calls("te1_await"))
  end)

  it("gets an outcome that came before it waited", function()
    send_and_get(1)
    local slow = te.spawn(function()
      return site:send():get()
    end)
    te.sleep(0)
    local r = site:send()
    local stays = site:take(1)[1] -- the slow one's
    site:finish(1, success(3))
    site.transport:deliver()
    assert.equal(3, r:get())
    site:end_one(stays, success(2))
    site.transport:deliver()
    assert.equal(2, slow:get())
  end)

  describe("gets an outcome that is there with the answer to its enqueue,",
    function()
      -- It comes ahead of the answer or right behind it, and nobody knows the
      -- id before the loop has turned.
      local function bring(value, is_ahead)
        local fcall = site.transport.fcall
        function site.transport:fcall(name, args, callback)
          fcall(self, name, args, name ~= "te1_enqueue" and callback
            or function(...)
              if not is_ahead then
                callback(...)
              end
              site:finish(1, success(value))
              for _, item in ipairs(site.shard:heard(self:inbox())) do
                self.on_item(item)
              end
              if is_ahead then
                callback(...)
              end
            end)
        end
      end

      for name, is_ahead in pairs { before = true, behind = false } do
        it(name .. " that", function()
          site.way.waits.silence.min_ms = 60000
          send_and_get(1)
          bring(2, is_ahead)
          assert.equal(2, site:send():get { timeout = 10 })
          assert.equal(1, site:calls("te1_await"))
          site:assert_no_waits()
        end)

        it(name .. " that, one of several", function()
          site.way.waits.silence.min_ms = 60000
          send_and_get(1)
          bring(2, is_ahead)
          local all = {}
          for i = 1, 3 do
            all[i] = te.spawn(function()
              return site:send():get { timeout = 10 }
            end)
          end
          local values = {}
          site:finish_later(5, 2, success(2))
          for i, one in ipairs(all) do
            values[i] = one:get()
          end
          assert.same({ 2, 2, 2 }, values)
        end)
      end
    end)

  it("keeps no outcome of a task that it did not come to know", function()
    send_and_get(1)
    function site.transport.decide()
      return "refused"
    end
    assert.is_false((pcall(site.send, site)))
    assert.equal(0, site.way.waits.ahead.count)
    site.way.waits:on_item(("x"):rep(20) .. success(2))
    assert.same({}, site.way.waits.ahead.early)
  end)

  it("asks when it is not certain that Redis was told", function()
    send_and_get(1)
    local count = site:calls("te1_await")
    local lost = false
    function site.transport.decide(name)
      if name == "te1_enqueue" and not lost then
        lost = true
        core.loop.timer(1, function()
          site.transport:restore()
        end)
        return "answer lost"
      end
      return "done"
    end
    local r = site:send()
    assert.is_true(lost)
    site:finish_later(1, 1, success(2))
    assert.equal(2, r:get())
    assert.equal(count + 1, site:calls("te1_await"))
  end)

  it("is told nothing ahead of what leaves no result", function()
    send_and_get(1)
    site:send(1, { ignore_result = true })
    assert.equal(0, site.shard:redis("EXISTS", "y"))
  end)

  it("tells Redis of the very task when that gets another number", function()
    send_and_get(1)
    -- As if Redis had forgotten the producer.
    for _, key in ipairs(site.shard:keys()) do
      if key:sub(1, 2) == "i:" then
        site.shard:redis("DEL", key)
      end
    end
    local r = site:send()
    assert.same({ r.id }, site.shard:redis("HKEYS", "y"))
    site:finish_later(1, 1, success(2))
    assert.equal(2, r:get())
  end)
end)
