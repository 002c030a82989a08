--- What a worker's child makes of the files that it is given; each in a
-- process of its own.

local core = require("taskengine.core")
local script = require("spec.support.script")

describe("a worker's child", function()
  -- Loads files; returns what the master is told, or the error.
  local function load_files(files, asked)
    files["main.lua"] = [[
      local core = require("taskengine.core")
      local asked = assert(core.json.decode(arg[1]))
      require("taskengine.mode").name = "worker"
      local hello, problem = require("taskengine.child").load(asked)
      print(core.json.encode(hello or { error = problem }))
    ]]
    asked.settings = asked.settings or {}
    local folder <close> = script.folder(files)
    local json = core.json.encode(asked):gsub('"settings":%[%]',
      '"settings":{}')
    local out, err = script.run(folder.dir, ("main.lua '%s'"):format(json))
    assert.equal("", err)
    local line = out:match("([^\n]*)\n$")
    return assert(core.json.decode(line)), out:sub(1, -#line - 2)
  end

  local TASKS <const> = [[
    local te = require("taskengine")
    local app = te.app("tasks", { namespace = "shop", lease = 7 })
    app:task("add", function(x, y) return x + y end)
    app:task("mail", { queue = "slow", bind = true, time_limit = 3 }, print)
    app:main(function() error("not here") end)
  ]]

  it("tells the tasks with their options and places, and the settings",
    function()
      local hello = load_files({ ["tasks.lua"] = TASKS },
        { files = { "tasks.lua" } })
      assert.same({
        add = { queue = "default", place = "tasks.lua:3" },
        mail = { queue = "slow", place = "tasks.lua:4", bind = true,
          time_limit = 3 },
      }, hello.tasks)
      assert.same({ "shop", 7, 30 }, { hello.settings.namespace,
        hello.settings.lease, hello.settings.grace })
      assert.is_nil(hello.settings.broker)
    end)

  it("tells what of their retries can be told", function()
    local hello = load_files({ ["tasks.lua"] = [[
      local app = require("taskengine").app("tasks")
      app:task("a", { autoretry_for = print, max_retries = math.huge }, print)
      app:task("b", { autoretry_for = { "NoStock" }, max_retries = 2 }, print)
    ]] }, { files = { "tasks.lua" } })
    assert.same({ "function", false, { "NoStock" }, 2 }, {
      hello.tasks.a.autoretry_for, hello.tasks.a.max_retries,
      hello.tasks.b.autoretry_for, hello.tasks.b.max_retries })
  end)

  it("tells what of unique tasks others can do", function()
    local hello = load_files({ ["tasks.lua"] = [[
      local app = require("taskengine").app("tasks")
      app:task("a", { unique = true }, print)
      app:task("b", { unique = { key = "one", for_s = 5 } }, print)
      app:task("c", { unique = { key = print } }, print)
    ]] }, { files = { "tasks.lua" } })
    assert.same({ true, { key = "one", for_s = 5 }, nil }, {
      hello.tasks.a.unique, hello.tasks.b.unique, hello.tasks.c.unique })
  end)

  it("says that nothing can be sent from a file that is loaded", function()
    local hello = load_files({ ["tasks.lua"] = [[
      local app = require("taskengine").app("tasks")
      local add = app:task("add", function(x, y) return x + y end)
      add:delay(1, 2)
    ]] }, { files = { "tasks.lua" } })
    assert.matches("^tasks.lua:3: a worker loads this file and cannot send"
      .. " tasks yet", hello.error)
  end)

  it("lets a file find its neighbours, and `arg`, wherever it lies",
    function()
      local hello, out = load_files({
        ["a/b/tasks.lua"] = [[
          local helper = require("helper")
          print(arg[0], #arg, select("#", ...), require("pack").name)
          require("taskengine").app("x"):task(helper.name, print)
          print(package.path:match("^[^;]*;[^;]*"))
          print(package.cpath:match("^[^;]*;[^;]*"))
        ]],
        ["a/b/helper.lua"] = "return { name = 'from.helper' }",
        ["a/b/pack/init.lua"] = "return { name = 'a pack' }",
      }, { files = { "a/b/tasks.lua" }, modules = "/opt/native" })
      assert.truthy(hello.tasks["from.helper"])
      assert.equal("a/b/tasks.lua\t0\t0\ta pack\n"
        .. "a/b/?.lua;a/b/?/init.lua\n"
        .. "a/b/?.so;/opt/native/?.so\n", out)
    end)

  it("collects the tasks of all apps, also of files that are required",
    function()
      local hello = load_files({
        ["one.lua"] = [[
          require("shared")
          require("taskengine").app("one"):task("one", print)
        ]],
        ["two.lua"] = [[
          require("taskengine").app("two"):task("two", print)
        ]],
        ["shared.lua"] = [[
          require("taskengine").app("shared"):task("three", print)
        ]],
      }, { files = { "one.lua", "two.lua" } })
      assert.same({ "one.lua:2", "two.lua:1", "./shared.lua:1" }, {
        hello.tasks.one.place, hello.tasks.two.place, hello.tasks.three.place })
    end)

  it("runs a file once, that is named and required", function()
    local files = {
      ["tasks.lua"] = TASKS,
      ["other.lua"] = [[
        assert(require("tasks") == require("tasks"))
        require("taskengine").app("x"):task("other", print)
      ]],
      -- The name of a library of Lua's is no obstacle.
      ["string.lua"] = 'require("taskengine").app("s"):task("s", print)',
    }
    for _, order in ipairs { { "tasks.lua", "other.lua", "string.lua" },
      { "string.lua", "other.lua", "tasks.lua" } } do
      local hello = load_files(files, {
        files = order,
        settings = { namespace = "mine" },
      })
      assert.is_nil(hello.error)
      assert.truthy(hello.tasks.add and hello.tasks.other and hello.tasks.s)
    end
  end)

  it("says what is wrong, with file and line and no stack of ours", function()
    local two = [[
      local te = require("taskengine")
      te.app("two"):task("add", print)
    ]]
    for name, case in pairs {
      missing = { {}, { "none.lua" },
        "^none.lua: no such file or directory$" },
      folder = { { ["sub/x.lua"] = "" }, { "sub" }, "^sub: a directory$" },
      syntax = { { ["x.lua"] = "\nlocal = 5" }, { "x.lua" },
        "^x.lua:2: <name> expected near '='$" },
      running = { { ["x.lua"] = "local function f()\nerror('no')\nend\nf()" },
        { "x.lua" }, "^x.lua:2: no\nstack traceback:\n"
        .. "\tx.lua:2: in local 'f'\n\tx.lua:4: in main chunk$" },
      object = { { ["x.lua"] = "error({ message = 'mine' })" }, { "x.lua" },
        "^mine\nstack traceback:\n\tx.lua:1: in main chunk$" },
      ["no task"] = { { ["x.lua"] = "return 1" }, { "x.lua" },
        "^x.lua: no task is defined there$" },
      twice = { { ["tasks.lua"] = TASKS, ["two.lua"] = two },
        { "tasks.lua", "two.lua" }, "^two tasks are called 'add': at"
        .. " tasks.lua:3 and at two.lua:2$" },
      namespaces = { { ["tasks.lua"] = TASKS,
        ["two.lua"] = two:gsub("add", "sub") }, { "tasks.lua", "two.lua" },
        "^the files have two settings for namespace; one worker has one$" },
      misuse = { { ["x.lua"] = [[
        local app = require("taskengine").app("x")
        app:task("a b", print)
      ]] }, { "x.lua" }, "^x.lua:2: task: name: a name " },
    } do
      local hello = load_files(case[1], { files = case[2] })
      assert.matches(case[3], hello.error, 1, name)
    end
  end)

  it("lets the command line settle what the files differ in", function()
    local hello = load_files({
      ["one.lua"] = [[require("taskengine").app("one", { namespace = "a",
        broker = "redis://one" }):task("one", print)]],
      ["two.lua"] = [[require("taskengine").app("two", { namespace = "b",
        broker = "redis://two" }):task("two", print)]],
    }, {
      files = { "one.lua", "two.lua" },
      settings = { namespace = "mine", lease = 3 },
      has_broker = true,
    })
    assert.same({ "mine", 3 },
      { hello.settings.namespace, hello.settings.lease })
  end)
end)
