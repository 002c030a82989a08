local played_worker = require("spec.support.played_worker")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")

-- Adds; fails for what cannot be added.
local function adder(task)
  if task.name == "add" then
    return { value = task.args[1] + task.args[2] }
  end
  return {
    kind = "Error",
    message = "tasks.lua:3: no",
    traceback = "stack traceback:\n\ttasks.lua:3: in upvalue 'f'",
    value = { code = 7 },
  }
end

describe("results", function()
  local server, app, add, boom

  setup(function()
    server = redis_server.start { tcp = true }
  end)

  teardown(function()
    server:stop()
  end)

  before_each(function()
    server:cli("FLUSHALL")
    app = te.app("spec", { broker = server.url })
    add = app:task("add", function(x, y)
      return x + y
    end)
    boom = app:task("boom", function()
      error("no")
    end)
  end)

  after_each(function()
    app:close()
  end)

  it("bring the value of a task", function()
    local _ <close> = played_worker.start(server.url, { answer = adder })
    local r = add:delay(4, 6)
    assert.equal(10, r:get { timeout = 10 })
    assert.equal(10, r:get())
    assert.same({ true, 10 }, { r:wait() })
  end)

  it("raise the error of a task, at the line that asks", function()
    local _ <close> = played_worker.start(server.url, { answer = adder })
    local r = boom:delay()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, e = pcall(r.get, r, { timeout = 10 })
    assert.is_false(ok)
    assert.equal(te.TaskError, getmetatable(e))
    assert.same({ "Error", "tasks.lua:3: no", "boom", r.id, { code = 7 } },
      { e.kind, e.message, e.name, e.id, e.value })
    assert.matches("in upvalue 'f'", e.traceback)
    assert.matches("api_results_spec.lua:" .. line .. ": Error: tasks.lua:3: no"
      .. " (task boom, " .. r.id .. ")", tostring(e), 1, true)
  end)
end)
