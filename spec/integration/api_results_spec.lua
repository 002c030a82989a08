local core = require("taskengine.core")
local played_worker = require("spec.support.played_worker")
local redis_server = require("spec.support.redis_server")
local results = require("taskengine.results")
local script = require("spec.support.script")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

-- Adds; fails for what is not called add.
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

describe("an app on a real Redis", function()
  local server = redis_server.for_all_specs {
    tcp = true,
    config = { "appendonly yes", "appendfsync always" },
  }
  local app, add, boom

  local function new_app(settings)
    settings.broker = settings.broker or server.url
    app = te.app("spec", settings)
    add = app:task("add", function(x, y)
      return x + y
    end)
    boom = app:task("boom", function()
      error("no")
    end)
  end

  before_each(function()
    server:cli("FLUSHALL")
    new_app {}
  end)

  after_each(function()
    app:close()
  end)

  it("brings the value of a task, over a socket and TCP", function()
    for _, url in ipairs { server.url, server.tcp_url } do
      app:close()
      new_app { broker = url }
      local _ <close> = played_worker.start(url, { answer = adder })
      local r = add:delay(4, 6)
      assert.equal(10, r:get { timeout = 10 })
      assert.equal(10, r:get())
      assert.same({ true, 10 }, { r:wait() })
    end
  end)

  it("raises the error of a task, at the line that asks", function()
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

  it("sends what its options say", function()
    local worker <close> = played_worker.start(server.url, {
      queues = { "default", "heavy" },
    })
    local before = te.now()
    local r = add:apply_async({ n = 3, 4, nil, 6 }, {
      queue = "heavy", priority = 5, expires = 60, time_limit = 2.5,
      task_id = "order-7", headers = { trace = "abc" },
    })
    local after = te.now()
    local task = worker:wait_for(1)[1]
    assert.equal("order-7", r.id)
    assert.same({ "add", "heavy", 5, 2500, "order-7", 86400 }, { task.name,
      task.queue, task.priority, task.time_limit_ms, task.alias, task.ttl_s })
    local sent = task.expiry_ms / 1000 - 60
    assert.is_true(sent >= before - 0.001 and sent <= after)
    assert.same({ 4, te.null, 6 }, task.args)
    assert.same({ h = { trace = "abc" } }, task.extra)
    worker:finish(function()
      return { value = "done" }
    end)
    assert.equal("done", r:get { timeout = 10 })
    assert.equal("done", app:result("order-7"):get { timeout = 10 })
  end)

  it("sends by name, with the options of a task that it knows", function()
    app:task("slow", { queue = "heavy" }, print)
    local worker <close> = played_worker.start(server.url, {
      queues = { "default", "heavy" },
    })
    app:send_task("elsewhere", { 1 })
    app:send_task("slow", { 2 })
    local queues = {}
    for _, task in ipairs(worker:wait_for(2)) do
      queues[task.name] = task.queue
    end
    assert.same({ elsewhere = "default", slow = "heavy" }, queues)
  end)

  it("holds back what is due later", function()
    local worker <close> = played_worker.start(server.url)
    local began = core.sys.monotonic()
    add:apply_async({ 3 }, { eta = "2020-01-01T00:00:00Z" })
    add:apply_async({ 1 }, { countdown = 0.2 })
    add:apply_async({ 2 }, { eta = te.now() + 0.1 })
    local tasks = worker:wait_for(3)
    assert.is_true(core.sys.monotonic() - began >= 0.19)
    assert.same({ 3, 2, 1 }, { tasks[1].args[1], tasks[2].args[1],
      tasks[3].args[1] })
  end)

  it("ends what expired as revoked", function()
    local r = add:apply_async({ 1 }, { expires = 0.001 })
    local sent = te.now()
    wait_until(function()
      return te.now() - sent > 0.005
    end)
    local _ <close> = played_worker.start(server.url, { answer = adder })
    local ok, e = r:wait(10)
    assert.is_false(ok)
    assert.equal("Expired", e.kind)
    assert.equal("REVOKED", r:state())
  end)

  it("keeps nothing of a task whose result is ignored", function()
    local worker <close> = played_worker.start(server.url, { answer = adder })
    add:apply_async({ 1, 2 }, { ignore_result = true })
    add:delay(1, 2):get()
    assert.equal(1, worker.tasks[1].flags)
    assert.equal(0, worker.tasks[2].flags)
    local id = worker.tasks[1].id
    assert.equal("0", server:cli("HEXISTS",
      "te:{default.0}:v:" .. id:sub(1, 19), id:sub(20)))
  end)

  it("keeps its keys in its namespace", function()
    app:close()
    new_app { namespace = "shop" }
    local _ <close> = played_worker.start(server.url, {
      answer = adder, namespace = "shop",
    })
    assert.equal(3, add:delay(1, 2):get { timeout = 10 })
    local keys = server:cli("KEYS", "*")
    assert.matches("te:{shop.0}:v:", keys, 1, true)
    for key in keys:gmatch("[^\n]+") do
      assert.matches("^te:{shop%.0}:", key)
    end
  end)

  it("brings large arguments and results", function()
    local worker <close> = played_worker.start(server.url, {
      answer = function(task)
        return { value = task.args[1]:rep(3) }
      end,
    })
    local text = ("x"):rep(900000)
    assert.equal(2700000, #add:delay(text):get { timeout = 10 })
    assert.equal(1, #worker.tasks)
  end)

  it("sends many and sees them end", function()
    local _ <close> = played_worker.start(server.url, { answer = adder })
    local list = {}
    for i = 1, 20000 do
      list[i] = { i, i }
    end
    local all = app:enqueue_many(add, list)
    assert.equal(20000, #all)
    local count, sum = 0, 0
    for r in te.as_completed(all, 60) do
      count, sum = count + 1, sum + r:get { timeout = 0 }
    end
    assert.equal(20000, count)
    assert.equal(20000 * 20001, sum)
    assert.equal(40, all[20]:get())
  end)

  it("is done with a wait when it says so", function()
    local r = add:delay(1, 2)
    assert.same({ nil, "timeout" }, { r:wait(0.01) })
    wait_until(function()
      return server:cli("EXISTS", "te:{default.0}:y") == "0"
    end)
  end)

  it("goes on when its connections are cut", function()
    local worker <close> = played_worker.start(server.url)
    local all = app:enqueue_many(add, { { 1, 2 }, { 3, 4 }, { 5, 6 } })
    local one = te.spawn(function()
      local sum = 0
      for r in te.as_completed(all, 30) do
        sum = sum + r:get()
      end
      return sum
    end)
    wait_until(function()
      return server:cli("HLEN", "te:{default.0}:y") == "3"
    end)
    worker:wait_for(3)
    for line in server:cli("CLIENT", "LIST"):gmatch("[^\n]+") do
      local id, name = line:match("^id=(%d+).* name=(%S*)")
      if name:find("^taskengine") then
        server:cli("CLIENT", "KILL", "ID", id)
      end
    end
    worker:finish(adder)
    assert.equal(21, one:get())
    assert.equal(11, add:delay(5, 6):get { timeout = 10 })
  end)

  it("outlasts a restart of Redis, and enqueues once", function()
    local sent = {}
    local one = te.spawn(function()
      for i = 1, 200 do
        sent[i] = add:delay(i, i).id
      end
    end)
    wait_until(function()
      return #sent > 20
    end)
    server:kill("KILL")
    server:restart()
    one:get()
    assert.equal("200", server:cli("LLEN", "te:{default.0}:r:default"))
    local r = app:result(sent[200])
    local waiting = te.spawn(r.get, r, { timeout = 30 })
    wait_until(function()
      return server:cli("HLEN", "te:{default.0}:y") == "1"
    end)
    server:kill("KILL")
    server:restart()
    local _ <close> = played_worker.start(server.url, { answer = adder })
    assert.equal(400, waiting:get())
  end)

  it("says at once that a password is wrong, and not which", function()
    local guarded <close> = redis_server.start { tcp = true, password = "pw" }
    app:close()
    new_app { broker = guarded.url:gsub("pw@", "guess@"), broker_timeout = 60 }
    local began = core.sys.monotonic()
    local ok, e = pcall(add.delay, add, 1)
    assert.is_false(ok)
    assert.is_true(core.sys.monotonic() - began < 60, "it waited")
    assert.same({ "BrokerUnavailable", false }, { e.kind, e.indeterminate })
    assert.matches("refused the user name or the password", e.message)
    assert.is_nil(tostring(e):find("guess", 1, true))
  end)

  it("refuses when Redis is full, and says so", function()
    server:cli("CONFIG", "SET", "maxmemory", "1")
    local ok, e = pcall(add.delay, add, 1)
    server:cli("CONFIG", "SET", "maxmemory", "0")
    assert.is_false(ok)
    assert.same({ "BrokerUnavailable", false }, { e.kind, e.indeterminate })
    assert.matches("its memory is full", e.message)
    assert.truthy(add:delay(1))
  end)

  it("works in a script of its own", function()
    local worker <close> = played_worker.start(server.url, {
      answer = adder,
    })
    local folder <close> = script.folder { ["main.lua"] = ([[
      local te = require("taskengine")
      local app = te.app("tasks", { broker = "%s" })
      local add = app:task("add", function(x, y) return x + y end)
      app:main(function(args)
        local r = add:delay(tonumber(args[1]), 6)
        print(r:get { timeout = 10 })
        local boom = app:send_task("boom")
        boom:get()
      end)
    ]]):format(server.url) }
    local out, err, code = script.run(folder.dir, "main.lua 4")
    assert.same({ 1, "10\n" }, { code, out })
    assert.matches("lua5.4: main.lua:8: Error: tasks.lua:3: no %(task boom,",
      err)
    assert.equal(2, #worker.tasks)
  end)

  it("tells finalizers at the end of the program that it has ended", function()
    local worker <close> = played_worker.start(server.url, {
      answer = adder,
    })
    local folder <close> = script.folder { ["main.lua"] = ([[
      local te = require("taskengine")
      local app = te.app("tasks", { broker = "%s" })
      local function ask()
        local ok, e = pcall(function()
          return app:send_task("add", { 1, 2 }):get { timeout = 10 }
        end)
        print(ok, ok and e or e.kind .. ": " .. e.message)
      end
      Earlier = setmetatable({}, { __gc = ask })
      ask()
      Later = setmetatable({}, { __gc = ask })
    ]]):format(server.url) }
    local out, err, code = script.run(folder.dir, "main.lua")
    assert.same({ 0, "" }, { code, err })
    -- The connection goes before what was there earlier.
    assert.equal("true\t3\ntrue\t3\n"
      .. "false\tBrokerUnavailable: the app was closed\n", out)
    assert.equal(2, #worker.tasks)
  end)

  it("makes elements of a long list of results only when asked", function()
    local list = {}
    for i = 1, 50000 do
      list[i] = {}
    end
    collectgarbage()
    local before = collectgarbage("count")
    local all = app:enqueue_many(add, list)
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 500)
    assert.equal(20, #results.id(all, 50000))
  end)
end)
