local core = require("taskengine.core")
local program = require("spec.support.program")
local scripts = require("spec.support.scripts")

local IS_ASAN <const> = (os.getenv("TE_BUILD") or ""):find("asan") ~= nil

describe("taskengine run", function()
  local site = scripts.for_each_spec()

  it("gives the script its arguments as they are", function()
    local ended = site:run("script.lua", "args", "-P", "--help", "--", "x y",
      "")
    assert.same({ 0, "6\t-P\t--help\t--\tx y\t\n", "" },
      { ended.code, ended.stdout, ended.stderr })
  end)

  it("has workers, which end with the script", function()
    local ended = site:run("script.lua", "pid")
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    local pid = tonumber(ended.stdout)
    assert.is_false(program.is_alive(pid))
  end)

  it("keeps the script's tasks from the workers of others", function()
    site.place:write("other.lua", scripts.TEXT)
    site.place:worker { "other.lua", "-P", "1" }
    local ended = site:run("script.lua", "naps", "3", "0")
    assert.matches("all done\n$", ended.stdout)
    assert.matches('"queues":%[.-"done":0',
      site.place:run({ "status", "--json" }).stdout)
    assert.matches('"done":3', site.place:run({ "status", "--json", "-b",
      site:broker() }).stdout)
  end)

  local REST <const> = "taskengine: [^\n]+ not ended; [^\n]+ there\n"

  -- What was said, without what it says of the tasks that it leaves.
  local function without_rest(stderr)
    local text, count = stderr:gsub(REST, "")
    assert.equal(1, count)
    return text
  end

  describe("warns of a queue that nobody serves,", function()
    local WARNING <const> = [[
taskengine: no worker serves the queue %s now: what is sent there waits
  the script's own worker serves default, and the queues that its tasks name:
    app:task(NAME, { queue = "%s" }, ...)
  another worker can serve it:
    taskengine worker FILE -Q %s -b %s
]]

    it("once, and says how to mend it", function()
      local ended = site:run("--quiet", "script.lua", "queues", "heavy",
        "default", "kitchen", "light")
      assert.equal(0, ended.code)
      ended.stderr = without_rest(ended.stderr)
      for _, queue in ipairs { "heavy", "light" } do
        local warning = WARNING:format(queue, queue, queue, site:broker())
        local from, to = ended.stderr:find(warning, 1, true)
        assert(from, ended.stderr)
        ended.stderr = ended.stderr:sub(1, from - 1)
          .. ended.stderr:sub(to + 1)
      end
      assert.equal("", ended.stderr)
    end)

    it("and not when another worker does", function()
      local broker = "embedded://shared"
      site.place:worker { "script.lua", "-P", "1", "-Q", "heavy", "-b", broker }
      local ended = site:run("-b", broker, "script.lua", "queues", "heavy",
        "light")
      assert.equal(WARNING:format("light", "light", "light", broker),
        without_rest(ended.stderr))
    end)

    it("also when the script has no tasks, so no worker", function()
      site.place:write("script.lua", [[
        local app = require("taskengine").app("script")
        app:main(function()
          print(app:send_task("x"):wait(1))
        end)
      ]])
      local ended = site:run("script.lua")
      assert.equal("nil\ttimeout\n", ended.stdout)
      assert.equal(([[
taskengine: no worker serves the queue default now: what is sent there waits
  this script defines no tasks, so it has no worker of its own
  another worker can serve it:
    taskengine worker FILE -Q default -b %s
]]):format(site:broker()), ended.stderr)
    end)
  end)

  it("says what an earlier run has left to be run", function()
    local function leave(...)
      local ended = site.place:run { "call", "nap", "[0]", "-b", ... }
      assert.equal(0, ended.code)
    end
    local own = site:broker()
    local function run_and_hear(...)
      local ended = site:run(...)
      assert.equal(0, ended.code)
      return ended.stderr
    end
    leave(own)
    assert.equal("taskengine: 1 task of an earlier run is still queued;"
      .. " it runs too\n", run_and_hear("script.lua", "pid"))
    assert.equal("", run_and_hear("script.lua", "pid"))
    leave(own)
    leave(own, "--countdown", "100")
    leave(own, "--queue", "kitchen")
    leave(own, "--queue", "nobody")
    assert.equal("taskengine: 3 tasks of an earlier run are still queued;"
      .. " they run too\n",
      without_rest(run_and_hear("-q", "script.lua", "pid")))
    leave("embedded://shared")
    assert.equal("", run_and_hear("-b", "embedded://shared", "script.lua",
      "pid"))
  end)

  it("uses the broker that is named", function()
    for _, env in ipairs {
      { TASKENGINE_BROKER = "embedded://named" },
      { TASKENGINE_CONFIG = site.place:write("c.lua",
        'return { broker = "embedded://named" }') },
    } do
      local ended = site.place:run({ "run", "-P", "1", "script.lua", "naps",
        "1", "0" }, { env = env })
      assert.same({ 0, "" }, { ended.code, ended.stderr })
    end
    assert.matches('"done":2', site.place:run({ "status", "--json", "-b",
      "embedded://named" }).stdout)
  end)

  it("shows where the script's main failed", function()
    local ended = site:run("script.lua", "err")
    assert.equal(1, ended.code)
    assert.matches("^taskengine: script.lua:24: the main fails\n"
      .. "stack traceback:\n\tscript.lua:24: in local 'f'\n", ended.stderr)
    assert.not_matches("taskengine/", ended.stderr)
  end)

  it("exits with 1 when a task's failure ends the main", function()
    local ended = site:run("script.lua", "fail")
    assert.equal(1, ended.code)
    assert.matches("taskengine: script.lua:16: Error: script.lua:11:"
      .. " the task fails %(task fail, %w+%)\n", ended.stderr)
  end)

  it("exits with 3 when Redis cannot be reached", function()
    local ended = site.place:run({ "run", "-P", "1", "script.lua", "fail" },
      { env = {
        TASKENGINE_BROKER = "redis://127.0.0.1:1",
        TASKENGINE_BROKER_TIMEOUT = "0.3",
      } })
    assert.equal(3, ended.code)
    assert.matches("127.0.0.1:1: connection refused", ended.stderr)
  end)

  it("exits with the script's own code", function()
    assert.equal(7, site:run("script.lua", "exit").code)
    local ended = site:run("script.lua", "exit_closing")
    assert.same({ 8, "" }, { ended.code, ended.stderr })
  end)

  it("shows a table that was raised", function()
    for text, raised in pairs {
      ["NoStock: none left"] = '{ kind = "NoStock", message = "none left" }',
      ["NoStock: { sku = 7 }"] = '{ kind = "NoStock", sku = 7 }',
      ["{ code = 7 }"] = "{ code = 7 }",
    } do
      for code, form in pairs {
        "require('taskengine').app('x'):main(function() error(%s) end)",
        "error(%s)",
      } do
        site.place:write("raising.lua", form:format(raised))
        local ended = site:run("raising.lua")
        assert.equal(code, ended.code)
        assert.matches("taskengine: " .. text .. "\nstack traceback:\n",
          ended.stderr, 1, true)
      end
    end
  end)

  it("refuses a script that it cannot load, once", function()
    site.place:write("broken.lua", "x = = 1")
    site.place:write("failing.lua", "error('no!')")
    site.place:write("idle.lua", 'require("taskengine").app("idle")')
    for file, message in pairs {
      [""] = "the name of the file is empty\n",
      ["nothing.lua"] = "nothing.lua: no such file or directory\n",
      ["broken.lua"] = "broken.lua:1: unexpected symbol near '='\n",
      ["failing.lua"] = "failing.lua:1: no!\nstack traceback:\n"
        .. "\tfailing.lua:1: in main chunk\n",
      ["idle.lua"] = "idle.lua: it has no main\n  what is to be done goes into"
        .. " app:main(function(args) ... end)\n",
    } do
      local ended = site:run(file)
      assert.same({ 2, "taskengine: " .. message },
        { ended.code, ended.stderr })
    end
  end)

  it("ends with its worker's code when that cannot start", function()
    site.place:write("script.lua", scripts.TEXT .. [[
      if require("taskengine.mode").name == "worker" then
        error("not in a worker")
      end]])
    local ended = site:run("script.lua", "naps", "1", "0")
    assert.equal(2, ended.code)
    assert.matches("^taskengine: script.lua:%d+: not in a worker\n",
      ended.stderr)
  end)

  it("ends when its worker is killed", function()
    local process = site:start("script.lua", "naps", "1", "100")
    process:heard("stdout", "\n")
    local worker = program.children(process.pid)[1]
    assert(os.execute("kill -KILL " .. worker))
    local ended = process:wait()
    assert.equal(1, ended.code)
    assert.equal("taskengine: its worker was ended by signal 9\n"
      .. "taskengine: 1 task that was sent has not ended; it stays in "
      .. site:broker() .. " and runs with the next worker there\n",
      ended.stderr)
  end)

  it("refuses a file that its worker could not load", function()
    local pipe = site.place.dir .. "/pipe"
    assert(os.execute("mkfifo " .. pipe))
    local env = { TE_IN = site.place.dir .. "/script.lua" }
    for _, path in ipairs { "pipe", "/dev/stdin", "/dev/fd/0",
      "/proc/self/fd/0" } do
      for _, command in ipairs { "run", "worker" } do
        local ended = site.place:run({ command, path }, { env = env })
        assert.same({ 2, "taskengine: " .. path .. ": this is no regular file,"
          .. " and other processes have to load it, too\n"
          .. "  save it as a Lua file\n" }, { ended.code, ended.stderr })
      end
    end
  end)

  -- ASan waits for ever when it cannot open its report.
  local DESCRIPTORS_MIN <const> = IS_ASAN and 7 or 4

  it("says when there are too few descriptors", function()
    for limit = DESCRIPTORS_MIN, 7 do
      for _, words in ipairs { "run script.lua", "worker script.lua", "status" }
      do
        local command = ("ulimit -n %d; exec '%s' %s"):format(limit,
          program.PATH, words)
        local ended = site.place:run({ "-c", command }, { program = "sh" })
        assert.same({ 1, "taskengine: the program cannot start: no event loop:"
          .. " too many open files\n  ulimit -n says how many files a process"
          .. " may have open\n" }, { ended.code, ended.stderr })
        assert.equal(0, ended.signal)
      end
    end
  end)

  it("says when its private Redis can have no place", function()
    local long = site.place.dir .. "/" .. ("x"):rep(120)
    assert(core.sys.mkdir_p(long, 448))
    for message, env in pairs {
      ["the socket " .. long .. "/taskengine/"] = { XDG_RUNTIME_DIR = long },
      ["has a line break in it"] =
        { XDG_STATE_HOME = site.place.dir .. "/a\nb" },
    } do
      local ended = site.place:run({ "run", "script.lua", "pid" },
        { env = env })
      assert.equal(3, ended.code)
      assert.matches("^taskengine: embedded://run%-%w+: [^\n]+\n$",
        ended.stderr)
      assert.matches(message, ended.stderr, 1, true)
    end
  end)
end)
