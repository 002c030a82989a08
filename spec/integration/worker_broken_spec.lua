local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")

-- What te.spawn began ends with its task, for which the engine takes `pairs`
-- from the globals.
local FILE <const> = [[
local te = require("taskengine")
local app = te.app("broken")
app:task("add", function(x, y) return x + y end)
app:task("vandal", function()
  te.spawn(te.sleep, 1000)
  _G.pairs = nil
end)
return app
]]

describe("A worker whose process a task has broken", function()
  it("ends the task with a reason, and goes on in a new process", function()
    local server <close> = redis_server.start()
    local place <close> = program.place { broker = server.url }
    place:write("tasks.lua", FILE)
    local worker = place:worker { "tasks.lua", "-P", "1" }
    local ended = place:run { "call", "vandal", "--wait" }
    assert.equal(1, ended.code)
    assert.matches("WorkerLost: .*exited with status 70", ended.stderr)
    worker:heard("stderr", "error (a process that runs tasks is broken: "
      .. "[^\n]*pairs[^\n]*)\n")
    assert.equal("3\n", place:run { "call", "add", "[1, 2]", "--wait" }.stdout)
  end)
end)
