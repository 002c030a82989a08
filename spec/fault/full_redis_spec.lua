local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local MEGABYTES <const> = 64
local PAD <const> = ("x"):rep(4096)
local REFUSED_MIN <const> = 200
local HELD <const> = 2

describe("Redis whose memory is full", function()
  -- Sends a task; returns its result, or nil when Redis refused it, cleanly.
  local function send(run, name, ...)
    local ok, r = pcall(run.site.app.send_task, run.site.app, name,
      table.pack(...))
    if ok then
      return r
    end
    assert.same({ "BrokerUnavailable", false,
      "Redis refused it: its memory is full (maxmemory)" },
      { r.kind, r.indeterminate, r.message })
  end

  -- Until so many were refused. Returns the results of the others.
  local function fill(run)
    local results, refused = {}, 0
    while refused < REFUSED_MIN do
      local number = run.sent + 1
      local r = send(run, "work", number, run.ledger.path, 0, PAD)
      if r then
        results[number], run.sent = r, number
      else
        refused = refused + 1
      end
    end
    return results, refused
  end

  it("says so of every task that it refuses, and does all the others",
    function()
      local run <close> = chaos.run {
        config = { ("maxmemory %dmb"):format(MEGABYTES) },
      }
      local gate = run.site.dir .. "/gate"
      run:start()
      local held = {}
      for i = 1, HELD do
        run.sent = i
        held[i] = send(run, "hold", i, run.ledger.path, gate)
      end
      wait_until(function()
        return select(2, run.ledger:starts()) == HELD
      end)
      local results, refused = fill(run)
      -- What it holds by now would be too much even for an empty queue.
      run.site:call("CONFIG", "SET", "maxmemory", "1mb")
      os.execute(("touch '%s'"):format(gate))
      run:finish()
      assert.is_nil(send(run, "work", 0, run.ledger.path, 0))

      local found = run:report("F11", 0, ("refused=%d"):format(refused))
      assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
      assert.equal(run.sent, found.done)
      assert.equal(run.sent, run.site:count("enqueued"))
      for i = 1, HELD do
        assert.equal(i, held[i]:get { timeout = 10 })
      end
      for number, r in pairs(results) do
        assert.equal(number, r:get { timeout = 10 })
      end
      assert.equal(0, run.site:key("EXISTS", "r:default"))
      assert.is_nil(run.worker.ended)
      run.site:call("CONFIG", "SET", "maxmemory", "0")
      run.sent = run.sent + 1
      assert.equal(7, send(run, "work", 7, run.ledger.path, 0):get {
        timeout = 10 })
      local ended = run:stop()
      assert.same({ 0, {} }, { ended.code, ended.left })
    end)
end)

local KEYS <const> = chaos.size(60, 600)
local WAITS <const>, EACH_S <const> = chaos.size(1500, 20000), 0.001
-- After the last one, besides what is left to be done.
local SETTLED_S <const> = chaos.size(math.huge, 5 + WAITS * EACH_S)

describe("Redis that throws keys away", function()
  -- Waits for tasks of every kind; `ends` counts how they ended.
  local function send_all(run, ends)
    for number = 1, WAITS do
      local options = {
        priority = math.random(0, 2),
        countdown = number % 3 == 0 and math.random() or nil,
      }
      local r = run.site.app:send_task("wait",
        { number, run.ledger.path, EACH_S }, options)
      te.spawn(function()
        local ok, value = r:wait()
        local how = ok and "done" or value.kind
        ends[how] = (ends[how] or 0) + 1
        ends.all = ends.all + 1
      end)
    end
  end

  -- As an eviction does, with whatever it comes upon.
  local function throw_away(run, list)
    local key = run.site:call("RANDOMKEY")
    if key and run.site:call("DEL", key) == 1 then
      local name = key:match("}:(%a+)") or key
      list[name] = (list[name] or 0) + 1
    end
  end

  it("leaves no one waiting for ever, and a worker that works", function()
    local run <close> = chaos.run { processes = 2 }
    run:start { TASKENGINE_LEASE = "2" }
    local ends, list = { all = 0 }, {}
    send_all(run, ends)
    for _ = 1, KEYS do
      throw_away(run, list)
      chaos.pause(0, 0.02)
    end
    local began = core.sys.monotonic()
    wait_until(function()
      return ends.all == WAITS
    end, 90, "an end of every wait")
    local settled_s = core.sys.monotonic() - began
    local parts = {}
    for name, n in pairs(ends) do
      parts[#parts + 1] = ("%s=%d"):format(name, n)
    end
    table.sort(parts)
    io.write(("[F11, evicted TE_SEED=%d keys=%d settled=%.1fs %s]"):format(
      chaos.SEED, KEYS, settled_s, table.concat(parts, " ")))
    assert.is_true(settled_s <= SETTLED_S)
    for name in pairs(ends) do
      assert.truthy(({ all = 1, done = 1, Forgotten = 1, Malformed = 1,
        NotRegistered = 1 })[name], name)
    end
    assert.is_nil(run.worker.ended)
    local r = run.site:send("nothing")
    assert.is_nil(r:get { timeout = 20 })
    assert.equal(0, run:stop().code)
  end)
end)
