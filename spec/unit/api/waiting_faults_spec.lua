--- How outcomes come to those who wait, whatever happens on the way.

local core = require("taskengine.core")
local shard = require("spec.support.shard")
local shard_client = require("spec.support.shard_client")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local success = shard_client.success

describe("waiting for results", function()
  local site = shard_client.for_each_spec()

  describe("when the connection breaks", function()
    it("asks again, and misses nothing that was on its way", function()
      local r = site:send()
      site:later(2, function()
        site.transport:cut()
        site:finish(1, success(7))
        site.shard:heard(site.transport:inbox()) -- what was popped is lost
        core.loop.timer(2, function()
          site.transport:restore()
        end)
      end)
      assert.equal(7, r:get())
      site:assert_no_waits()
    end)

    it("asks again for what it was just asking for", function()
      local r = site:send()
      local faults = { "answer lost", "lost" }
      site.transport:break_at("te1_await", faults)
      site:finish_later(10, 1, success(7))
      assert.equal(7, r:get())
      assert.equal(0, #faults)
    end)

    it("asks for fewer, as they may be too large together", function()
      local all, outages = {}, 0
      for i, r in ipairs { site:send(40) } do
        all[i] = te.spawn(r.get, r)
      end
      site:finish(40, success(("x"):rep(1000)))
      function site.transport.decide(name, args)
        if name ~= "te1_await" or #args <= 11 then
          return "done"
        end
        outages = outages + 1
        site:later(1, site.transport.restore, site.transport)
        return "answer lost"
      end
      for _, one in ipairs(all) do
        assert.equal(1000, #one:get())
      end
      assert.is_true(outages < 10)
      site:assert_no_waits()
    end)

    it("outlasts it, but does not begin in it", function()
      site.way.timeout_ms = 20
      local r, other = site:send(2)
      local one = te.spawn(r.get, r)
      site:wait_for_calls("te1_await", 1)
      site.transport:cut()
      for _ = 1, 2 do -- which takes longer than one who begins would wait
        local _, e = pcall(other.get, other)
        assert.equal("BrokerUnavailable", e.kind)
      end
      site.transport:restore()
      site:finish_later(1, 2, success(7))
      assert.equal(7, one:get())
    end)

    it("ends when trying again is hopeless", function()
      local r = site:send()
      site:later(2, site.transport.cut, site.transport, true)
      local _, e = pcall(r.get, r)
      assert.same({ "BrokerUnavailable", "connection reset" },
        { e.kind, e.message })
    end)
  end)

  describe("after a silence", function()
    before_each(function()
      site.way.waits.silence.min_ms = 5
    end)

    local function wait_for_silence()
      wait_until(function()
        return site:calls("te1_look") > 0
      end)
    end

    it("ends for an outcome that has expired", function()
      local r = site:send()
      site:finish(1, success(7))
      site.shard:advance(61000)
      local _, e = pcall(r.get, r)
      assert.equal("Forgotten", e.kind)
      site:assert_no_waits()
    end)

    it("ends when all was deleted", function()
      local r = site:send()
      site:later(2, function()
        site.shard:redis("DEL", "i:" .. r.id:sub(1, 12),
          shard.PREFIX .. "r:default", shard.PREFIX .. "y",
          shard.PREFIX .. "yt")
      end)
      local _, e = pcall(r.get, r)
      assert.equal("Forgotten", e.kind)
      site:assert_no_waits()
    end)

    it("brings what never came to the inbox", function()
      local r = site:send()
      local one = te.spawn(r.get, r)
      site:wait_for_calls("te1_await", 1)
      site:finish(1, success(7))
      site.shard:redis("DEL", site.transport:inbox())
      assert.equal(7, one:get())
      site:assert_no_waits()
    end)

    it("goes on for tasks that wait or run", function()
      local r, other = site:send(2)
      local both = { te.spawn(r.get, r), te.spawn(other.get, other) }
      local field = site:take(1)[1]
      wait_for_silence()
      site:end_one(field, success(7))
      site.transport:deliver()
      assert.equal(7, both[1]:get())
      site:finish_later(1, 1, success(8))
      assert.equal(8, both[2]:get())
      site:assert_no_waits()
    end)

    it("outlasts that Redis cannot answer", function()
      local r = site:send()
      local one = te.spawn(r.get, r)
      function site.transport.decide(name)
        return name == "te1_look" and "refused" or "done"
      end
      wait_for_silence()
      function site.transport.decide()
        return "done"
      end
      site:finish_later(1, 1, success(7))
      assert.equal(7, one:get())
    end)

    it("brings what is too large for an answer", function()
      local r = site:send()
      local one = te.spawn(r.get, r)
      site:wait_for_calls("te1_await", 1)
      site:finish(1, success(("x"):rep(70000)))
      site.shard:redis("DEL", site.transport:inbox())
      assert.equal(70000, #one:get())
      site:assert_no_waits()
    end)

    it("asks about few at a time, about all in the end", function()
      local list, asked, most = { site:send(600) }, {}, 0
      local all = {}
      for i, r in ipairs(list) do
        all[i] = te.spawn(r.get, r)
      end
      function site.transport.decide(name, args)
        if name == "te1_look" then
          most = math.max(most, #args)
          for _, id in ipairs(args) do
            asked[id] = (asked[id] or 0) + 1
          end
        end
        return "done"
      end
      site:wait_for_calls("te1_look", 3)
      assert.equal(250, most)
      for _, r in ipairs(list) do
        assert.equal(1, asked[r.id])
      end
      site:finish_later(1, 600, success(7))
      for _, one in ipairs(all) do
        assert.equal(7, one:get())
      end
    end)

    it("asks on when it found what had ended", function()
      local list, all = { site:send(600) }, {}
      for i, r in ipairs(list) do
        all[i] = te.spawn(r.get, r)
      end
      site:finish(600, success(7))
      site.shard:advance(61000)
      for _, one in ipairs(all) do
        assert.is_false((one:wait()))
      end
      assert.is_true(site:calls("te1_look") >= 3)
      site:assert_no_waits()
    end)

    it("is looked for while somebody waits", function()
      local r = site:send()
      site:finish_later(1, 1, success(7))
      r:get()
      wait_until(function()
        return site.way.waits.silence.timer == nil
      end)
      assert.equal(0, site:calls("te1_look"))
    end)
  end)
end)
