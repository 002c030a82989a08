--- Tasks whose arguments and results travel as JSON, and those whose do not,
-- through the same workers.

local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")

local TASKS <const> = [[
local te = require("taskengine")
local app = te.app("tasks")

app:task("sum", function(x, y)
  return { sum = x + y, kind = math.type(x + y) }
end)
app:task("nothing", function() end)
app:task("give", function(what)
  return ({ bytes = "\xff", nan = { { 0 / 0 } }, mixed = { "one", x = 1 },
    closure = { { on_done = print } } })[what]
end)
app:task("fail", function()
  error({ kind = "Mine", message = "no", value = "\xff" })
end)
app:task("ask", function()
  return app:send_task("sum", { 1, 2.0 }):get()
end)
app:task("echo", function(...) return ... end)
app:task("measure", function(list)
  local seen = {}
  for i = 1, list.n or #list do
    local value = list[i]
    seen[i] = (value == nil or value == te.null) and "nil" or value
  end
  return { n = list.n or "none", seen = seen }
end)
app:task("show_headers", { bind = true }, function(self)
  return { self.headers.trace, self.parent_id or te.null }
end)
]]

describe("the serializer", function()
  local server = redis_server.for_all_specs { tcp = true }
  local place = program.for_each_spec {
    server = server,
    files = { ["tasks.lua"] = TASKS },
  }
  local json_app, plain_app

  before_each(function()
    json_app = te.app("json", { broker = server.url, serializer = "json" })
    plain_app = te.app("plain", { broker = server.url })
  end)

  after_each(function()
    json_app:close()
    plain_app:close()
  end)

  local function start_worker(serializer)
    return place:worker({ "tasks.lua", "-P", "1" }, {
      env = { TASKENGINE_SERIALIZER = serializer },
    })
  end

  local function ask(app, name, args, opts)
    return app:send_task(name, args or {}, opts):get { timeout = 20 }
  end

  -- What Redis keeps of a task that waits, and of one that has ended.
  local function waiting_body()
    return core.envelope.read(server:cli("LINDEX", "te:{default.0}:r:default",
      "0")).body
  end

  local function kept_outcome(id)
    return server:cli("HGET", "te:{default.0}:v:" .. id:sub(1, 19), id:sub(20))
  end

  it("json is plain to read in Redis", function()
    local r = json_app:send_task("sum", { 4, 6.0 })
    assert.equal("[[4,6.0]]", waiting_body())
    start_worker()
    assert.same({ sum = 10.0, kind = "float" }, r:get { timeout = 20 })
    assert.equal('J{"kind":"float","sum":10.0}', kept_outcome(r.id))
    r = json_app:send_task("nothing")
    assert.is_nil(r:get { timeout = 20 })
    assert.equal("Jnull", kept_outcome(r.id))
  end)

  it("of the caller holds, whatever the worker's", function()
    for _, serializer in ipairs { "msgpack", "json" } do
      local running = start_worker(serializer)
      assert.same({ sum = 3, kind = "integer" }, ask(json_app, "sum", { 1, 2 }))
      local r = plain_app:send_task("sum", { 1, 2 })
      assert.same({ sum = 3, kind = "integer" }, r:get { timeout = 20 })
      assert.equal("S", kept_outcome(r.id):sub(1, 1))
      -- A task that sends tasks is a caller with its worker's settings.
      assert.same({ sum = 3.0, kind = "float" }, ask(plain_app, "ask"))
      assert.same({ sum = 3.0, kind = "float" }, ask(json_app, "ask"))
      for _, app in ipairs { plain_app, json_app } do
        assert.same({ "t", te.null },
          ask(app, "show_headers", {}, { headers = { trace = "t" } }))
      end
      running:kill("TERM")
      assert.equal(0, running:wait().code)
    end
  end)

  describe("takes the table of a group", function()
    -- With json without its `n`, and with te.null for nil.
    local function each(fn)
      start_worker()
      fn(plain_app, { 1, nil, 3, n = 3 }, 3)
      fn(json_app, { 1, te.null, 3 }, "none")
    end

    local function of(app)
      local function echo(...)
        return app:signature("echo", table.pack(...))
      end
      return echo, te.group { echo(1), echo(), echo(3) },
        app:signature("measure", {})
    end

    local function get(canvas)
      return canvas():get { timeout = 20 }
    end

    it("that a body returns", function()
      each(function(app, values)
        local echo, group = of(app)
        assert.same(values, get(group | echo()))
      end)
    end)

    it("that a task passes on to the next", function()
      each(function(app, _, n)
        local echo, group, measure = of(app)
        assert.same({ n = n, seen = { 1, "nil", 3 } },
          get(group | echo() | measure))
      end)
    end)

    it("as an argument", function()
      each(function(app, _, n)
        local _, group = of(app)
        assert.same({ n = n, seen = { 1, "nil", 3 } },
          ask(app, "measure", { get(group) }))
      end)
    end)

    it("from a group of tasks that take that of another group", function()
      each(function(app, values)
        local echo, group = of(app)
        assert.same({ n = 1, seen = { values } },
          get(group | te.group { echo() } | app:signature("measure", {})))
      end)
    end)

    it("as what a function is called for one by one", function()
      each(function(app)
        local echo, group = of(app)
        local map = echo()
        map.over = "map"
        assert.same({ 1, te.null, 3 }, get(group | map))
      end)
    end)

    it("of no tasks, or of tasks that return nothing", function()
      each(function(app)
        local echo = of(app)
        for n, group in pairs {
          [0] = te.group {}, [2] = te.group { echo(), echo() },
        } do
          assert.same({ n = n }, ask(app, "echo", { get(group) }))
          assert.same({ n = n }, get(group | echo()))
        end
      end)
    end)
  end)

  it("json refuses what it cannot hold, and says where", function()
    for why, args in pairs {
      ["args[2].on_done: a function cannot be sent"] =
        { 1, { on_done = print } },
      ["args[1]: bytes that are not UTF-8 cannot be written as JSON"] =
        { "\xff" },
      ["args[1][2]: inf cannot be written as JSON"] = { { 1, 1 / 0 } },
      ["args[1].x[7]: a key that is a number cannot be written as JSON"] =
        { { x = { [7] = 1 } } },
    } do
      local ok, e = pcall(json_app.send_task, json_app, "sum", args)
      assert.is_false(ok)
      assert.same({ "CannotTravel", why }, { e.kind, e.message })
    end
    local ok, e = pcall(json_app.send_task, json_app, "sum",
      { ("x"):rep(1024 * 1024) })
    assert.is_false(ok)
    assert.equal("TooLarge", e.kind)
  end)

  it("json refuses results that it cannot hold", function()
    start_worker()
    for what, why in pairs {
      bytes = "result: bytes that are not UTF-8 cannot be written as JSON",
      nan = "result[1][1]: nan cannot be written as JSON",
      mixed = "result[1]: a key that is a number cannot be written as JSON",
      closure = "result[1].on_done: a function cannot be sent",
    } do
      local r = json_app:send_task("give", { what })
      local ok, e = r:wait(20)
      assert.is_false(ok)
      assert.same({ "CannotTravel", why }, { e.kind, e.message })
    end
    assert.equal("\xff", ask(plain_app, "give", { "bytes" }))
    -- An error comes with what JSON could not say of it.
    local _, e = json_app:send_task("fail"):wait(20)
    assert.same({ "Mine", "no", "\xff" }, { e.kind, e.message, e.value.value })
  end)

  it("of an app that is closed can be another when it goes on", function()
    start_worker()
    local app = te.app("turns", { broker = server.url })
    local sum = app:task("sum", function() end)
    local r = sum:delay(1, 2)
    assert.equal(3, r:get({ timeout = 20 }).sum)
    assert.equal("S", kept_outcome(r.id):sub(1, 1))
    app:close()
    app:configure { serializer = "json" }
    r = sum:delay(1, 2)
    assert.equal(3, r:get({ timeout = 20 }).sum)
    assert.equal('J{"kind":"integer","sum":3}', kept_outcome(r.id))
    app:close()
  end)

  it("is a setting of the commands too", function()
    start_worker()
    for serializer, letter in pairs { json = "J", msgpack = "S" } do
      local env = { TASKENGINE_SERIALIZER = serializer }
      local sent = place:run({ "call", "sum", "[4, 6]" }, { env = env })
      assert.same({ 0, "" }, { sent.code, sent.stderr })
      local id = sent.stdout:match("^(%w+)\n$")
      for _, reader in ipairs { "json", "msgpack" } do
        local ended = place:run({ "result", id, "--wait" },
          { env = { TASKENGINE_SERIALIZER = reader } })
        assert.same({ 0, '{"kind":"integer","sum":10}\n', "" },
          { ended.code, ended.stdout, ended.stderr })
      end
      assert.equal(letter, kept_outcome(id):sub(1, 1))
      local ended = place:run({ "call", "nothing", "--wait" }, { env = env })
      assert.same({ 0, "null\n" }, { ended.code, ended.stdout })
    end
    place:write("te.conf.lua", 'return { serializer = "jsno" }')
    local ended = place:run { "call", "sum", "[4, 6]", "--config",
      "te.conf.lua" }
    assert.equal(2, ended.code)
    assert.matches("te.conf.lua: serializer: one of json, msgpack expected,"
      .. " got \"jsno\" (did you mean 'json'?)", ended.stderr, 1, true)
  end)
end)
