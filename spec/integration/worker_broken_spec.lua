local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")

-- What te.spawn began ends with its task, by a function that a task had better
-- leave alone.
local FILE <const> = [[
local te = require("taskengine")
local app = te.app("broken")
local sleep, spawn = te.sleep, te.spawn
app:task("add", function(x, y) return x + y end)
app:task("vandal", function()
  te.spawn(te.sleep, 1000)
  require("taskengine.spawn").end_with = nil
end)
app:task("careless", function()
  for _, name in ipairs { "table", "coroutine", "debug", "io" } do
    for key in pairs(_G[name]) do
      _G[name][key] = nil
    end
  end
  local globals = _G
  for name in pairs(globals) do
    globals[name] = 7
  end
  spawn(sleep, 1000)
  sleep(0.001)
  return "done"
end)
return app
]]

describe("A worker", function()
  local server = redis_server.for_all_specs()
  local place = program.for_each_spec {
    server = server,
    files = { ["tasks.lua"] = FILE },
  }
  local worker

  before_each(function()
    worker = place:worker { "tasks.lua", "-P", "1" }
  end)

  local function call(...)
    return place:run { "call", ... }
  end

  it("whose process a task has broken ends the task with a reason, and goes"
    .. " on in a new process", function()
      local ended = call("vandal", "--wait")
      assert.equal(1, ended.code)
      assert.matches("WorkerLost: .*exited with status 70", ended.stderr)
      worker:heard("stderr", "error (a process that runs tasks is broken: "
        .. "[^\n]*end_with[^\n]*)\n")
      assert.equal("3\n", call("add", "[1, 2]", "--wait").stdout)
    end)

  it("does not need the globals that a task has overwritten", function()
    local first = call("careless", "--wait")
    assert.same({ "", "done\n" }, { first.stderr, first.stdout })
    local ended = call("add", "[1, {}]", "--wait")
    assert.equal(1, ended.code)
    assert.matches("Error: tasks.lua:4: attempt to perform arithmetic",
      ended.stderr)
    assert.equal("3\n", call("add", "[1, 2]", "--wait").stdout)
    assert.not_matches("broken", worker:stderr())
  end)
end)
