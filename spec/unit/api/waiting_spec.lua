--- How outcomes come to those who wait: as delivery_spec.lua, with a worker
-- played on the shard.

local core = require("taskengine.core")
local misuse = require("spec.support.misuse")
local result = require("taskengine.result")
local shard_client = require("spec.support.shard_client")
local te = require("taskengine")

local failure, success = shard_client.failure, shard_client.success

describe("waiting for results", function()
  local site = shard_client.for_each_spec()

  it("brings a value that comes later", function()
    local r = site:send()
    site:finish_later(3, 1, success { 7 })
    assert.same({ 7 }, r:get())
    assert.equal(1, site:calls("te1_await"))
    site:assert_no_waits()
  end)

  it("brings a value that is there already", function()
    local r = site:send()
    site:finish(1, success(7))
    assert.equal(7, r:get())
    site:assert_no_waits()
  end)

  it("asks no more once it knows", function()
    local r = site:send()
    site:finish(1, success(7))
    r:get()
    local before = #site.transport.calls
    assert.same({ 7, true, "SUCCESS", 7 }, { r:get(), r:ready(), r:state(),
      r:result() })
    assert.equal(before, #site.transport.calls)
  end)

  it("raises errors with the task's id and name", function()
    local r = site:send()
    site:finish(1, failure { kind = "Mine", message = "m" })
    local ok, e = pcall(r.get, r)
    assert.is_false(ok)
    assert.same({ "Mine", "m", r.id, "add" }, { e.kind, e.message, e.id,
      e.name })
    assert.same({ false, e }, { r:wait() })
    assert.same({ "FAILURE", true, false, true },
      { r:state(), r:failed(), r:successful(), r:ready() })
  end)

  it("gives up when the time is up; the task goes on", function()
    local r = site:send()
    local _, e = pcall(r.get, r, { timeout = 0.01 })
    assert.same({ "Timeout", "not finished within 0.01 s; the task goes on" },
      { e.kind, e.message })
    assert.same({ nil, "timeout" }, { r:wait(0.01) })
    site:assert_no_waits()
    site:finish(1, success(7))
    assert.equal(7, r:get { timeout = 10 })
  end)

  it("looks once with a timeout of 0", function()
    local r = site:send()
    assert.same({ nil, "timeout" }, { r:wait(0) })
    site:finish(1, success(7))
    assert.same({ true, 7 }, { r:wait(0) })
    assert.equal(0, site:calls("te1_await"))
  end)

  it("serves many who wait for one task", function()
    local r = site:send()
    local all = {}
    for i = 1, 5 do
      -- Each with an object of its own.
      local own = result.new(site.way, r.id)
      all[i] = te.spawn(function()
        return own:get { timeout = i == 3 and 0.002 or nil }
      end)
    end
    local ok, e = table.remove(all, 3):wait()
    assert.same({ false, "Timeout" }, { ok, e.kind })
    site:finish_later(1, 1, success(7))
    for _, one in ipairs(all) do
      assert.equal(7, one:get())
    end
    assert.equal(1, site:calls("te1_await"))
    site:assert_no_waits()
  end)

  it("asks for many at once", function()
    local all = {}
    for i, r in ipairs { site:send(50) } do
      all[i] = te.spawn(r.get, r)
    end
    site:finish_later(5, 50, success(7))
    for _, one in ipairs(all) do
      assert.equal(7, one:get())
    end
    assert.equal(1, site:calls("te1_await"))
  end)

  it("fetches what is too large for an inbox", function()
    local large = ("x"):rep(70000)
    local r = site:send()
    site:finish_later(2, 1, success(large))
    assert.equal(large, r:get())
    assert.equal(1, site:calls("te1_outcome"))
  end)

  it("finds a task by an id of the caller's", function()
    local r = site:send(1, { task_id = "order-7" })
    assert.equal("order-7", r.id)
    assert.equal("PENDING", r:state())
    site:finish_later(2, 1, success(7))
    assert.equal(7, r:get())
    assert.equal(7, result.new(site.way, "order-7"):get())
    site:assert_no_waits()
  end)

  it("tells what was never enqueued", function()
    local nobody = core.envelope.id(core.envelope.new_producer(), 1)
    local r = result.new(site.way, nobody)
    assert.same({ "UNKNOWN", false }, { r:state(), r:ready() })
    local _, e = pcall(r.get, r)
    assert.same({ "Forgotten", "no such task was ever enqueued, or nothing is"
      .. " remembered of it" }, { e.kind, e.message })
    _, e = pcall(result.new(site.way, "order-9").get, r)
    assert.equal("Forgotten", e.kind)
    site:assert_no_waits()
  end)

  it("tells of a flow that never was, also where tasks are ready", function()
    site:send()
    local r = result.new(site.way, core.envelope.new_producer()
      .. ("0"):rep(8))
    assert.equal("UNKNOWN", r:state())
    local _, e = pcall(r.get, r, { timeout = 1 })
    assert.equal("Forgotten", e.kind)
    assert.equal(0, site.shard:redis("EXISTS", "y"))
  end)

  it("forgets", function()
    local r = site:send()
    assert.is_false(r:forget())
    site:finish(1, success(7))
    r:get()
    assert.is_true(r:forget())
    local _, e = pcall(r.get, r)
    assert.same({ "Forgotten", "its result is gone: it has"
      .. " expired, was forgotten or never kept" },
      { e.kind, e.message })
    assert.equal("UNKNOWN", r:state())
    assert.is_true(r:ready())
  end)

  it("revokes what waits, and asks for the end of what runs", function()
    local waiting, due = site:send(), site:send(1, { countdown = 60 })
    assert.is_true(waiting:revoke())
    assert.is_true(due:revoke())
    for _, r in ipairs { waiting, due } do
      local _, e = pcall(r.get, r)
      assert.equal("Revoked", e.kind)
      assert.equal("REVOKED", r:state())
    end
    local done = site:send()
    site:finish(1, success(7))
    local running = site:send()
    site:take(1)
    assert.same({ false, "finished" }, { done:revoke() })
    assert.same({ true, "asked" }, { running:revoke() })
    local function asked()
      return site.shard:redis("HVALS",
        "cr:" .. shard_client.WORKER)[1]:sub(1, 1)
    end
    assert.equal("c", asked())
    assert.same({ true, "asked" }, { running:revoke { terminate = true } })
    assert.equal("t", asked())
    assert.equal("PENDING", running:state())
    assert.same({ false, "unknown" },
      { result.new(site.way, "nobody"):revoke() })
  end)

  it("tells all that is known", function()
    local r = site:send()
    assert.same({ id = r.id, name = "add", state = "PENDING",
      place = "waiting" }, r:info())
    assert.is_nil(r:result())
    site:finish(1, failure { kind = "Error", message = "m",
      traceback = "tb" })
    local info = r:info()
    assert.same({ "FAILURE", "m" }, { info.state, info.error.message })
    assert.equal(info.error, r:result())
    assert.equal("tb", r:traceback())
  end)

  it("refuses to wait for what is not kept", function()
    local r = site:send(1, { ignore_result = true })
    for _, name in ipairs { "get", "wait", "ready", "result" } do
      assert.equal(name .. ": the task was sent with ignore_result, so nothing"
        .. " is kept of how it ends", misuse(r[name], r))
    end
    assert.is_true(r:revoke())
  end)

  it("says that a dot has to be a colon", function()
    local r = site:send()
    assert.equal("use result:get(...), with a colon", misuse(r.get))
  end)

  it("refuses wrong arguments", function()
    local r = site:send()
    assert.equal("get: options: a table expected, got 10", misuse(r.get, r, 10))
    assert.equal("get: unknown option 'timout' (did you mean 'timeout'?)",
      misuse(r.get, r, { timout = 1 }))
    assert.equal("wait: timeout: seconds from 0 to 3162240000 expected, got -1",
      misuse(r.wait, r, -1))
  end)

  it("asks at once about a task of long ago", function()
    local r = site:send()
    site:finish(1, success(7))
    site.shard:advance(61000)
    local _, e = pcall(function()
      return result.new(site.way, r.id):get()
    end)
    assert.equal("Forgotten", e.kind)
    assert.equal(0, site:calls("te1_await"))
  end)

  it("ends when the client is closed", function()
    local r = site:send()
    site:later(2, site.way.close, site.way)
    local _, e = pcall(r.get, r)
    assert.same({ "BrokerUnavailable", "the app was closed" },
      { e.kind, e.message })
  end)

  it("asks nothing more once the client is closed", function()
    assert.is_nil((site:send():wait(0.001)))
    site.way:close()
    core.loop.run("nowait")
    assert.is_nil(next(site.way.requests.pending))
  end)

  it("says what Redis refuses", function()
    local r = site:send()
    function site.transport.decide(name)
      return name == "te1_await" and "refused" or "done"
    end
    local _, e = pcall(r.get, r)
    assert.same({ "BrokerUnavailable", "Redis refused it: its memory is full"
      .. " (maxmemory)" }, { e.kind, e.message })
  end)
end)
