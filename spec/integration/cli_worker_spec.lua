local core = require("taskengine.core")
local files = require("spec.support.files")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local wait_until = require("spec.support.wait").wait_until

local TASKS <const> = [[
local te = require("taskengine")
local exists = require("taskengine.core").sys.stat
local app = te.app("tasks")
app:task("addition", function(x, y) return x + y end)
app:task("gate", function(file)
  while not exists(file) do te.sleep(0.01) end
  return "through"
end)
app:task("spin", function() while true do end end)
app:task("broker", function() return os.getenv("TASKENGINE_BROKER") or "-" end)
app:task("brew", { queue = "kitchen" }, function() end)
]]

-- What is in a file; nothing, of a process that has ended.
local function read(path)
  return files.read(path) or ""
end

describe("taskengine worker", function()
  local place = program.for_each_spec { files = { ["tasks.lua"] = TASKS } }

  local function worker(...)
    return place:run { "worker", ... }
  end

  local function result_of(...)
    local ended = place:run { "call", ... }
    assert(ended.code == 0, ended.stderr)
    return ended.stdout
  end

  describe("with a file that cannot be used", function()
    local function assert_refused(message, ...)
      local ended = worker(...)
      assert.same({ 2, "" }, { ended.code, ended.stdout })
      assert.equal("taskengine: " .. message .. "\n", ended.stderr)
    end

    it("says that it is missing", function()
      assert_refused("nothing.lua: no such file or directory", "nothing.lua")
    end)

    it("says that it is a directory", function()
      assert_refused(".: this is a directory, a Lua file is expected", ".")
    end)

    it("says where its syntax is wrong", function()
      place:write("broken.lua", "local x = 1\nlocal y = = 2\n")
      assert_refused("broken.lua:2: unexpected symbol near '='", "tasks.lua",
        "broken.lua")
    end)

    it("takes no compiled code", function()
      place:write("code.lua", string.dump(function() end))
      assert_refused("code.lua: attempt to load a binary chunk (mode is 't')",
        "code.lua")
    end)

    it("says where it failed, and shows no line of ours", function()
      place:write("failing.lua", "\nlocal function f() error('no!') end\nf()\n")
      assert_refused("failing.lua:2: no!\nstack traceback:\n"
        .. "\tfailing.lua:2: in local 'f'\n\tfailing.lua:3: in main chunk",
        "failing.lua")
    end)

    it("says that it defines no task", function()
      place:write("empty.lua", "return 1\n")
      assert_refused("empty.lua: no task is defined there", "empty.lua")
    end)

    it("says which task is there twice, and where", function()
      place:write("twice.lua", TASKS .. "app:task('gate', function() end)\n")
      local ended = worker("twice.lua")
      assert.equal(2, ended.code)
      assert.matches("^taskengine: twice.lua:12: task: 'gate' is defined"
        .. " already, at twice.lua:5\n", ended.stderr)
      place:write("other.lua", TASKS)
      ended = worker("tasks.lua", "other.lua")
      assert.equal(2, ended.code)
      assert.matches("^taskengine: two tasks are called '%w+':"
        .. " at %w+.lua:%d+ and at %w+.lua:%d+\n$", ended.stderr)
    end)

    it("says that its process ended", function()
      place:write("leaving.lua", "os.exit(3)\n")
      local ended = worker("leaving.lua", "-P", "2")
      assert.equal(2, ended.code)
      assert.matches("taskengine: leaving.lua: the process that loads it exited"
        .. " with status 3\n", ended.stderr)
    end)

    it("takes no two brokers or namespaces", function()
      for _, setting in ipairs { 'broker = "embedded://%s"',
        'namespace = "%s"' } do
        for _, name in ipairs { "one", "two" } do
          place:write(name .. ".lua", ([[
            local te = require("taskengine")
            local app = te.app("x", { ]] .. setting .. [[ })
            app:task("%s", function() end)]]):format(name, name))
        end
        local ended = worker("one.lua", "two.lua")
        assert.equal(2, ended.code)
        assert.matches("the files have two settings for "
          .. setting:match("%w+"), ended.stderr)
      end
    end)
  end)

  for message, words in pairs {
    ["%-P: an integer from 1 to 512 expected, got 0"] = { "-P", "0" },
    ["%-P: an integer from 1 to 512 expected, got 10000"] = { "-P10000" },
    ["%-%-processes: an integer .* got \"two\""] = { "--processes=two" },
    ["%-c: an integer from 1 to 1000 expected, got 1.5"] = { "-c", "1.5" },
    ["%-Q: queue: a name .* got \"a\\nb\""] = { "-Q", "ok,a\nb" },
    ["%-Q: queue: a name .* got \"\""] = { "-Q", "a,,b" },
    ["%-n: a name .* got \"a b\""] = { "-n", "a b" },
    ["%-%-grace: seconds from 0 to 86400 expected, got %-1"] =
      { "--grace", "-1" },
    ["%-l: one of debug, info, warn, error, off expected, got \"loud\""] =
      { "-l", "loud" },
    ["rediss:// is not built yet"] = { "-b", "rediss://:secret@host" },
    ["redis%+sentinel:// is not built yet"] =
      { "-b", "redis+sentinel://:secret@host" },
    ["a broker URL begins with redis://"] = { "-b", "http://:secret@host" },
    ["the option %-%-beat is not built yet"] = { "--beat" },
    ["%-%-time%-limit: seconds from 0.001 to 4294967 expected, got 0"] =
      { "--time-limit", "0" },
    ["soft_time_limit %(5 s%) has to be less than time_limit %(3 s%)"] =
      { "--time-limit", "3", "--soft-time-limit", "5" },
    ["unknown option '%-%-proceses' %(did you mean '%-%-processes'%?%)"] =
      { "--proceses", "2" },
    ["unknown option '%-x'"] = { "-x" },
    ["missing.conf.lua"] = { "--config", "missing.conf.lua" },
  } do
    it("refuses " .. table.concat(words, " "):gsub("\n", "\\n"), function()
      local ended = worker("tasks.lua", table.unpack(words))
      assert.same({ 2, "" }, { ended.code, ended.stdout })
      assert.matches(message, ended.stderr)
      assert.not_matches("secret", ended.stderr)
      assert.not_matches("traceback", ended.stderr)
    end)
  end

  it("needs a file", function()
    local ended = worker("-P", "2")
    assert.equal(2, ended.code)
    assert.equal("taskengine: worker: FILE is missing\n"
      .. "  try: taskengine worker --help\n", ended.stderr)
  end)

  it("says what it serves when it is ready", function()
    local process = place:worker { "tasks.lua", "-P", "2" }
    assert.matches("^[%d-]+T[%d:.]+Z info  ready: 2 processes,"
      .. " queues default, kitchen, embedded://default\n$", process:stderr())
  end)

  it("serves the queues that it is told to", function()
    place:worker { "tasks.lua", "-P", "1", "-Q", "a,b,a", "-c", "3" }
      :heard("stderr", "ready: 1 process of 3 tasks, queues a, b, embedded")
  end)

  it("is one of several processes that `ps` shows by name", function()
    local process = place:worker { "tasks.lua", "-P", "2" }
    local shown = {}
    for i, pid in ipairs(program.children(process.pid)) do
      shown[i] = read(("/proc/%d/cmdline"):format(pid))
      assert.equal("taskengine\n", read(("/proc/%d/comm"):format(pid)))
    end
    table.sort(shown)
    assert.same({
      "taskengine\0child\0" .. "0\0", "taskengine\0child\0" .. "1\0",
    }, shown)
  end)

  it("is shown by status", function()
    place:worker { "tasks.lua", "-P", "1", "-n", "w-1" }
    local status = assert(core.json.decode(
      place:run({ "status", "--json" }).stdout))
    assert.equal(1, #status.workers)
    local about = status.workers[1]
    assert.equal("w-1", about.name)
    assert.equal(core.sys.hostname(), about.host)
    assert.equal(1, about.processes)
    assert.same({ "default", "kitchen" }, about.queues)
    assert.same({ place = "tasks.lua:11", queue = "kitchen" },
      about.tasks.brew)
    local text = place:run({ "status" }).stdout
    assert.matches("\ndefault +0 +1 +0 ", text)
    assert.matches("\nw%-1 +%S+ +" .. about.pid .. " +1 +0 +default,kitchen"
      .. " +addition,brew,broker,gate,spin\n", text)
  end)

  it("is shown by status with some of its tasks when it has many", function()
    place:write("many.lua", [[
      local app = require("taskengine").app("many")
      for i = 10, 29 do app:task("t" .. i, print) end]])
    place:worker { "many.lua", "-P", "1" }
    assert.matches(" t10,t11,[t%d,]*t19 and 10 more\n",
      place:run({ "status" }).stdout)
  end)

  it("has the crashes in its status, which says what that is", function()
    local process = place:worker { "tasks.lua", "-P", "1" }
    place:run { "call", "gate", '["open"]' }
    wait_until(function()
      return place:run({ "status", "--json" }).stdout:find('"in_flight":1')
    end)
    assert(os.execute("kill -KILL " .. program.children(process.pid)[1]))
    local shown = wait_until(function()
      local shown = place:run({ "status", "--json" }).stdout
      return shown:find('"crashes":1') and shown
    end)
    assert.not_matches('"lost"', shown)
    local text = place:run({ "status" }).stdout
    assert.matches("^queue .* redelivered +crashes\ndefault [^\n]* 0 +1\n",
      text)
    assert.matches("\ncolumns:\n.*\n  crashes +how often a process or a worker"
      .. " died", place:run({ "status", "--help" }).stdout)
    place:write("open", "")
  end)

  it("stops after the tasks that run, and hands the rest back", function()
    local process = place:worker { "tasks.lua", "-P", "1" }
    local id = result_of("gate", '["first"]'):match("%w+")
    local waiting = result_of("gate", '["second"]'):match("%w+")
    wait_until(function()
      return place:run({ "status", "--json" }).stdout:find('"in_flight":[12]')
    end)
    process:kill("TERM")
    process:heard("stderr", "again to stop now\n")
    place:write("first", "")
    local ended = process:wait()
    assert.equal(0, ended.code)
    assert.matches("info  stopping: waiting up to 30 s for [12] tasks?;"
      .. " again to stop now\n", ended.stderr)
    assert.matches("gate%[" .. id .. "%] succeeded", ended.stderr)
    assert.equal("through\n", place:run({ "result", id }).stdout)
    assert.equal(4, place:run({ "result", waiting }).code)
    assert.same({}, program.children(process.pid))
  end)

  for _, signals in ipairs { { "INT", "INT" }, { "TERM", "INT" },
    { "QUIT" } } do
    it("stops at once by " .. table.concat(signals, " and "), function()
      local process = place:worker { "tasks.lua", "-P", "1" }
      local id = result_of("spin"):match("%w+")
      wait_until(function()
        return place:run({ "status", "--json" }).stdout:find('"in_flight":1')
      end)
      for i, signal in ipairs(signals) do
        process:kill(signal)
        if signals[i + 1] then
          process:heard("stderr", "again to stop now\n")
        end
      end
      local ended = process:wait()
      assert.equal(0, ended.code)
      assert.matches("info  stopping now\n", ended.stderr)
      assert.equal(4, place:run({ "result", id }).code)
    end)
  end

  it("stops when its terminal is closed, and not by a SIGHUP alone", function()
    -- Of a terminal of its own, which ends with `cat`.
    local process = place:start({ "-c", ([[
      script -qec "exec '%s' worker tasks.lua -P 1 2>log" /dev/null]]):format(
      program.PATH) }, { program = "sh" })
    local function log()
      return read(place.dir .. "/log")
    end
    local pid
    wait_until(function()
      pid = log():find("ready: ") and program.children(
        program.children(process.pid)[1] or process.pid)[1]
      return pid
    end, 20, "a worker on a terminal")
    os.execute("kill -HUP " .. pid)
    wait_until(function()
      return log():find("reloaded (1 child)", 1, true)
    end, 20, "a reload")
    os.execute("kill -KILL " .. (program.children(process.pid)[1]
      or process.pid))
    wait_until(function()
      return log():find("info  stopping\n", 1, true)
    end, 20, "a worker that stops")
    wait_until(function()
      return not program.is_alive(pid)
    end, 20, "its end")
  end)

  it("says that its files are still loading, and stops then", function()
    place:write("slow.lua", "while true do end")
    local process = place:start { "worker", "slow.lua", "-P", "2" }
    wait_until(function()
      return #program.children(process.pid) == 2
    end)
    -- Once for both of them.
    process:heard("stderr", "warn  still loading slow.lua after 5 s: no task"
      .. " can come to that process before it has returned\n")
    process:kill("TERM")
    local ended = process:wait()
    assert.equal(0, ended.code)
    assert.equal(1, select(2, ended.stderr:gsub("still loading", "")))
  end)

  it("does not let a Ctrl-C in a terminal reach the tasks", function()
    local process = place:worker { "tasks.lua", "-P", "2" }
    local id = result_of("gate", '["file"]'):match("%w+")
    for _, pid in ipairs(program.children(process.pid)) do
      for _, signal in ipairs { "INT", "TERM", "HUP", "QUIT" } do
        assert(os.execute(("kill -%s %d"):format(signal, pid)))
      end
    end
    place:write("file", "")
    assert.equal("through\n", place:run({ "result", id, "--wait" }).stdout)
    assert.not_matches("child", process:stderr())
  end)

  it("lets a successor take over what a killed one had", function()
    local long = { env = { TASKENGINE_LEASE = "600" } }
    local process = place:worker({ "tasks.lua", "-P", "1" }, long)
    local id = result_of("gate", '["file"]'):match("%w+")
    wait_until(function()
      return place:run({ "status", "--json" }).stdout:find('"in_flight":1')
    end)
    process:kill("KILL")
    process:wait()
    place:write("file", "")
    place:worker({ "tasks.lua", "-P", "1" }, long)
    assert.equal("through\n", place:run({ "result", id, "--wait" }).stdout)
  end)

  it("goes on without a folder for its claims, and says so", function()
    place.home:setenv("XDG_RUNTIME_DIR", place:write("file", ""))
    local process = place:worker { "tasks.lua", "-P", "1" }
    assert.matches("warn  .*/file/taskengine/workers: not a directory:"
      .. " if this worker is killed,", process:stderr())
    assert.equal("10\n", result_of("addition", "[4, 6]", "--wait"))
  end)

  describe("takes settings from", function()
    local function namespace_of(words, env)
      local process = place:worker({ "tasks.lua", "-P", "1",
        table.unpack(words) }, { env = env })
      local shown = process:stderr():match("embedded://(%S+)")
      process:kill("TERM")
      process:wait()
      return shown
    end

    it("the app, a file, the environment, the command line", function()
      place:write("tasks.lua", TASKS:gsub('te.app%("tasks"%)',
        'te.app("tasks", { broker = "embedded://app" })'))
      assert.equal("app", namespace_of {})
      place:write("c.lua", 'return { broker = "embedded://file" }')
      assert.equal("file", namespace_of { "--config", "c.lua" })
      local env = { TASKENGINE_BROKER = "embedded://environment" }
      assert.equal("environment", namespace_of({ "--config", "c.lua" }, env))
      assert.equal("line", namespace_of({ "--config", "c.lua", "-b",
        "embedded://line" }, env))
    end)

    it("an app, for what is decided when it has been loaded", function()
      place:write("tasks.lua", TASKS
        .. "app:configure { grace = 7, lease = 5, namespace = 'mine' }\n")
      local process = place:worker { "tasks.lua", "-P", "1", "-c", "2" }
      place:run({ "call", "spin" }, { env = { TASKENGINE_NAMESPACE = "mine" } })
      wait_until(function()
        return place:run({ "status", "--json", "-f", "tasks.lua" }).stdout
          :find('"in_flight":1')
      end)
      process:kill("TERM")
      process:heard("stderr", "waiting up to 7 s for 1 task; again")
    end)
  end)
end)

describe("taskengine worker, on a Redis with a password,", function()
  local PASSWORD <const> = "s3cret"
  local server = redis_server.for_all_specs { password = PASSWORD, tcp = true }
  local place = program.for_each_spec { files = { ["tasks.lua"] = TASKS } }

  local function everything_shown_of(process)
    local shown = { process:stderr(), process:stdout() }
    local pids = program.children(process.pid)
    for _, pid in ipairs(pids) do
      shown[#shown + 1] = read(("/proc/%d/environ"):format(pid))
    end
    pids[#pids + 1] = process.pid
    for _, pid in ipairs(pids) do
      shown[#shown + 1] = read(("/proc/%d/cmdline"):format(pid))
    end
    return table.concat(shown, "\n")
  end

  it("shows the password to nobody: on the command line", function()
    local process = place:worker { "tasks.lua", "-P", "1", "-b",
      server.tcp_url }
    local shown = everything_shown_of(process)
    assert.matches("redis://:%*%*%*@127.0.0.1:" .. server.port, shown)
    assert.matches("redis://:%*%*%*%*%*%*@127.0.0.1", shown) -- the arguments
    assert.not_matches(PASSWORD, shown)
  end)

  it("shows the password to nobody: in the environment", function()
    local env = { env = { TASKENGINE_BROKER = server.tcp_url } }
    local process = place:worker({ "tasks.lua", "-P", "1" }, env)
    assert.equal("-\n",
      place:run({ "call", "broker", "--wait" }, env).stdout)
    assert.not_matches(PASSWORD, everything_shown_of(process))
  end)

  it("shows the password to nobody: run, which starts a worker", function()
    place:write("script.lua", TASKS .. [[
      app:main(function()
        io.stdout:write(app:send_task("broker"):get(), "\n"):flush()
        app:send_task("gate", { "file" }):get()
      end)]])
    local process = place:start { "run", "-P", "1", "-b", server.tcp_url,
      "script.lua" }
    assert.equal("-", process:heard("stdout", "^(.*)\n"))
    local worker = program.children(process.pid)[1]
    local shown = everything_shown_of(process)
      .. read(("/proc/%d/cmdline"):format(worker))
    assert.matches("redis://:%*%*%*%*%*%*@127.0.0.1", shown)
    assert.matches("worker\0script.lua\0", shown, 1, true)
    -- The worker's environment, which only its user may read, has the URL.
    assert.not_matches(PASSWORD, (shown:gsub("TASKENGINE_BROKER=%Z*", "")))
    place:write("file", "")
    assert.equal(0, process:wait().code)
  end)

  it("exits with 3 when the password is wrong", function()
    local url = ("redis://:wr0ng@127.0.0.1:%d/0"):format(server.port)
    local ended = place:run { "worker", "tasks.lua", "-b", url }
    assert.equal(3, ended.code)
    assert.matches("^taskengine: .*127.0.0.1:" .. server.port, ended.stderr)
    assert.not_matches("wr0ng", ended.stderr)
    ended = place:run { "call", "addition", "[1]", "-b", url }
    assert.equal(3, ended.code)
    assert.matches("127.0.0.1:" .. server.port, ended.stderr)
    assert.not_matches("wr0ng", ended.stderr)
  end)

  it("exits with 3 when there is no Redis", function()
    local ended = place:run({ "worker", "tasks.lua" }, { env = {
      TASKENGINE_BROKER = "redis://127.0.0.1:1/0",
      TASKENGINE_BROKER_TIMEOUT = "0.3",
    } })
    assert.equal(3, ended.code)
    assert.matches("taskengine: cannot connect to Redis at 127.0.0.1:1:"
      .. " connection refused\n", ended.stderr)
    -- It had no task that a successor could take over.
    local left <close> = io.popen(("find '%s' -path '*/workers/*'"):format(
      place.home.path))
    assert.equal("", left:read("a"))
  end)

  it("exits with 3 when Redis may throw tasks away", function()
    server:cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    local ended = place:run { "worker", "tasks.lua", "-b", server.url }
    server:cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert.equal(3, ended.code)
    assert.matches("maxmemory%-policy", ended.stderr)
  end)

  it("goes on when Redis is lost, and says when it is back", function()
    local process = place:worker { "tasks.lua", "-P", "1", "-b", server.url }
    server:kill("KILL")
    process:heard("stderr", "warn  .* trying again\n")
    server:restart()
    process:heard("stderr", "info  .* can be reached again\n")
    assert.equal("10\n", place:run({ "call", "addition", "[4, 6]", "--wait",
      "-b", server.url }).stdout)
  end)
end)
