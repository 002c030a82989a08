local misuse = require("spec.support.misuse")
local script = require("spec.support.script")
local te = require("taskengine")

describe("te.app", function()
  it("takes a name and settings", function()
    assert.equal("app tasks", tostring(te.app("tasks", { lease = 5 })))
    assert.equal("app: name: a name (1 to 128 of the characters A-Z a-z 0-9 _"
      .. ' . : -) expected, got "a b"', misuse(te.app, "a b"))
    assert.matches("^app: name: .* expected, got nil$", misuse(te.app))
    assert.equal("configure: settings: a table expected, got 5",
      misuse(te.app, "x", 5))
    assert.equal("configure: unknown setting 'borker' (did you mean"
      .. " 'broker'?)", misuse(te.app, "x", { borker = "redis://h" }))
  end)

  it("refuses brokers that cannot be used", function()
    assert.matches("^configure: broker: .*not built yet", misuse(te.app, "x",
      { broker = "rediss://host" }))
    assert.matches("^configure: broker: ", misuse(te.app, "x",
      { broker = "postgres://host" }))
    local problem = misuse(te.app, "x", { broker = "redis://u:secret@:x" })
    assert.is_nil(problem:find("secret", 1, true))
  end)
end)

describe("app:configure", function()
  it("changes settings, and says which hold", function()
    local app = te.app("x", { lease = 5, grace = 5 })
    assert.equal(app, app:configure { grace = 6, timezone = "Europe/Paris" })
    local settings = app:settings()
    assert.same({ 5, 6, "Europe/Paris" }, { settings.lease, settings.grace,
      settings.timezone })
    assert.equal("configure: lease: seconds from 1 to 3600 expected, got"
      .. ' "long"', misuse(app.configure, app, { lease = "long" }))
  end)

  it("reads files beside the one that calls", function()
    local folder <close> = script.folder {
      ["sub/main.lua"] = [[
        local te = require("taskengine")
        local app = te.app("x"):configure_from("config.lua")
        print(app:settings().lease)
        print(pcall(app.configure_from, app, "wrong.lua"))
        print(pcall(app.configure_from, app, "missing.lua"))
      ]],
      ["sub/config.lua"] = "return { lease = 9 }",
      ["sub/wrong.lua"] = "return { lese = 9 }",
    }
    local out = script.run(folder.dir, "sub/main.lua")
    assert.matches("^9\nfalse\tsub/main.lua:4: configure_from: sub/wrong.lua:"
      .. " unknown setting 'lese' %(did you mean 'lease'%?%)\n"
      .. "false\tsub/main.lua:5: configure_from: .*sub/missing.lua", out)
    local app = te.app("x")
    assert.equal("configure_from: path: a string expected, got nil",
      misuse(app.configure_from, app))
  end)
end)

describe("app:task", function()
  local app

  before_each(function()
    app = te.app("spec")
  end)

  it("makes a function that can be called here and now", function()
    local add = app:task("add", function(x, y)
      return x + y
    end)
    assert.equal(10, add(4, 6))
    assert.equal("task add", tostring(add))
    assert.equal(add, app.tasks.add)
  end)

  it("gives a bound task a self of its own, here too", function()
    local folder <close> = script.folder { ["main.lua"] = [[
      local te = require("taskengine")
      local t = te.app("x"):task("t", { bind = true }, function(self, ...)
        self:log("info", "here")
        return self.id, self.name, self.retries, self.args.n, select("#", ...)
      end)
      print(t("a", nil))
    ]] }
    local out, err = script.run(folder.dir, "main.lua")
    assert.equal("nil\tt\t0\t2\t2\n", out)
    assert.equal("info: here\n", err)
  end)

  it("refuses a name twice, and says where the first is", function()
    app:task("add", print)
    local line = debug.getinfo(1, "l").currentline - 1
    assert.equal("task: 'add' is defined already, at"
      .. " spec/unit/api/app_spec.lua:" .. line,
      (misuse(app.task, app, "add", print):gsub("%./spec", "spec")))
  end)

  it("refuses names, options and functions that are none", function()
    assert.matches("^task: name: a name .* expected, got a function$",
      misuse(app.task, app, print))
    assert.equal("task 'x': a function expected, got nil",
      misuse(app.task, app, "x"))
    assert.equal("task 'x': a function expected, got a table",
      misuse(app.task, app, "x", {}))
    assert.equal("task 'x': options: a table expected, got 5",
      misuse(app.task, app, "x", 5, print))
    assert.equal("task 'x': unknown option 'quue' (did you mean 'queue'?)",
      misuse(app.task, app, "x", { quue = "q" }, print))
    assert.equal("task 'x': the option 'rate_limit' is not built yet",
      misuse(app.task, app, "x", { rate_limit = 3 }, print))
    assert.matches("^task 'x': expires is until when it may begin, deadline ",
      misuse(app.task, app, "x", { expires = 1, deadline = 1 }, print))
    assert.equal("task 'x': queue: a name (1 to 128 of the characters A-Z a-z"
      .. ' 0-9 _ . : -) expected, got "a\\nb"',
      misuse(app.task, app, "x", { queue = "a\nb" }, print))
    assert.same({}, app.tasks)
  end)

  it("leaves nothing behind of a task that it refused", function()
    pcall(app.task, app, "x", { bind = 1 }, print)
    assert.truthy(app:task("x", print))
  end)
end)

-- Each of these raises before anything is sent: there is no broker here.
describe("a call that sends", function()
  local app, add

  before_each(function()
    app = te.app("spec", { broker = "redis+unix:///nowhere/at.all",
      broker_timeout = 0.05 })
    add = app:task("add", function() end)
  end)

  after_each(function()
    app:close()
  end)

  it("checks its options at the caller's line", function()
    for name, problem in pairs {
      apply_async = misuse(add.apply_async, add, {}, { countdown = -1 }),
      send_task = misuse(app.send_task, app, "x", {}, { countdown = -1 }),
      enqueue_many = misuse(app.enqueue_many, app, add, {},
        { countdown = -1 }),
    } do
      assert.equal(name .. ": countdown: seconds from 0 to 3162240000"
        .. " expected, got -1", problem)
    end
    assert.equal("apply_async: arguments: a table expected, got 4",
      misuse(add.apply_async, add, 4, 6))
    assert.equal("enqueue_many: a task_id is for one task only",
      misuse(app.enqueue_many, app, add, {}, { task_id = "x" }))
    for _, opts in ipairs { { link = add:s() }, { link_error = add:s() } } do
      assert.equal("enqueue_many: link and link_error are for one task only; a"
        .. " te.group of signatures takes them",
        misuse(app.enqueue_many, app, add, {}, opts))
    end
    assert.equal("enqueue_many: arguments of call 2: a table expected, got 7",
      misuse(app.enqueue_many, app, add, { {}, 7 }))
    assert.equal("enqueue_many: list of argument lists: a table expected, got"
      .. " nil", misuse(app.enqueue_many, app, add))
    assert.matches("^send_task: name: a name .* got nil$",
      misuse(app.send_task, app))
    local other = te.app("y"):task("mul", print)
    assert.equal("enqueue_many: task mul belongs to app y, not to app spec;"
      .. " each app has a broker of its own",
      misuse(app.enqueue_many, app, other, {}))
    assert.matches("^enqueue_many: name: a name .* got a table$",
      misuse(app.enqueue_many, app, {}, {}))
    assert.matches("^result: id: a name .* got 5$",
      misuse(app.result, app, 5))
  end)

  it("says at the caller's line that a dot has to be a colon", function()
    for name, given in pairs { delay = 4, apply_async = { 4 } } do
      assert.equal(("use task:%s(...), with a colon"):format(name),
        misuse(add[name], given))
    end
    for name, given in pairs {
      task = "x", send_task = "x", enqueue_many = add, result = "x",
      configure = {}, configure_from = "x", main = print, settings = false,
      close = false,
    } do
      assert.equal(("use app:%s(...), with a colon"):format(name),
        misuse(app[name], given or nil))
    end
    local seen
    app:task("bound", { bind = true }, function(self)
      seen = misuse(self.log, "info", "text")
    end)()
    assert.equal("use self:log(...), with a colon", seen)
  end)

  it("raises at the caller's line what cannot travel", function()
    assert.equal("CannotTravel: args[2].on_done: a function cannot be sent"
      .. " (task add)", misuse(add.delay, add, 1, { on_done = print }))
    local loop = {}
    loop.loop = loop
    assert.matches("^CannotTravel: args%[1%]%.loop: ",
      misuse(add.delay, add, loop))
    assert.equal("CannotTravel: options.headers.on.done: a function cannot be"
      .. " sent (task add)", misuse(add.apply_async, add, {},
      { headers = { on = { done = print } } }))
    assert.matches("^TooLarge: .*1048576",
      misuse(add.delay, add, ("x"):rep(1024 * 1024)))
  end)

  it("raises at the caller's line that there is no broker", function()
    local ok, e = pcall(add.delay, add, 1)
    assert.is_false(ok)
    assert.same({ "BrokerUnavailable", false, "add" },
      { e.kind, e.indeterminate, e.name })
    assert.matches("^BrokerUnavailable: the broker cannot be reached: .*"
      .. "/nowhere/at.all", misuse(add.delay, add, 1))
    assert.matches("^BrokerUnavailable: ",
      misuse(app.enqueue_many, app, add, { {}, {} }))
  end)

  it("refuses new settings once the app is in use", function()
    app:result("x")
    assert.equal("configure: the app is in use, its settings cannot change",
      misuse(app.configure, app, { lease = 5 }))
  end)

  it("says what is wrong with the environment", function()
    local folder <close> = script.folder { ["main.lua"] = [[
      local te = require("taskengine")
      local app = te.app("x")
      app:send_task("x")
    ]] }
    local _, err, code = script.run(folder.dir, "TASKENGINE_LEASE=x main.lua")
    assert.equal(1, code)
    assert.matches("lua5.4: main.lua:3: TASKENGINE_LEASE: lease: seconds from"
      .. ' 1 to 3600 expected, got "x"\n', err)
  end)
end)

describe("app:main", function()
  local FILE <const> = [[
    local te = require("taskengine")
    local app = te.app("x")
    app:main(function(args)
      print("main", #args, table.concat(args, " "))
    end)
    print("after")
    return app
  ]]

  it("calls the function at that point when the file is the program",
    function()
      local folder <close> = script.folder { ["main.lua"] = FILE }
      assert.equal("main\t2\ta b\nafter\n",
        (script.run(folder.dir, "main.lua a b")))
    end)

  it("does nothing when the file is required, or in a worker", function()
    local folder <close> = script.folder {
      ["tasks.lua"] = FILE,
      ["other.lua"] = 'require("tasks")',
      ["worker.lua"] = [[
        require("taskengine.mode").name = "worker"
        dofile("worker_main.lua")
      ]],
    }
    os.execute(("cd '%s' && cp tasks.lua worker_main.lua"):format(folder.dir))
    assert.equal("after\n", (script.run(folder.dir, "other.lua")))
    assert.equal("after\n", (script.run(folder.dir, "worker.lua")))
  end)

  it("calls the function when a command runs the file", function()
    local folder <close> = script.folder {
      ["tasks.lua"] = FILE,
      ["run.lua"] = [[
        local mode = require("taskengine.mode")
        mode.name, mode.args = "run", { "x" }
        dofile("tasks.lua")
        print(mode.has_run)
      ]],
    }
    assert.equal("main\t1\tx\nafter\ntrue\n",
      (script.run(folder.dir, "run.lua")))
  end)

  it("takes a function", function()
    local app = te.app("x")
    assert.equal("main: a function expected, got nil", misuse(app.main, app))
  end)
end)

describe("app:revoke", function()
  it("takes ids and options", function()
    local app = te.app("x")
    assert.matches("^revoke: id: .* expected, got 7$",
      misuse(app.revoke, app, 7))
    assert.matches("^revoke: id: ", misuse(app.revoke, app, "a b"))
    assert.matches("^revoke: an id or a list of ids .* of their own$",
      misuse(app.revoke, app, setmetatable({}, {})))
    assert.matches("^revoke: id 2: .* expected, got 7$",
      misuse(app.revoke, app, { "a", 7 }))
    assert.equal("revoke: unknown option 'terminated' (did you mean"
      .. " 'terminate'?)",
      misuse(app.revoke, app, "a", { terminated = true }))
    assert.equal("revoke: terminate: true or false expected, got 1",
      misuse(app.revoke, app, { "a" }, { terminate = 1 }))
  end)
end)

describe("a TaskError", function()
  it("shows where, what and whose", function()
    local errors = require("taskengine.errors")
    local e = errors.new { kind = "Error", message = "no", id = "i",
      name = "add" }
    assert.equal("Error: no (task add, i)", tostring(e))
    e.name = nil
    assert.equal("Error: no (task i)", tostring(e))
    e.id = nil
    assert.equal("Error: no", tostring(e))
    assert.equal("Error: no", misuse(errors.raise, e))
    assert.equal(te.TaskError, getmetatable(e))
    assert.is_true(errors.is(e))
    assert.is_false(errors.is {})
    assert.is_false(errors.is("x"))
  end)
end)
