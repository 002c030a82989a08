local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local TASKS <const> = [[
local te = require("taskengine")
local app = te.app("tasks")
app:task("open", function(path)
  local file = io.open(path)
  return file and file:close() or error({ kind = "Closed", path = path })
end)
app:task("count_dead", function() return #app:dead { task = "open" } end)
app:task("mend", function(id)
  local ok, served = app:requeue(id)
  return { ok, served }
end)
]]

describe("The dead, for a program,", function()
  local server = redis_server.for_all_specs()
  local place = program.for_each_spec {
    server = server,
    files = { ["tasks.lua"] = TASKS },
  }
  local app

  before_each(function()
    place:worker { "tasks.lua", "-P", "1" }
    app = te.app("client", { broker = server.url })
  end)

  after_each(function()
    app:close()
  end)

  local function fail(...)
    local r = app:send_task("open", { ... })
    assert.is_false((r:wait(20)))
    return r
  end

  it("are listed with what is known of them", function()
    local before = te.now()
    local r = fail("nowhere", nil, 3)
    fail("elsewhere")
    assert.equal(2, #app:dead())
    assert.equal(1, #app:dead { limit = 1 })
    assert.same({}, app:dead { kind = "Open" })
    local entry = app:dead { task = "open", kind = "Closed", queue = "default",
      newer = 3600 }[2]
    assert.same({ r.id, r.id, "open", "default", "Closed", 0, 0, 0, 0 },
      { entry.id, entry.engine_id, entry.name, entry.queue, entry.kind,
        entry.retries, entry.deaths, entry.reaps, entry.deliveries })
    assert.equal('{ path = "nowhere" }', entry.message)
    assert.matches("^stack traceback:\n\ttasks.lua:5: in function",
      entry.traceback)
    assert.same({ kind = "Closed", path = "nowhere" }, entry.error.value)
    assert.is_true(entry.died >= before - 0.001 and entry.died <= te.now())
    assert.same({ args = { "nowhere", nil, 3, n = 3 }, history = {} },
      entry:details())
    assert.equal(("dead task open %s: Closed"):format(r.id), tostring(entry))
  end)

  it("run again, once, and tell what happened to them", function()
    local r = fail("tasks.txt")
    local entry = app:dead()[1]
    assert.same({ true, true }, { app:requeue(r.id) })
    assert.is_nil(entry:details())
    assert.same({ false, "missing" }, { app:requeue("nobody") })
    local again = wait_until(function()
      return app:dead()[1]
    end)
    assert.same({ false, "missing" }, { entry:requeue() })
    local history = again:details().history
    assert.same({ 1, "requeued", "Closed" },
      { #history, history[1].event, history[1].kind })
    place:write("tasks.txt", "")
    assert.same({ true, true }, { again:requeue() })
    assert.is_true(app:result(r.id):get { timeout = 20 })
    assert.same({}, app:dead())
  end)

  it("are deleted once", function()
    local r = fail("nowhere")
    local entry = app:dead()[1]
    assert.is_true(entry:delete())
    assert.is_false(entry:delete())
    assert.equal("FAILURE", app:result(r.id):state())
  end)

  it("can be had in a task, too", function()
    local r = fail("tasks.txt")
    assert.equal(1, app:send_task("count_dead"):get { timeout = 20 })
    place:write("tasks.txt", "")
    assert.same({ true, true },
      app:send_task("mend", { r.id }):get { timeout = 20 })
    assert.is_true(app:result(r.id):get { timeout = 20 })
  end)

  it("are more than a reply has room for", function()
    local large = ("x"):rep(900000)
    for _ = 1, 20 do
      app:send_task("open", { "nowhere", large })
    end
    wait_until(function()
      return #app:dead() == 20
    end, 30)
    for _, entry in ipairs(app:dead()) do
      assert.equal(large, entry:details().args[2])
      assert.is_true(entry:requeue())
    end
  end)

  it("are asked for with options that there are", function()
    for text, filter in pairs {
      ["unknown option 'tusk' %(did you mean 'task'"] = { tusk = "open" },
      ["limit: an integer from 1 to 10000"] = { limit = 0 },
      ["older: seconds"] = { older = "1h" },
    } do
      local ok, problem = pcall(app.dead, app, filter)
      assert.is_false(ok)
      assert.matches("api_dead_spec.lua:%d+: dead: " .. text, problem)
    end
    assert.has_error(function()
      app:requeue("a b")
    end)
  end)
end)
