--- A canvas arrives once, whatever happens on the way.

local canvas_site = require("spec.support.canvas_site")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local SOON <const> = { timeout = 10 }

describe("A canvas on its way", function()
  local site = canvas_site.for_each_spec()
  local add, sum, note

  before_each(function()
    local _
    add, sum, _, note = site:tasks()
  end)

  -- Members that take several portions.
  local function large_group()
    local list = {}
    for i = 1, 9000 do
      list[i] = add:s(i, 0)
    end
    return te.group(list)
  end

  local function count_calls(name)
    local count = 0
    for _, call in ipairs(site.transport.calls) do
      count = count + (call.name == name and 1 or 0)
    end
    return count
  end

  -- Breaks the connection at each of the first calls of te1_flow.
  local function break_at(verdicts)
    site.transport:break_at("te1_flow", verdicts)
  end

  it("is one call when it is small", function()
    assert.equal(12, (te.group { add:s(1, 1), add:s(5, 5) } | sum:s())()
      :get(SOON))
    assert.equal(1, count_calls("te1_flow"))
  end)

  it("asks for its result with the last call, when it is asked at once",
    function()
      site.transport.asks_ahead = true
      for i = 1, 3 do
        assert.equal(i + 2, (add:s(i, 1) | add:s(1))():get(SOON))
      end
      assert.equal(1, count_calls("te1_await"))
    end)

  it("is repeated when the connection breaks, and runs once", function()
    break_at { "answer lost", "lost", "answer lost" }
    local r = (te.group { add:s(1, 1), add:s(5, 5) } | note:s())()
    r:get(SOON)
    assert.equal(4, count_calls("te1_flow"))
    assert.equal(1, #site.noted)
    assert.equal(2, site:count("add"))
  end)

  it("is whole when the connection breaks between portions", function()
    break_at { "lost", "answer lost", "done", "answer lost" }
    local group = (large_group() | sum:s())()
    assert.equal(40504500, group:get { timeout = 60 })
    assert.equal(9000, site:count("add"))
    assert.equal(1, site:count("sum"))
  end)

  it("runs nothing of what was not sealed", function()
    local calls = 0
    function site.transport.decide(name)
      calls = calls + (name == "te1_flow" and 1 or 0)
      return calls == 2 and "refused" or "done"
    end
    local ok, e = pcall(large_group())
    assert.is_false(ok)
    assert.same({ "BrokerUnavailable", false,
      "Redis refused it: its memory is full (maxmemory)" },
      { e.kind, e.indeterminate, e.message })
    site:work()
    assert.equal(0, #site.begun)
  end)

  it("can be sent again when nobody knows whether it arrived", function()
    site.app:close()
    site.app:configure { broker_timeout = 0.05 }
    local job = te.group { add:s(1, 1), add:s(5, 5) } | note:s()
    local is_sent = false
    function site.transport.decide(name)
      if name == "te1_flow" and not is_sent then
        is_sent = true
        return "answer lost"
      end
      return "done"
    end
    local ok, e = pcall(job)
    assert.is_false(ok)
    assert.same({ "BrokerUnavailable", true }, { e.kind, e.indeterminate })
    site.transport:restore()
    local r = job:apply_async(nil, { task_id = e.id })
    assert.equal(e.id, r.id)
    assert.equal(1, r:get(SOON))
    assert.equal(1, #site.noted)
    assert.equal(2, site:count("add"))
  end)

  it("takes no id of the caller's own", function()
    assert.error_matches(function()
      te.group { add:s(1, 1) }:apply_async(nil, { task_id = "mine" })
    end, "task_id: a canvas is many tasks, as is a task with link or"
      .. " link_error, and none can have an id of the caller's own", 1, true)
    assert.error_matches(function()
      site.app:send_task("add", { 1 }, { link = add:s(1), task_id = "mine" })
    end, "^task_id: a canvas is many tasks")
    assert.equal("mine", add:s(1, 1):apply_async(nil, { task_id = "mine" }).id)
  end)

  it("refuses arguments that cannot travel, and names them", function()
    local ok, e = pcall(te.chain(add:s(1, 1), add:s(print)))
    assert.is_false(ok)
    assert.same({ "CannotTravel", "add", "args[1]: a function cannot be sent" },
      { e.kind, e.name, e.message })
    site.app:close()
    site.app:configure { message_bytes_max = 1000 }
    ok, e = pcall(te.chain(add:s(1, 1), add:s(("x"):rep(1001))))
    assert.is_false(ok)
    assert.equal("TooLarge", e.kind)
  end)

  it("says when what it asks for is gone", function()
    local r = te.group { add:s(1, 1), add:s(2, 2) }()
    r:get(SOON)
    wait_until(function()
      return r.flow:info().left == 0
    end)
    site.shard:advance(8 * 86400 * 1000)
    local ok, e = pcall(r.completed_count, r)
    assert.same({ false, "Forgotten" }, { ok, e.kind })
  end)

  it("waits in Redis for what is due later", function()
    local r = (add:s(1, 1):set { countdown = 0.5 } | add:s(1)
      :set { countdown = 5 })()
    site:work()
    assert.equal(0, #site.begun)
    site.shard:advance(600)
    wait_until(function()
      return #site.begun == 1
    end)
    site:work()
    assert.equal(1, #site.begun)
    site.shard:advance(5100)
    assert.equal(3, r:get(SOON))
  end)

  it("does not begin what has expired", function()
    local r = (add:s(1, 1) | add:s(1):set { expires = 1, countdown = 5 })()
    wait_until(function()
      return #site.begun == 1
    end)
    site.shard:advance(6000)
    local ok, e = r:wait(10)
    assert.same({ false, "Expired" }, { ok, e.kind })
  end)
end)
