local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")

local FILE <const> = [[
local te = require("taskengine")
local app = te.app("log")
app:task("fails", function()
  error("no\nsuch \27[31mluck")
end)
app:task("says", function()
  print("one", 2, "\0x")
  return true
end)
return app
]]

describe("A worker's log", function()
  it("says why a task failed, on one line", function()
    local server <close> = redis_server.start()
    local place <close> = program.place { broker = server.url }
    place:write("tasks.lua", FILE)
    local worker = place:worker { "tasks.lua" }
    place:run { "call", "fails", "--wait" }
    local line = worker:heard("stderr",
      "warn  (fails%[%w+%] failed in [%d.]+ ms: [^\n]*)\n")
    assert.matches("Error: tasks.lua:4: no\\nsuch \\x1b[31mluck", line, 1,
      true)
  end)

  it("has what a task prints, under its name", function()
    local server <close> = redis_server.start()
    local place <close> = program.place { broker = server.url }
    place:write("tasks.lua", FILE)
    local worker = place:worker { "tasks.lua" }
    place:run { "call", "says", "--wait" }
    worker:heard("stderr", "info  says%[%w+%] one 2 \\x00x\n")
    worker:heard("stderr", "info  says%[%w+%] succeeded in [%d.]+ ms\n")
  end)
end)
