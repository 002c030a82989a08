--- Workflows on real workers and a real Redis.

local core = require("taskengine.core")
local files = require("spec.support.files")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local LIMIT <const> = { timeout = 60 }

describe("A workflow with real workers", function()
  local site = workers.for_each_spec()
  local worker

  before_each(function()
    worker = site:worker({ "-P", "2" }, { file = "canvas" })
  end)

  local function s(name, ...)
    return site.app:signature(name, table.pack(...))
  end

  local function si(name, ...)
    local one = s(name, ...)
    one.is_immutable = true
    return one
  end

  it("passes results along a chain", function()
    assert.equal(25, te.chain(s("add", 4, 6), s("add", 10), s("add", 5))()
      :get(LIMIT))
  end)

  it("gathers a group and a chord", function()
    local job = te.group { s("add", 2, 2), s("add", 4, 4), s("add", 8, 8) }
    assert.same({ 4, 8, 16, n = 3 }, job():get(LIMIT))
    assert.equal(28, te.chord(job)(s("sum")):get(LIMIT))
  end)

  it("streams 3,000 results, and reads them in pages", function()
    local list = {}
    for i = 1, 3000 do
      list[i] = s("add", i, 0)
    end
    local group = te.group(list)
    local values = group():get(LIMIT)
    assert.same({ 1, 3000, 3000 }, { values[1], values[3000], values.n })
    assert.equal(4501500, (group | s("stream_sum"))():get(LIMIT))
    assert.equal(4501500, (group | s("sum"))():get(LIMIT))
  end)

  it("says when a task waits for results that Redis does not give", function()
    local other = site:worker({ "-Q", "paused" }, { file = "canvas",
      env = { TASKENGINE_BROKER_TIMEOUT = "0.05" } })
    local list = {}
    for i = 1, 2000 do
      list[i] = s("add", i, 0)
    end
    local go, begun = site.dir .. "/go", site.dir .. "/begun"
    local r = (te.group(list) | s("stream_with_pause", go, begun)
      :set { queue = "paused" })()
    wait_until(function()
      return core.sys.stat(begun)
    end, 30)
    site.server:kill("STOP")
    finally(function()
      site.server:kill("CONT")
    end)
    files.write(go, "")
    other:heard("stderr", "it waits for results that it needs: the broker did"
      .. " not answer")
    site.server:kill("CONT")
    assert.equal(2001000, r:get(LIMIT))
  end)

  it("goes through a long chain", function()
    local one = s("add", 1, 0)
    for _ = 2, 2000 do
      one = one | s("add", 1)
    end
    assert.equal(2000, one():get(LIMIT))
  end)

  it("fails where it breaks, and calls back once", function()
    local path = site.dir .. "/errors"
    local r = te.chain(s("add", 1, 1), si("fail", "no luck"), s("add", 1))
      :on_error(s("note_error", path))()
    local ok, e = r:wait(30)
    assert.same({ false, "DependencyFailed", "Broken", "no luck" },
      { ok, e.kind, e.cause.kind, e.cause.message })
    wait_until(function()
      return r.flow:info().left == 0
    end, 30)
    assert.equal("Broken: no luck\n", files.read(path))
  end)

  it("can be sent by a task, which waits without a slot", function()
    assert.equal(20, site.app:send_task("nested", { 4 }):get(LIMIT))
    local list = {}
    for i = 1, 6 do
      list[i] = s("nested", i)
    end
    assert.same({ 2, 6, 12, 20, 30, 42, n = 6 }, te.group(list)():get(LIMIT))
  end)

  it("ends a task in whose place it is put", function()
    local r = site.app:send_task("spread", { 4 })
    assert.equal(20, r:get(LIMIT))
    assert.equal(21, (s("spread", 4) | s("add", 1))():get(LIMIT))
    local list = {}
    for i = 1, 20 do
      list[i] = s("spread", i)
    end
    assert.equal(3080, (te.group(list) | s("sum"))():get(LIMIT))
    worker:heard("stderr", "spread%[" .. r.id .. "%] replaced in ")
  end)

  it("grows by what its members add", function()
    local list = {}
    for i = 1, 20 do
      list[i] = s("grow", i)
    end
    -- Each has i of the chains, and as many of its own kind behind it.
    local values = te.group(list)():get(LIMIT)
    assert.equal(20 + 2 * 210, values.n)
    assert.equal(24080, (te.group(list) | s("sum"))():get(LIMIT))
  end)

  it("grows once by what a task adds whose process dies", function()
    local group = te.group { s("grow_and_die", site.dir .. "/died") }()
    assert.same({ 0, 3, 7, 11, 15, n = 5 }, group:get(LIMIT))
    assert.equal(5, group:completed_count())
  end)

  it("is refused when no worker knows one of its tasks", function()
    local ok, e = pcall(te.chain(s("add", 1, 1), s("adds", 1)))
    assert.is_false(ok)
    assert.same({ "NotRegistered", "adds", "no worker on the queue default"
      .. " knows a task 'adds' (did you mean 'add'?)" },
      { e.kind, e.name, e.message })
    -- Nobody serves that queue: there may be a worker later.
    local r = (s("add", 1, 1) | s("later", 1):set { queue = "far" })()
    assert.equal("PENDING", r:state())
  end)

  it("runs each call of a task in the queue that it names", function()
    local r = te.group { s("add", 1, 1),
      s("add", 2, 2):set { queue = "far" } }()
    assert.equal(2, r[1]:get(LIMIT))
    assert.equal("PENDING", r[2]:state())
    site:worker({ "-P", "1", "-Q", "far" }, { file = "canvas" })
    assert.same({ 2, 4, n = 2 }, r:get(LIMIT))
  end)

  it("runs again what failed, and only that", function()
    local path, notes = site.dir .. "/needed", site.dir .. "/notes"
    local r = te.chain(s("note", notes, "first"), si("need_file", path),
      si("note", notes, "last"))()
    assert.is_false((r:wait(30)))
    wait_until(function()
      return r.flow:info().left == 0
    end, 30)
    files.write(path, "text")
    assert.is_true(r.flow:retry())
    r:get(LIMIT)
    assert.equal("first\nlast\n", files.read(notes))
    assert.same({ false, "nothing" }, { r.flow:retry() })
  end)

  it("survives a worker that is killed", function()
    local one = s("add", 1, 0)
    for _ = 2, 3000 do
      one = one | s("add", 1)
    end
    local r = one()
    wait_until(function()
      return r.flow:info().left < 2900
    end, 30)
    worker:kill("KILL")
    worker:wait()
    worker = site:worker({ "-P", "2" }, { file = "canvas" })
    assert.equal(3000, r:get(LIMIT))
  end)
end)
