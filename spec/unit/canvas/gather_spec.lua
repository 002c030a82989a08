--- The results of a group that has to be read from Redis.

local canvas_site = require("spec.support.canvas_site")
local gather = require("taskengine.gather")
local spawn = require("taskengine.spawn")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local MEMBERS <const> = 200 -- more than travel with a task
local SOON <const> = 20

describe("The results of a large group", function()
  local site = canvas_site.for_each_spec()
  local add, header

  before_each(function()
    add = site:tasks()
    local list = {}
    for i = 1, MEMBERS do
      list[i] = add:s(i, i)
    end
    header = te.group(list)
  end)

  local function pages_read()
    local count = 0
    for _, call in ipairs(site.transport.calls) do
      count = count + (call.name == "te1_gather" and 1 or 0)
    end
    return count
  end

  local function wait_for_end(flow)
    wait_until(function()
      return flow:info().state == "DONE"
    end, SOON)
  end

  it("are not read to say how it stands", function()
    local group = header()
    wait_for_end(group.flow)
    assert.same({ true, true, false, "SUCCESS" }, { group:ready(),
      group:successful(), group:failed(), group:state() })
    assert.equal(0, pages_read())
    assert.equal(MEMBERS, group:get().n)
    assert.is_true(pages_read() > 0)
  end)

  it("are read once", function()
    local group = header()
    local values = group:get { timeout = SOON }
    local read = pages_read()
    assert.equal(values, group:get())
    assert.equal(read, pages_read())
  end)

  it("are no values when one was forgotten", function()
    local group = header()
    wait_for_end(group.flow)
    assert.is_true(group[3]:forget())
    for _, one in ipairs { group, site.app:result(group.id) } do
      local ok, e = pcall(one.get, one)
      assert.same({ false, "Forgotten", group[3].id }, { ok, e.kind, e.id })
      ok, e = one:wait(SOON)
      assert.same({ false, "Forgotten", group[3].id }, { ok, e.kind, e.id })
    end
    local whole = site.app:result(group.id)
    assert.same({ "SUCCESS", "Forgotten", "Forgotten" }, { whole:state(),
      whole:result().kind, whole:info().error.kind })
  end)

  it("are no values when one was damaged", function()
    local group = header()
    wait_for_end(group.flow)
    local id = group[3].id
    site.shard:redis("HSET", "v:" .. id:sub(1, 19), id:sub(20), "S\xc1")
    local ok, e = group:wait(SOON)
    assert.same({ false, "Malformed" }, { ok, e.kind })
    local whole = site.app:result(group.id)
    assert.same({ "Malformed", "Malformed" }, { whole:result().kind,
      whole:info().error.kind })
  end)

  describe("that a task reads", function()
    local function refuse()
      function site.transport.decide(name)
        return name == "te1_gather" and "refused" or "done"
      end
    end

    it("are an error in it when Redis refuses, and not asked for again",
      function()
        refuse()
        local read = site.app:task("read", { stream = true }, function(parts)
          local ok, e = pcall(parts)
          return { ok, e.kind, e.message }
        end)
        assert.same({ false, "BrokerUnavailable",
          "Redis refused it: its memory is full (maxmemory)" },
          te.chord(header, read:s())():get { timeout = SOON })
        assert.equal(1, pages_read())
      end)

    it("end it when Redis refuses before it begins", function()
      refuse()
      local begun = false
      local r = te.chord(header, site.app:task("read", function()
        begun = true
      end):s())()
      local ok, e = r:wait(SOON)
      assert.same({ false, "BrokerUnavailable" }, { ok, e.kind })
      assert.matches("Redis refused it: its memory is full", e.message)
      assert.same({ 1, false }, { pages_read(), begun })
    end)

    -- What is told of a delay.
    local function hear()
      local told = {}
      stub(gather, "on_delay", function(text)
        told[#told + 1] = text
      end)
      finally(function()
        gather.on_delay:revert()
      end)
      return told
    end

    it("are waited for, and this is told, while Redis is busy", function()
      local told, asked = hear(), 0
      function site.transport.decide(name)
        asked = asked + (name == "te1_gather" and 1 or 0)
        return name == "te1_gather" and asked <= 2 and "busy" or "done"
      end
      local r = te.chord(header, site.app.tasks.sum:s())()
      assert.equal(MEMBERS * (MEMBERS + 1), r:get { timeout = SOON })
      assert.same({ "it waits for results that it needs: Redis refused it:"
        .. " BUSY Redis is busy running a script." }, told)
    end)

    it("are not asked for without a pause while Redis is busy", function()
      local pauses = {}
      stub(spawn, "sleep", function(seconds)
        pauses[#pauses + 1] = seconds
      end)
      finally(function()
        spawn.sleep:revert()
      end)
      function site.transport.decide(name)
        return name == "te1_gather" and #pauses < 5 and "busy" or "done"
      end
      te.chord(header, site.app.tasks.sum:s())():get { timeout = SOON }
      assert.same({ 0.1, 0.2, 0.4, 0.8, 1 }, pauses)
    end)

    it("are waited for, and this is told, while Redis cannot be reached",
      function()
        site.app:close()
        site.app:configure { broker_timeout = 0.02 }
        local told, asked = hear(), 0
        function site.transport.decide(name)
          asked = asked + (name == "te1_gather" and 1 or 0)
          return name == "te1_gather" and asked == 1 and "lost" or "done"
        end
        local r = te.chord(header, site.app.tasks.sum:s())()
        local id = r.id
        wait_until(function()
          return pages_read() >= 4 -- of which the first was lost
        end, SOON)
        site.transport:restore()
        assert.equal(MEMBERS * (MEMBERS + 1),
          site.app:result(id):get { timeout = SOON })
        assert.same({ "it waits for results that it needs: the broker cannot"
          .. " be reached: connection reset" }, told)
      end)
  end)
end)
