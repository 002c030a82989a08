local core = require("taskengine.core")
local program = require("spec.support.program")
local wait_until = require("spec.support.wait").wait_until

-- The script says on stdout what it has done; its first argument says what
-- that is to be.
local SCRIPT <const> = [[
local te = require("taskengine")
local app = te.app("script")
local pid = app:task("pid", function()
  return require("taskengine.core").sys.pid()
end)
local nap = app:task("nap", function(seconds) te.sleep(seconds) end)
app:task("brew", { queue = "kitchen" }, function() end)
local gate = app:task("gate", function(file)
  while not require("taskengine.core").sys.stat(file) do te.sleep(0.01) end
end)
local fail = app:task("fail", function() error("the task fails") end)
local what = {}

function what.args(...) print(#arg, ...) end
function what.pid() print(pid:delay():get()) end
function what.fail() fail:delay():get() end
function what.queues(...)
  for _, queue in ipairs { ... } do
    nap:apply_async({ 0 }, { queue = queue })
    nap:apply_async({ 0 }, { queue = queue })
  end
  nap:delay(0):get()
end
function what.err() local function f() error("the main fails") end f() end
function what.exit() nap:delay(0):get() os.exit(7) end
function what.exit_closing() nap:delay(0):get() os.exit(8, true) end
function what.busy() print(pid:delay():get()) io.stdout:flush()
  while true do end
end
function what.gates(count)
  local list = {}
  for i = 1, tonumber(count) do list[i] = { "gate-" .. i } end
  local results = app:enqueue_many(gate, list)
  print(results[1].id, results[#results].id)
  io.stdout:flush()
  for result in te.as_completed(results) do result:get() end
  print("all done")
end
function what.catch() pcall(function() what.naps(1, 100) end)
  print("caught") error("and fails")
end
function what.naps(count, seconds)
  local list = {}
  for i = 1, tonumber(count) do list[i] = { tonumber(seconds) } end
  local results = app:enqueue_many(nap, list)
  print(results[1].id, results[#results].id)
  io.stdout:flush()
  for result in te.as_completed(results) do result:get() end
  print("all done")
end
local stuck = app:task("stuck", function()
  io.open("begun", "w"):close()
  te.sleep(100)
end)
function what.leave(how, count)
  for i = 1, tonumber(count) do
    nap:apply_async({ 0 }, { countdown = 100 })
  end
  if how == "raise" then error("no") elseif how == "exit" then os.exit(0) end
end
function what.ignore()
  nap:apply_async({ 0 }, { ignore_result = true })
  nap:delay(0)
  nap:delay(0):get()
end
function what.stay() stuck:delay()
  while not require("taskengine.core").sys.stat("begun") do te.sleep(0.01) end
end

app:main(function(args)
  if args[1] then what[args[1] ](table.unpack(args, 2)) end
end)
]]

local SIGINT <const> = 2

describe("taskengine run", function()
  local place

  before_each(function()
    place = program.place()
    place:write("script.lua", SCRIPT)
  end)

  after_each(function()
    place:close()
  end)

  local function run(...)
    return place:run { "run", "-P", "1", ... }
  end

  local function start(...)
    return place:start { "run", "-P", "1", ... }
  end

  local function private_broker()
    return "embedded://run-"
      .. core.sys.digest(core.sys.realpath(place.dir .. "/script.lua"))
  end

  local function state_of(id)
    local ended = place:run { "result", id, "--json", "-b", private_broker() }
    return assert(core.json.decode(ended.stdout)).state
  end

  it("gives the script its arguments as they are", function()
    local ended = run("script.lua", "args", "-P", "--help", "--", "x y", "")
    assert.same({ 0, "6\t-P\t--help\t--\tx y\t\n", "" },
      { ended.code, ended.stdout, ended.stderr })
  end)

  it("has workers, which end with the script", function()
    local ended = run("script.lua", "pid")
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    local pid = tonumber(ended.stdout)
    assert.is_false(program.is_alive(pid))
  end)

  it("keeps the script's tasks from the workers of others", function()
    place:write("other.lua", SCRIPT)
    place:worker { "other.lua", "-P", "1" }
    local ended = run("script.lua", "naps", "3", "0")
    assert.matches("all done\n$", ended.stdout)
    assert.matches('"queues":%[.-"done":0',
      place:run({ "status", "--json" }).stdout)
    assert.matches('"done":3', place:run({ "status", "--json", "-b",
      private_broker() }).stdout)
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
      local ended = run("--quiet", "script.lua", "queues", "heavy", "default",
        "kitchen", "light")
      assert.equal(0, ended.code)
      ended.stderr = without_rest(ended.stderr)
      for _, queue in ipairs { "heavy", "light" } do
        local warning = WARNING:format(queue, queue, queue, private_broker())
        local from, to = ended.stderr:find(warning, 1, true)
        assert(from, ended.stderr)
        ended.stderr = ended.stderr:sub(1, from - 1)
          .. ended.stderr:sub(to + 1)
      end
      assert.equal("", ended.stderr)
    end)

    it("and not when another worker does", function()
      local broker = "embedded://shared"
      place:worker { "script.lua", "-P", "1", "-Q", "heavy", "-b", broker }
      local ended = run("-b", broker, "script.lua", "queues", "heavy", "light")
      assert.equal(WARNING:format("light", "light", "light", broker),
        without_rest(ended.stderr))
    end)

    it("also when the script has no tasks, so no worker", function()
      place:write("script.lua", [[
        local app = require("taskengine").app("script")
        app:main(function()
          print(app:send_task("x"):wait(1))
        end)
      ]])
      local ended = run("script.lua")
      assert.equal("nil\ttimeout\n", ended.stdout)
      assert.equal(([[
taskengine: no worker serves the queue default now: what is sent there waits
  this script defines no tasks, so it has no worker of its own
  another worker can serve it:
    taskengine worker FILE -Q default -b %s
]]):format(private_broker()), ended.stderr)
    end)
  end)

  it("says what an earlier run has left to be run", function()
    local function leave(...)
      local ended = place:run { "call", "nap", "[0]", "-b", ... }
      assert.equal(0, ended.code)
    end
    local own = private_broker()
    local function run_and_hear(...)
      local ended = run(...)
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
      { TASKENGINE_CONFIG = place:write("c.lua",
        'return { broker = "embedded://named" }') },
    } do
      local ended = place:run({ "run", "-P", "1", "script.lua", "naps", "1",
        "0" }, { env = env })
      assert.same({ 0, "" }, { ended.code, ended.stderr })
    end
    assert.matches('"done":2', place:run({ "status", "--json", "-b",
      "embedded://named" }).stdout)
  end)

  it("shows where the script's main failed", function()
    local ended = run("script.lua", "err")
    assert.equal(1, ended.code)
    assert.matches("^taskengine: script.lua:24: the main fails\n"
      .. "stack traceback:\n\tscript.lua:24: in local 'f'\n", ended.stderr)
    assert.not_matches("taskengine/", ended.stderr)
  end)

  it("exits with 1 when a task's failure ends the main", function()
    local ended = run("script.lua", "fail")
    assert.equal(1, ended.code)
    assert.matches("taskengine: script.lua:16: Error: script.lua:11:"
      .. " the task fails %(task fail, %w+%)\n", ended.stderr)
  end)

  it("exits with 3 when Redis cannot be reached", function()
    local ended = place:run({ "run", "-P", "1", "script.lua", "fail" },
      { env = {
        TASKENGINE_BROKER = "redis://127.0.0.1:1",
        TASKENGINE_BROKER_TIMEOUT = "0.3",
      } })
    assert.equal(3, ended.code)
    assert.matches("127.0.0.1:1: connection refused", ended.stderr)
  end)

  it("exits with the script's own code", function()
    assert.equal(7, run("script.lua", "exit").code)
    local ended = run("script.lua", "exit_closing")
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
        place:write("raising.lua", form:format(raised))
        local ended = run("raising.lua")
        assert.equal(code, ended.code)
        assert.matches("taskengine: " .. text .. "\nstack traceback:\n",
          ended.stderr, 1, true)
      end
    end
  end)

  it("refuses a script that it cannot load, once", function()
    place:write("broken.lua", "x = = 1")
    place:write("failing.lua", "error('no!')")
    place:write("idle.lua", 'require("taskengine").app("idle")')
    for file, message in pairs {
      [""] = "the name of the file is empty\n",
      ["nothing.lua"] = "nothing.lua: no such file or directory\n",
      ["broken.lua"] = "broken.lua:1: unexpected symbol near '='\n",
      ["failing.lua"] = "failing.lua:1: no!\nstack traceback:\n"
        .. "\tfailing.lua:1: in main chunk\n",
      ["idle.lua"] = "idle.lua: it has no main\n  what is to be done goes into"
        .. " app:main(function(args) ... end)\n",
    } do
      local ended = run(file)
      assert.same({ 2, "taskengine: " .. message },
        { ended.code, ended.stderr })
    end
  end)

  it("ends with its worker's code when that cannot start", function()
    place:write("script.lua", SCRIPT .. [[
      if require("taskengine.mode").name == "worker" then
        error("not in a worker")
      end]])
    local ended = run("script.lua", "naps", "1", "0")
    assert.equal(2, ended.code)
    assert.matches("^taskengine: script.lua:%d+: not in a worker\n",
      ended.stderr)
  end)

  it("ends when its worker is killed", function()
    local process = start("script.lua", "naps", "1", "100")
    process:heard("stdout", "\n")
    local worker = program.children(process.pid)[1]
    assert(os.execute("kill -KILL " .. worker))
    local ended = process:wait()
    assert.equal(1, ended.code)
    assert.equal("taskengine: its worker was ended by signal 9\n"
      .. "taskengine: 1 task that was sent has not ended; it stays in "
      .. private_broker() .. " and runs with the next worker there\n",
      ended.stderr)
  end)

  describe("says which tasks it leaves,", function()
    it("however its main ends", function()
      for how, ending in pairs {
        ["return"] = { code = 0, said = "" },
        raise = { code = 1, said = "taskengine: script.lua:%d+: no\n.-" },
        exit = { code = 0, said = "" },
      } do
        local ended = run("script.lua", "leave", how, "2")
        assert.equal(ending.code, ended.code)
        assert.matches("^" .. ending.said .. "taskengine: %d tasks that were"
          .. " sent have not ended; they stay in " .. private_broker()
            :gsub("%p", "%%%0") .. " and run with the next worker there\n$",
          ended.stderr:gsub("^[^\n]+ earlier run [^\n]+\n", ""))
      end
    end)

    it("as far as it knows where others may run them", function()
      local broker = "embedded://shared"
      place:run { "call", "nap", "[0]", "--queue", "other", "-b", broker }
      local ended = run("-b", broker, "script.lua", "leave", "return", "1")
      assert.same({ 0, "taskengine: up to 1 task that was sent has not ended;"
        .. " it stays in embedded://shared and runs with the next worker"
        .. " there\n" }, { ended.code, ended.stderr })
      assert.equal("", run("-b", broker, "script.lua", "pid").stderr)
    end)

    it("and nothing when all have ended that nobody waited for", function()
      assert.equal("", run("script.lua", "ignore").stderr)
    end)
  end)

  it("says what it waits for at the end, and ends at Ctrl-C", function()
    local process = start("script.lua", "stay")
    process:heard("stderr", "^taskengine: waiting up to 30 s for 1 running"
      .. " task; Ctrl%-C to stop now\n$")
    process:kill("INT")
    local ended = process:wait(10)
    assert.equal(130, ended.code)
    assert.matches("\ntaskengine: 1 task that was sent has not ended; it stays"
      .. " in [^\n]+\n$", ended.stderr)
  end)

  it("takes the end of its terminal for a Ctrl-C", function()
    local process = start("script.lua", "gates", "5")
    process:heard("stdout", "\n")
    process:kill("HUP")
    process:heard("stderr", "%d revoked")
    process:kill("HUP") -- of shell and system alike
    for i = 1, 5 do
      place:write("gate-" .. i, "")
    end
    local ended = process:wait()
    assert.same({ 129, 0 }, { ended.code, ended.signal })
    assert.not_matches("all done", ended.stdout)
  end)

  it("goes on without its terminal under nohup", function()
    local process = place:start({ "-c",
      'trap "" HUP; exec "$0" run -P 1 script.lua gates 1', program.PATH },
      { program = "sh" })
    process:heard("stdout", "\n")
    process:kill("HUP")
    place:write("gate-1", "")
    local ended = process:wait()
    assert.equal(0, ended.code)
    assert.matches("all done\n$", ended.stdout)
  end)

  it("says when what the script prints gets lost", function()
    place:write("print.lua", [[
      require("taskengine").app("x"):main(function(args)
        if args[1] == "write" then io.write(("x"):rep(1e5))
        elseif args[1] == "method" then io.stdout:write(("x"):rep(1e5))
        else print("x") end
        if args[1] == "exit" then os.exit() end
      end)]])
    local function print_to(redirection, how)
      return place:run({ "-c", ("exec '%s' run print.lua %s %s"):format(
        program.PATH, how, redirection) }, { program = "sh" })
    end
    for _, how in ipairs { "print", "write", "method", "exit" } do
      for _, redirection in ipairs { ">/dev/full", ">&-" } do
        local ended = print_to(redirection, how)
        assert.same({ 1, "taskengine: stdout cannot be written to\n" },
          { ended.code, ended.stderr })
      end
    end
    assert.same({ 0, "x\n" }, { print_to("", "print").code,
      print_to("", "print").stdout })
  end)

  it("refuses a file that its worker could not load", function()
    local pipe = place.dir .. "/pipe"
    assert(os.execute("mkfifo " .. pipe))
    local env = { TE_IN = place.dir .. "/script.lua" }
    for _, path in ipairs { "pipe", "/dev/stdin", "/dev/fd/0",
      "/proc/self/fd/0" } do
      for _, command in ipairs { "run", "worker" } do
        local ended = place:run({ command, path }, { env = env })
        assert.same({ 2, "taskengine: " .. path .. ": this is no regular file,"
          .. " and other processes have to load it, too\n"
          .. "  save it as a Lua file\n" }, { ended.code, ended.stderr })
      end
    end
  end)

  it("says when there are too few descriptors", function()
    for limit = 4, 7 do
      for _, words in ipairs { "run script.lua", "worker script.lua", "status" }
      do
        local ended = place:run({ "-c", ("ulimit -n %d; exec '%s' %s"):format(
          limit, program.PATH, words) }, { program = "sh" })
        assert.same({ 1, "taskengine: the program cannot start: no event loop:"
          .. " too many open files\n  ulimit -n says how many files a process"
          .. " may have open\n" }, { ended.code, ended.stderr })
        assert.equal(0, ended.signal)
      end
    end
  end)

  it("says when its private Redis can have no place", function()
    local long = place.dir .. "/" .. ("x"):rep(120)
    assert(core.sys.mkdir_p(long, 448))
    for message, env in pairs {
      ["the socket " .. long .. "/taskengine/"] = { XDG_RUNTIME_DIR = long },
      ["has a line break in it"] = { XDG_STATE_HOME = place.dir .. "/a\nb" },
    } do
      local ended = place:run({ "run", "script.lua", "pid" }, { env = env })
      assert.equal(3, ended.code)
      assert.matches("^taskengine: embedded://run%-%w+: [^\n]+\n$",
        ended.stderr)
      assert.matches(message, ended.stderr, 1, true)
    end
  end)

  it("takes its worker along when it is killed", function()
    local process = start("script.lua", "gates", "1")
    process:heard("stdout", "\n")
    local worker = program.children(process.pid)[1]
    local child = wait_until(function()
      return program.children(worker)[1]
    end)
    process:kill("KILL")
    process:wait()
    wait_until(function()
      return not program.is_alive(worker) and not program.is_alive(child)
    end)
  end)

  it("revokes at Ctrl-C what has not started, and waits for the rest",
    function()
      local process = start("script.lua", "gates", "50")
      local first, last = process:heard("stdout", "(%w+\t%w+)\n")
        :match("(%w+)\t(%w+)")
      wait_until(function()
        return place:run({ "status", "--json", "-b", private_broker() })
          .stdout:find('"in_flight":[12]')
      end)
      process:kill("INT")
      process:heard("stderr", "%d+ revoked")
      place:write("gate-1", "")
      local ended = process:wait()
      assert.equal(130, ended.code)
      local revoked, running = ended.stderr:match("^taskengine: interrupted:"
        .. " revoking what has not started; again to end at once\n"
        .. "taskengine: (%d+) revoked, (%d+) running\n")
      assert.is_true(tonumber(revoked) >= 40)
      assert.is_true(tonumber(running) >= 1)
      assert.not_matches("all done", ended.stdout)
      assert.equal("SUCCESS", state_of(first))
      assert.equal("REVOKED", state_of(last))
      -- Those still stand in the queue, where nobody is to run them.
      assert.equal("", run("script.lua", "pid").stderr)
    end)

  it("exits with 130 also when the script catches that", function()
    local process = start("script.lua", "catch")
    process:heard("stdout", "\n")
    process:kill("INT")
    process:heard("stderr", "interrupted")
    process:kill("INT") -- the nap of 100 s goes on
    assert.equal(2, process:wait().signal)
    assert.matches("\ncaught\n$", process:stdout())
    assert.not_matches("and fails", process:stderr())
  end)

  it("leaves it with --detach: the next run goes on with it", function()
    local process = start("--detach", "script.lua", "gates", "4")
    local _, last = process:heard("stdout", "(%w+\t%w+)\n")
      :match("(%w+)\t(%w+)")
    process:kill("INT")
    process:heard("stderr", "interrupted")
    place:write("gate-1", "")
    local ended = process:wait()
    assert.equal(130, ended.code)
    assert.equal("taskengine: interrupted; what has not started stays in "
      .. private_broker() .. "\n", ended.stderr)
    assert.equal("PENDING", state_of(last))
    for i = 2, 4 do
      place:write("gate-" .. i, "")
    end
    assert.equal(0, run("script.lua", "naps", "1", "0").code)
    assert.equal("SUCCESS", state_of(last))
  end)

  -- Two signals at the same time are one.
  local function wait_for_the_first(pid)
    wait_until(function()
      local file <close> = io.open(("/proc/%d/status"):format(pid))
      local caught = file and file:read("a"):match("SigCgt:%s*(%x+)")
      return caught and tonumber(caught, 16) & 1 << SIGINT - 1 == 0
    end)
  end

  it("ends at the second Ctrl-C, whatever the script does", function()
    local process = start("script.lua", "busy")
    local child = tonumber(process:heard("stdout", "^(%d+)\n"))
    process:kill("INT")
    wait_for_the_first(process.pid)
    process:kill("INT")
    assert.equal(2, process:wait().signal)
    wait_until(function()
      return not program.is_alive(child)
    end)
  end)

  describe("with tasks that print", function()
    before_each(function()
      place:write("printing.lua", [[
        print("loading")
        local app = require("taskengine").app("printing")
        local greet = app:task("greet", { bind = true }, function(self, name)
          print("Hello " .. name)
          io.write("written\n")
          os.execute("echo from a program")
          self:log("warn", "careful")
        end)
        app:main(function()
          greet:delay("Ada"):get()
          io.write("the result\n")
        end)
      ]])
    end)

    local function lines_of(text)
      local lines = {}
      for line in text:gmatch("([^\n]*)\n") do
        lines[#lines + 1] = line:gsub("^%d%S+Z ", ""):gsub("%[%w+%]", "")
      end
      return lines
    end

    local PRINTED <const> = { "info  greet Hello Ada", "info  greet written",
      "from a program", "warn  greet careful" }

    it("shows that on stderr; stdout is the script's own", function()
      local ended = run("printing.lua")
      assert.equal("loading\nthe result\n", ended.stdout)
      assert.same(PRINTED, lines_of(ended.stderr))
    end)

    it("shows only warnings of it with --quiet", function()
      assert.same({ PRINTED[3], PRINTED[4] },
        lines_of(run("-q", "printing.lua").stderr))
    end)

    it("shows what --level says", function()
      assert.same({ PRINTED[3] },
        lines_of(run("--level", "error", "printing.lua").stderr))
      local all = run("--level", "info", "-q", "printing.lua").stderr
      assert.matches("info  ready: ", all, 1, true)
      assert.matches("info  greet%[%w+%] Hello Ada\n", all)
      assert.matches("info  greet%[%w+%] succeeded", all)
    end)
  end)

  describe("on a terminal", function()
    -- util-linux' script gives it one, and writes down what comes.
    local function on_terminal(words)
      local command = ("%s run -P 1 %s"):format(program.PATH, words)
      local out = place.dir .. "/typescript"
      place:run({ "-qefc", command, out }, { program = "script" })
      local file <close> = assert(io.open(out, "rb"))
      return file:read("a")
    end

    it("shows a bar, and takes it away before the script's lines", function()
      local shown = on_terminal("script.lua naps 20 0.08")
      assert.matches("\r%d+ done, 20 sent so far", shown)
      assert.matches("\r +%d+%% %[[# ]+%] %d+/20  %d+/s  ETA %d s\27%[K\r",
        shown)
      assert.matches("\r\27%[Kall done\r\n", shown)
      local after = shown:match("all done\r\n(.*)$")
      assert.not_matches("%d/20", after)
    end)

    it("takes it away before what a task prints", function()
      place:write("printing.lua", [[
        local te = require("taskengine")
        local app = te.app("printing")
        local greet = app:task("greet", function()
          te.sleep(1) -- ten ticks of the bar
          print("Hello")
        end)
        app:main(function() greet:delay():get() end)
      ]])
      local shown = on_terminal("printing.lua")
      assert.matches("\r[^\r\n]+\27%[K\r"
        .. "\27%[K%S+Z info  greet%[%w+%] Hello\r\n", shown)
    end)

    it("shows none with --quiet", function()
      local shown = on_terminal("--quiet script.lua naps 20 0.03")
      assert.not_matches("/20", shown)
      assert.matches("all done\r\n", shown)
    end)
  end)

  it("shows no bar where there is no terminal", function()
    local ended = run("script.lua", "naps", "20", "0.01")
    assert.equal("", ended.stderr)
  end)
end)
