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
app:task("hangs", { time_limit = 1 }, function()
  print("before it hangs")
  while true do end
end)
app:task("crashes", { bind = true }, function(self, how)
  self:log("error", "before " .. how)
  io.write("a begun line")
  if how == "exit" then os.exit(3) end
  os.execute("kill -9 $PPID")
end)
app:task("computes", function(file)
  print("begun")
  while not require("taskengine.core").sys.stat(file) do end
end)
app:task("writes", function(seconds)
  io.write("one", 2)
  te.sleep(seconds)
  io.stdout:write(" three\nfour\n"):write("five\n")
  io.stderr:write("six\n", "seven")
  os.execute("echo eight")
end)
return app
]]

describe("A worker's log", function()
  local server = redis_server.for_all_specs()
  local place = program.for_each_spec {
    server = server,
    files = { ["tasks.lua"] = FILE },
  }
  local worker

  before_each(function()
    worker = place:worker { "tasks.lua", "-P", "1", "-c", "2" }
  end)

  it("says why a task failed, on one line", function()
    place:run { "call", "fails", "--wait" }
    local line = worker:heard("stderr",
      "warn  (fails%[%w+%] failed in [%d.]+ ms: [^\n]*)\n")
    assert.matches("Error: tasks.lua:4: no\\nsuch \\x1b[31mluck", line, 1,
      true)
  end)

  it("has what a task prints, under its name", function()
    place:run { "call", "says", "--wait" }
    worker:heard("stderr", "info  says%[%w+%] one 2 \\x00x\n")
    worker:heard("stderr", "info  says%[%w+%] succeeded in [%d.]+ ms\n")
  end)

  describe("tells in time", function()
    it("what a task said before it hangs", function()
      place:run { "call", "hangs", "--wait" }
      worker:heard("stderr", "info  hangs%[%w+%] before it hangs\n"
        .. ".*hangs%[%w+%] failed: TimeLimitExceeded")
    end)

    it("what a task said before it crashes", function()
      place:run { "call", "crashes", '["exit"]', "--wait" }
      worker:heard("stderr", "error crashes%[%w+%] before exit\n"
        .. "[^\n]* info  crashes%[%w+%] a begun line\n[^\n]* lost: ")
      place:run { "call", "crashes", '["kill"]', "--wait" }
      worker:heard("stderr", "error crashes%[%w+%] before kill\n[^\n]* lost: ")
    end)

    it("what a task says while it computes", function()
      place:run { "call", "computes", '["go"]' }
      worker:heard("stderr", "info  computes%[%w+%] begun\n")
      place:write("go", "")
      worker:heard("stderr", "computes%[%w+%] succeeded")
    end)

    it("what a task writes, line by line, and apart from others'", function()
      place:run { "call", "writes", "[0.2]" }
      place:run { "call", "writes", "[0]", "--wait" }
      worker:heard("stderr", "succeeded.*succeeded")
      local lines = {}
      for id, line in worker:stderr()
        :gmatch("info  writes%[(%w+)%] ([^\n]*)") do
        lines[id] = lines[id] or {}
        table.insert(lines[id], (line:gsub("succeeded.*", "succeeded")))
      end
      local writers = 0
      for _, said in pairs(lines) do
        assert.same({ "one2 three", "four", "five", "six", "seven",
          "succeeded" }, said)
        writers = writers + 1
      end
      assert.equal(2, writers)
      assert.matches("\neight\n", worker:stderr())
      assert.equal("", worker:stdout())
    end)
  end)
end)
