--- `--log-format json`: every line is an object, whatever happens.

local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local wait_until = require("spec.support.wait").wait_until

local TASKS <const> = [[
local te = require("taskengine")
local app = te.app("tasks")
app:task("speak", { bind = true }, function(self, text)
  print("heard " .. text)
  io.write("no end")
  io.stderr:write("to stderr\n")
  self:log("warn", 'a "quoted" warning')
  return text
end)
app:task("program", function()
  os.execute([=[printf 'one\ntwo\377\n"three"']=])
  os.execute("echo to stderr >&2")
end)
app:task("fail", function() error("out\nof\27order") end)
app:task("die", function() os.exit(3) end)
]]

describe("--log-format json:", function()
  local server = redis_server.for_all_specs()
  local place = program.for_each_spec {
    server = server,
    files = { ["tasks.lua"] = TASKS },
  }

  -- All lines of a text, each of which has to be an object like the others.
  local function objects(text)
    assert.truthy(utf8.len(text))
    assert.matches("\n$", text)
    local list = {}
    for line in text:gmatch("([^\n]*)\n") do
      local object = core.json.decode(line)
      assert(type(object) == "table", "no object: " .. line)
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$",
        object.time)
      assert.equal("string", type(object.message))
      assert.is_true(object.pid > 0)
      assert.truthy(({ debug = 1, info = 1, warn = 1, error = 1 })
        [object.level])
      list[#list + 1] = object
    end
    return list
  end

  local function find(list, field, value)
    for _, object in ipairs(list) do
      if object[field] == value then
        return object
      end
    end
    local texts = {}
    for i, object in ipairs(list) do
      texts[i] = object.message
    end
    error(("no %s %s among: %s"):format(field, value,
      table.concat(texts, " | ")), 2)
  end

  local function start(...)
    local process = place:start { "worker", "tasks.lua", "-P", "1", "-n",
      "one", "--log-format", "json", ... }
    process:heard("stderr", '"message":"ready: ')
    return process
  end

  local function stop(process)
    process:kill("TERM")
    local ended = process:wait()
    assert.equal(0, ended.code)
    assert.equal("", ended.stdout)
    return objects(ended.stderr)
  end

  local function call(...)
    return place:run { "call", ... }
  end

  it("a worker's log from its first line to its last", function()
    local process = start()
    local id = call("speak", '["\\u0000 ö \\"x\\""]').stdout:match("%w+")
    place:run { "result", id, "--wait" }
    local list = stop(process)
    for _, object in ipairs(list) do
      assert.same({ "one", process.pid }, { object.worker, object.pid })
    end
    assert.matches("^ready: ", list[1].message)
    assert.equal("stopping", list[#list].message)
    local said = find(list, "message", 'heard \0 ö "x"')
    assert.same({ "info", "speak", id, 0 },
      { said.level, said.task, said.id, said.child })
    assert.equal("speak", find(list, "message", "no endto stderr").task)
    assert.equal("warn",
      find(list, "message", 'a "quoted" warning').level)
    assert.matches("^succeeded in %d", list[#list - 1].message)
    assert.same({ "speak", id, 0 }, { list[#list - 1].task,
      list[#list - 1].id, list[#list - 1].child })
  end)

  it("what programs write that tasks start", function()
    local process = start()
    assert.equal(0, call("program", "--wait").code)
    local list = stop(process)
    for _, text in ipairs { "one", "two\u{fffd}", '"three"to stderr' } do
      assert.equal("info", find(list, "message", text).level)
    end
  end)

  it("how tasks fail and children die", function()
    local process = start()
    assert.equal(1, call("fail", "--wait").code)
    assert.equal(1, call("die", "--wait").code)
    local list = stop(process)
    local failed = find(list, "task", "fail")
    assert.equal("warn", failed.level)
    assert.matches("^failed in .*out\nof\27order", failed.message)
    find(list, "message", "child 0 exited with status 3")
  end)

  it("why a worker does not start", function()
    place:write("broken.lua", "x = = 1")
    place:write("failing.lua", "error('no')")
    for _, words in ipairs {
      { "broken.lua" }, { "failing.lua" }, { "nothing.lua" },
      { "tasks.lua", "--grace", "long" }, { "tasks.lua", "--wrong" },
      { "tasks.lua", "--config", "nothing.lua" },
    } do
      local ended = place:run { "worker", "--log-format", "json",
        table.unpack(words) }
      assert.equal(2, ended.code)
      local list = objects(ended.stderr)
      assert.equal("error", list[#list].level)
    end
    local refused = place:run { "worker", "--wrong", "tasks.lua",
      "--log-format", "json" }
    assert.equal(2, refused.code)
    assert.matches("unknown option '--wrong'",
      objects(refused.stderr)[1].message, 1, true)
    local ended = place:run({ "worker", "--log-format=json", "tasks.lua", "-b",
      "redis://127.0.0.1:1" }, { env = { TASKENGINE_BROKER_TIMEOUT = "0.3" } })
    assert.equal(3, ended.code)
    assert.matches("refused", objects(ended.stderr)[1].message)
  end)

  it("the lines that nobody had read", function()
    local process = place:start({ "-c", ([[
      mkfifo gate
      { "%s" worker tasks.lua -P 1 -c 1 --log-format json 2>&1 >/dev/null &
        echo $! >pid; wait; } | { read go <gate; cat; }
      ]]):format(program.PATH) }, { program = "sh" })
    wait_until(function()
      local status = place:run { "status", "--json" }.stdout
      return status:find('"alive":true', 1, true)
    end)
    place:write("flood.lua", [[
      local app = require("taskengine").app("x")
      local many = {}
      for i = 1, 400 do many[i] = { ("x"):rep(10000) } end
      app:main(function()
        for _, r in ipairs(app:enqueue_many(app:task("speak",
          function() end), many)) do r:get() end
      end)]])
    local ended = place:run({ "-c", ('eval "$(%s env)"; exec lua5.4 flood.lua')
      :format(program.PATH) }, { program = "sh" })
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    place:write("gate", "go\n")
    process:heard("stdout", "left out here: nobody read stderr")
    local file <close> = assert(io.open(place.dir .. "/pid"))
    assert(os.execute("kill -TERM " .. file:read("a")))
    find(objects(process:wait().stdout), "task", "speak")
  end)

  it("what run says, and its worker", function()
    place:write("script.lua", [[
      print("loading")
      local app = require("taskengine").app("script")
      local greet = app:task("greet", function(name)
        print("Hello " .. name)
        os.execute("echo from a program")
      end)
      app:main(function(args)
        greet:delay("Ada"):get()
        app:send_task("x", {}, { queue = "nobody" })
        print("the result")
        if args[1] then error("the main fails") end
      end)]])
    local ended = place:run { "run", "-P", "1", "--log-format", "json",
      "script.lua" }
    assert.same({ 0, "loading\nthe result\n" }, { ended.code, ended.stdout })
    local list = objects(ended.stderr)
    assert.equal("greet", find(list, "message", "Hello Ada").task)
    find(list, "message", "from a program")
    ended = place:run { "run", "--log-format", "json", "script.lua", "x" }
    assert.equal(1, ended.code)
    list = objects(ended.stderr)
    local matched
    for _, object in ipairs(list) do
      matched = matched or object.level == "error"
        and object.message:find("the main fails", 1, true)
    end
    assert.truthy(matched)
  end)
end)
