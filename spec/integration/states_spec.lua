--- What tasks say of themselves while they run on real workers.

local core = require("taskengine.core")
local memory = require("spec.support.memory")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("A task's state", function()
  local site = workers.for_each_spec()

  local function worker(words)
    return site:worker(words or { "-P", "2" }, { file = "states" })
  end

  -- Waits until a task says something that will do.
  local function hear(result, accepts)
    return wait_until(function()
      local info = result:info()
      return accepts(info) and info
    end, 20, "a word of " .. tostring(result))
  end

  local function is(state)
    return function(info)
      return info.state == state
    end
  end

  local function release(name)
    site.place:write(name, "")
  end

  local function nothing_is_left(w)
    assert.equal(0, site:stop(w).code)
    assert.same({}, site:leftovers())
  end

  it("moves while it computes and never yields", function()
    local w = worker()
    local r = site:send("count", "over")
    local seen = {}
    for i = 1, 3 do
      seen[i] = hear(r, function(info)
        return info.state == "PROGRESS"
          and (i == 1 or info.meta.text ~= seen[i - 1].meta.text)
      end)
    end
    local rounds = {}
    for i, info in ipairs(seen) do
      rounds[i] = tonumber(info.meta.text:match("^round (%d+)$"))
    end
    assert.is_true(rounds[1] < rounds[2] and rounds[2] < rounds[3])
    assert.equal("running", seen[1].place)
    assert.equal("string", type(seen[1].worker))
    assert.is_true(seen[1].meta.fraction >= 0 and seen[1].meta.fraction < 1)
    assert.equal("PROGRESS", r:state())
    release("over")
    assert.is_true(r:get { timeout = 20 } > 0)
    assert.equal("SUCCESS", r:state())
    nothing_is_left(w)
  end)

  local function is_last_step(info)
    return info.state == "LOADING" and info.meta.step == 3
  end

  it("is the last word, also when many came before it at once", function()
    local w = worker()
    local r = site:send("compute", "over")
    assert.same({ step = 3 }, hear(r, is_last_step).meta)
    release("over")
    r:get { timeout = 20 }
    nothing_is_left(w)
  end)

  it("is STARTED where that was asked for", function()
    local w = worker()
    local tracked = site:send("tracked", "over")
    local plain = site:send("untracked", "over")
    hear(tracked, is("STARTED"))
    local info = hear(plain, function(info)
      return info.place == "running"
    end)
    assert.equal("PENDING", info.state)
    release("over")
    assert.same({ true, true }, { tracked:wait(20), plain:wait(20) })
    nothing_is_left(w)
  end)

  it("costs Redis little, however often a task speaks", function()
    local w = worker { "-P", "1" }
    assert.equal(1000, site:send("flood", 1000):get { timeout = 30 })
    local function calls()
      return tonumber(site.server:cli("INFO", "commandstats")
        :match("cmdstat_fcall:calls=(%d+)"))
    end
    local function memory_kb(pid)
      local file <close> = assert(io.open(("/proc/%d/status"):format(pid)))
      return tonumber(file:read("a"):match("VmHWM:%s*(%d+)"))
    end
    local child = workers.children(w)[1]
    local before, began = calls(), core.sys.monotonic()
    local master_kb, child_kb = memory_kb(w.pid), memory_kb(child)
    assert.equal(100000, site:send("flood", 100000):get { timeout = 60 })
    local took_s = core.sys.monotonic() - began
    -- Ten a second for what it says, and a few for all else.
    assert.is_true(calls() - before <= 10 * took_s + 20)
    local most_kb = 8192 + memory.KEPT_MB * 1024
    assert.is_true(memory_kb(w.pid) - master_kb < most_kb)
    assert.is_true(memory_kb(child) - child_kb < most_kb)
    nothing_is_left(w)
  end)

  it("is of no worker that is gone", function()
    local w = worker()
    local r = site:send("count", "over")
    hear(r, is("PROGRESS"))
    w:kill("KILL")
    w:wait()
    w = worker()
    wait_until(function()
      local held = site:in_flight()
      return held[1] and held[1].reaps == 1
    end, 20, "the task at the other worker")
    hear(r, is("PROGRESS"))
    assert.equal(1, site:key("HLEN", "st"))
    release("over")
    r:get { timeout = 20 }
    nothing_is_left(w)
  end)

  it("is shown by the program", function()
    local w = worker()
    local r = site:send("compute", "over")
    hear(r, is_last_step)
    local ended = site.place:run { "result", r.id }
    assert.same({ 4, "" }, { ended.code, ended.stdout })
    assert.matches('not finished yet %(LOADING {"step":3}%)\n', ended.stderr)
    local shown = core.json.decode(
      site.place:run({ "result", r.id, "--json" }).stdout)
    assert.same({ r.id, "LOADING", { step = 3 }, "running" },
      { shown.id, shown.state, shown.meta, shown.place })
    release("over")
    r:get { timeout = 20 }
    nothing_is_left(w)
  end)
end)

describe("Kin:", function()
  local site = workers.for_each_spec()

  it("a task knows what it sent, and each of those who did", function()
    local w = site:worker({ "-P", "2" }, { file = "states" })
    local r = site:send("parent")
    local first, sum, own = table.unpack(r:get { timeout = 20 })
    assert.same({ 5, r.id }, { sum, own })
    local children, values = r:children(), {}
    for i, child in ipairs(children) do
      values[i] = child:get { timeout = 20 }
      assert.equal(r.id, child:parent().id)
      assert.same({}, child:children())
    end
    table.sort(values)
    assert.same({ 1, 2, 3, 4 }, values)
    assert.equal(first, children[1].id)
    assert.equal(r.id, site.app:result("last"):parent().id)
    assert.is_nil(r:parent())
    local shown = core.json.decode(
      site.place:run({ "result", r.id, "--json" }).stdout)
    assert.same({ 4, first }, { #shown.children, shown.children[1] })
    shown = core.json.decode(
      site.place:run({ "result", first, "--json" }).stdout)
    assert.same({ r.id, nil }, { shown.parent, shown.children })
    assert.equal(0, site:stop(w).code)
    assert.same({}, site:leftovers())
  end)
end)
