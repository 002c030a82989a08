--- What a task can do, in a real worker.

local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local TASKS <const> = [[
local te = require("taskengine")
local app = te.app("tasks")

app:task("add", function(x, y) return x + y end)

local fib
fib = app:task("fib", function(n)
  if n < 2 then
    return n
  end
  local a, b = fib:delay(n - 1), fib:delay(n - 2)
  return a:get() + b:get()
end)

app:task("whoami", { bind = true }, function(self)
  return { self.id, self.name, self.root_id, self.parent_id or "none",
    self.queue, self.worker, self.headers.trace or "none" }
end)

app:task("parent", { bind = true }, function(self)
  return { self.id, app:send_task("whoami", {}, {
    headers = { trace = "t" } }):get() }
end)

app:task("squares", function(n)
  local list = {}
  for i = 1, n do
    list[i] = { i, i }
  end
  local sum = 0
  for r in te.as_completed(app:enqueue_many("add", list), 30) do
    sum = sum + r:get()
  end
  return sum
end)

app:task("in_coroutines", function()
  -- Results through a generator, in a pcall, beside each other.
  local values = coroutine.wrap(function()
    for i = 1, 3 do
      coroutine.yield(app:send_task("add", { i, i }):get())
    end
  end)
  local sum = values() + values() + values()
  local ok, e = pcall(function()
    return app:send_task("fail", { "inner" }):get()
  end)
  local one = te.spawn(function()
    return app:send_task("add", { 100, 1 }):get()
  end)
  return { sum, ok, e.kind, e.message, one:get() }
end)

app:task("fail", function(text)
  error({ kind = "Mine", message = text })
end)

app:task("refail", function()
  local value = app:send_task("fail", { "deep" }):get()
  return value
end)

app:task("in_sort", function()
  table.sort({ 2, 1 }, function(a, b)
    te.sleep(0)
    return a < b
  end)
end)

app:task("talk", { bind = true }, function(self)
  print("one", 2, nil)
  print("two\nlines")
  self:log("warn", "careful")
  te.sleep(0.001)
  print("after")
end)

app:task("nap", function(s)
  te.sleep(s)
  return s
end)

app:task("revoke_later", function()
  local r = app:send_task("add", { 1, 1 }, { countdown = 100 })
  local revoked = r:revoke()
  return { r:state(), revoked, (r:wait(0)) }
end)
]]

describe("a task in a worker", function()
  local server, place, running, app

  setup(function()
    server = redis_server.start { tcp = true }
    place = program.place { broker = server.url }
    place:write("tasks.lua", TASKS)
    running = place:worker { "tasks.lua", "-P", "2", "-n", "spec" }
    app = te.app("spec", { broker = server.url })
  end)

  teardown(function()
    app:close()
    running:kill("TERM")
    running:wait()
    place:close()
    server:stop()
  end)

  local function run(name, args, opts)
    return app:send_task(name, args, opts):get { timeout = 30 }
  end

  local function lines_of(id)
    local lines = {}
    for line in running:stderr():gmatch("[^\n]+") do
      local text = line:match("%[" .. id .. "%] (.*)$")
      if text then
        lines[#lines + 1] = text
      end
    end
    return lines
  end

  it("waits for others, deeper than there are slots", function()
    assert.equal(55, run("fib", { 10 }))
  end)

  it("knows who it is and who sent it", function()
    local r = app:send_task("whoami", {}, { task_id = "order-7" })
    assert.same({ "order-7", "whoami", "order-7", "none", "default", "spec",
      "none" }, r:get { timeout = 30 })
    local parent, child = table.unpack(run("parent"))
    assert.same({ "whoami", parent, parent, "default", "spec", "t" },
      table.move(child, 2, 7, 1, {}))
    assert.not_equal(parent, child[1])
  end)

  it("sends many and waits for them in the order of their ends", function()
    assert.equal(3000 * 3001, run("squares", { 3000 }))
  end)

  it("waits also in its own coroutines, in pcall, beside itself", function()
    assert.same({ 12, false, "Mine", "inner", 101 }, run("in_coroutines"))
  end)

  it("hands on the failure of another task", function()
    local ok, e = app:send_task("refail"):wait(30)
    assert.is_false(ok)
    assert.equal("Mine", e.kind)
    assert.matches("^tasks.lua:%d+: deep %(task fail, %w+%)$", e.message)
    assert.matches("tasks.lua:%d+: in function <tasks.lua:%d+>$", e.traceback)
  end)

  it("fails clearly where Lua cannot wait", function()
    local ok, e = app:send_task("in_sort"):wait(30)
    assert.is_false(ok)
    assert.matches("^tasks.lua:%d+: te.sleep cannot wait inside a C call",
      e.message)
  end)

  it("writes to the log with its id", function()
    local r = app:send_task("talk")
    r:get { timeout = 30 }
    local lines
    wait_until(function()
      lines = lines_of(r.id)
      return #lines >= 6
    end)
    assert.same({ "one 2 nil", "two", "lines", "careful", "after" },
      table.move(lines, 1, 5, 1, {}))
  end)

  it("ends where it waits when its time is up", function()
    local ok, e = app:send_task("nap", { 600 }, { time_limit = 0.05 }):wait(30)
    assert.is_false(ok)
    assert.equal("TimeLimitExceeded", e.kind)
    assert.equal(0, run("nap", { 0 })) -- the child goes on
  end)

  it("asks for states and revokes", function()
    assert.same({ "REVOKED", true, false }, run("revoke_later"))
  end)

  it("is unknown when no worker has it", function()
    local ok, e = app:send_task("nowhere"):wait(30)
    assert.is_false(ok)
    assert.equal("NotRegistered", e.kind)
  end)

  it("goes on when Redis was away", function()
    local r = app:send_task("nap", { 0.2 })
    wait_until(function()
      return server:cli("LLEN", "te:{default.0}:r:default") == "0"
    end)
    for line in server:cli("CLIENT", "LIST"):gmatch("[^\n]+") do
      local id, name = line:match("^id=(%d+).* name=(%S*)")
      if name:find("^taskengine") then
        server:cli("CLIENT", "KILL", "ID", id)
      end
    end
    assert.equal(0.2, r:get { timeout = 30 })
    assert.equal(55, run("fib", { 10 }))
  end)
end)
