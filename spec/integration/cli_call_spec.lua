local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local wait_until = require("spec.support.wait").wait_until

local SIGINT <const> = 2

local TASKS <const> = [[
local te = require("taskengine")
local app = te.app("tasks")
app:task("addition", function(x, y) return x + y end)
app:task("echo", function(...) return { n = select("#", ...), ... } end)
app:task("give", function(what)
  return ({ text = "a\nb", orders = "\27[2J\u{9b}31m", float = 10.0, yes = true,
    no = false, huge = 1 / 0, small = -1 / 0, nan = 0 / 0, ["-nan"] = -(0 / 0),
    list = { math.huge, -math.huge, 0 / 0, 1, { x = 0.5 } } })[what]
end)
app:task("fail", function() error("out of order") end)
app:task("nap", function(seconds) te.sleep(seconds) end)
app:task("brew", { queue = "kitchen", priority = 7 }, function() end)
app:task("forget", { ignore_result = true }, function() end)
]]

describe("taskengine call", function()
  local server, place, worker

  setup(function()
    server = redis_server.start()
    place = program.place { broker = server.url }
    place:write("tasks.lua", TASKS)
    worker = place:worker { "tasks.lua", "-P", "1", "-c", "4" }
  end)

  teardown(function()
    place:close()
    server:stop()
  end)

  local function call(...)
    return place:run { "call", ... }
  end

  local function decoded(ended)
    return (assert(core.json.decode(ended.stdout)))
  end

  it("prints what the task returned", function()
    local ended = call("addition", "[4, 6]", "--wait")
    assert.same({ 0, "10\n", "" },
      { ended.code, ended.stdout, ended.stderr })
  end)

  it("prints strings and numbers as they are, all else as JSON", function()
    assert.equal("a\nb\n", call("give", '["text"]', "-w").stdout)
    assert.equal("10.0\n", call("give", '["float"]', "-w").stdout)
    assert.equal("true\n", call("give", '["yes"]', "-w").stdout)
    assert.is_false(decoded(call("give", '["no"]', "-w", "--json")).value)
    assert.equal("null\n", call("give", "-w").stdout)
    assert.equal('["x"]\n', call("echo", '["x"]', "-w").stdout)
  end)

  it("lets no result give orders to a terminal", function()
    assert.equal("\27[2J\u{9b}31m\n", call("give", '["orders"]', "-w").stdout)
    local path = ("%s:%s"):format(program.PATH:match("^(.*)/"),
      os.getenv("PATH"))
    local shown = place:run({ "sh", "-c", [[script -qec]]
      .. [[ "taskengine call give '[\"orders\"]' -w" /dev/null]] },
      { program = "/usr/bin/env", env = { PATH = path } })
    assert.matches("^\\x1b%[2J\\xc2\\x9b31m\r?\n$", shown.stdout)
    local json = call("give", '["orders"]', "-w", "--json").stdout
    assert.matches('"\\u001b[2J\\u009b31m"', json, 1, true)
  end)

  it("has words for numbers that JSON does not have", function()
    for name, word in pairs {
      huge = "inf", small = "-inf", nan = "nan", ["-nan"] = "nan",
    } do
      local ended = call("give", ('["%s"]'):format(name), "-w")
      assert.same({ 0, word .. "\n", "" },
        { ended.code, ended.stdout, ended.stderr })
      ended = call("give", ('["%s"]'):format(name), "-w", "--json")
      assert.equal(0, ended.code)
      assert.equal(word, decoded(ended).value)
    end
    local list = '["inf","-inf","nan",1,{"x":0.5}]'
    assert.equal(list .. "\n", call("give", '["list"]', "-w").stdout)
    assert.matches('"value":' .. list,
      call("give", '["list"]', "-w", "--json").stdout, 1, true)
  end)

  it("keeps the place of a null among the arguments", function()
    assert.equal("[1,null,3]\n",
      call("echo", "[1, null, 3]", "--wait").stdout)
  end)

  it("prints the id, for which the result can be asked later", function()
    local ended = call("addition", "[1, 2]")
    local id = ended.stdout:match("^(%w+)\n$")
    assert.equal(20, #id)
    assert.equal("3\n", place:run({ "result", id, "--wait" }).stdout)
    assert.equal("3\n", place:run({ "result", id }).stdout)
  end)

  it("prints JSON when asked to", function()
    local sent = decoded(call("addition", "[1, 2]", "--json"))
    assert.equal(20, #sent.id)
    local ended = call("addition", "[1, 2]", "--json", "--wait")
    local result = decoded(ended)
    assert.equal("SUCCESS", result.state)
    assert.equal(3, result.value)
    ended = call("fail", "--json", "--wait")
    assert.equal(1, ended.code)
    result = decoded(ended)
    assert.equal("FAILURE", result.state)
    assert.equal("Error", result.error.kind)
    assert.matches("out of order$", result.error.message)
  end)

  it("exits with 1 when the task failed, and says how", function()
    local ended = call("fail", "--wait")
    assert.equal(1, ended.code)
    assert.equal("", ended.stdout)
    assert.matches("^taskengine: Error: tasks.lua:10: out of order "
      .. "%(task fail, %w+%)\n  stack traceback:\n", ended.stderr)
    assert.not_matches("taskengine/", ended.stderr)
  end)

  it("exits with 4 when the time is up; the task goes on", function()
    local ended = call("nap", "[0.5]", "--wait", "--timeout", "0.05")
    assert.equal(4, ended.code)
    local id = ended.stderr:match(
      "^taskengine: (%w+): not finished within 0.05 s; it goes on"
      .. " %(PENDING, running%)\n")
    assert.equal(0, place:run({ "result", id, "--wait" }).code)
    ended = call("nap", "[0.5]", "-w", "--timeout", "0.05", "--json")
    local id_in_text = ended.stderr:match("^taskengine: (%w+): not finished")
    local said = decoded(ended)
    assert.same({ 4, id_in_text, "PENDING", "running" },
      { ended.code, said.id, said.state, said.place })
    assert.equal("string", type(said.worker))
  end)

  -- Sends it when the program listens, and returns the id that it names.
  local function interrupt(process)
    wait_until(function()
      local file <close> = io.open(("/proc/%d/status"):format(process.pid))
      -- The shell that becomes the program catches it as well.
      local caught = file and file:read("a")
        :match("^Name:%s*taskengine\n.*SigCgt:%s*(%x+)")
      return caught and tonumber(caught, 16) & 1 << SIGINT - 1 ~= 0
    end)
    process:kill("INT")
    local ended = process:wait()
    assert.same({ 130, "" }, { ended.code, ended.stdout })
    return ended.stderr:match("taskengine: interrupted; the task goes on: (%w+)"
      .. "\n  later: taskengine result %1 %-%-wait\n$")
  end

  it("leaves the id at Ctrl-C; the task goes on", function()
    local id = interrupt(place:start { "call", "addition", "[2, 3]", "--queue",
      "closed", "--wait" })
    assert.equal(20, #id)
    assert.equal(id, interrupt(place:start { "result", id, "--wait" }))
    local opened = place:worker { "tasks.lua", "-Q", "closed", "-P", "1" }
    assert.equal("5\n", place:run({ "result", id, "--wait" }).stdout)
    opened:kill("TERM")
    assert.equal(0, opened:wait().code)
  end)

  it("puts a task where it belongs", function()
    call("brew", "--countdown", "100")
    assert.equal("kitchen",
      server:cli("HVALS", "te:{default.0}:t"):match("kitchen"))
    call("brew", "--queue", "bar") -- nobody is there
    assert.equal("1", server:cli("LLEN", "te:{default.0}:r:bar"))
  end)

  it("takes an id of the caller's", function()
    assert.equal("monday\n", call("addition", "[1, 1]", "--id",
      "monday").stdout)
    assert.equal("2\n", call("addition", "[5, 5]", "--id", "monday",
      "--wait").stdout)
    assert.equal("2\n", place:run({ "result", "monday", "-w" }).stdout)
  end)

  it("says within a second that nobody serves the queue, and waits", function()
    local waiting = place:start { "call", "addition", "[2, 3]", "--queue",
      "late", "--wait" }
    waiting:heard("stderr",
      "^taskengine: no worker serves the queue late now; waiting for one\n")
    local late = place:worker { "tasks.lua", "-Q", "late", "-P", "1" }
    local ended = waiting:wait()
    assert.same({ 0, "5\n" }, { ended.code, ended.stdout })
    late:kill("TERM")
    assert.equal(0, late:wait().code)
  end)

  it("does not wait for what will never be told", function()
    local ended = call("forget", "--wait")
    assert.equal(2, ended.code)
    assert.matches("keeps no result", ended.stderr)
  end)

  it("refuses a task that no worker of the queue knows", function()
    local ended = call("aditon", "[4, 6]")
    assert.same({ 2, "" }, { ended.code, ended.stdout })
    assert.matches("^taskengine: call: no worker on the queue default knows a"
      .. " task 'aditon' %(did you mean 'addition'%?%)\n", ended.stderr)
  end)

  for what, words in pairs {
    ["no JSON: line 1, column 1: '%]' expected"] = { "addition", "[" },
    ["have to be a JSON array, got 4"] = { "addition", "4" },
    ["have to be a JSON array, got null"] = { "addition", "null" },
    ["have to be a JSON array, got a table"] = { "addition", '{"x":1}' },
    ["NAME: a name .* expected, got \"no name\""] = { "no name" },
    ["NAME is missing"] = {},
    ["one word too many: \"6\""] = { "addition", "[4]", "6" },
    ["%-%-countdown: seconds from 0 .* got %-5"] =
      { "addition", "--countdown", "-5" },
    ["%-%-countdown: seconds from 0 .* got \"soon\""] =
      { "addition", "--countdown=soon" },
    ["%-%-priority: an integer from 0 to 9 expected, got 10"] =
      { "addition", "--priority", "10" },
    ["%-%-queue: a name .* got \"a\\nb\""] =
      { "addition", "--queue", "a\nb" },
    ["%-%-id: a name"] = { "addition", "--id", "a b" },
    ["unknown option '%-%-quue' %(did you mean '%-%-queue'%?%)"] =
      { "addition", "--quue", "x" },
    ["%-%-timeout needs a value: SECONDS"] = { "addition", "--timeout" },
    ["%-%-timeout is for %-%-wait"] = { "addition", "--timeout", "1" },
    ["%-%-wait takes no value"] = { "addition", "--wait=yes" },
  } do
    it("refuses " .. table.concat(words, " "):gsub("\n", "\\n"), function()
      local ended = call(table.unpack(words))
      assert.same({ 2, "" }, { ended.code, ended.stdout })
      assert.matches(what, ended.stderr)
      assert.not_matches("traceback", ended.stderr)
    end)
  end

  it("takes broker and namespace from an app", function()
    place:write("app.lua", ([[
      local te = require("taskengine")
      local app = te.app("x", { broker = %q, namespace = "other" })
      print("loaded", nil)
      io.write("too\n")
      app:main(function() error("main was run") end)
    ]]):format(server.url))
    local ended = place:run({ "call", "something", "-f", "app.lua" },
      { env = { TASKENGINE_BROKER = false } })
    assert.same({ 0, "loaded\tnil\ntoo\n" }, { ended.code, ended.stderr })
    assert.matches("^%w+\n$", ended.stdout)
    assert.equal("1", server:cli("LLEN", "te:{other.0}:r:default"))
  end)

  it("exits with 3 when Redis cannot be reached", function()
    local ended = place:run({ "call", "addition" }, { env = {
      TASKENGINE_BROKER = "redis://127.0.0.1:1/0",
      TASKENGINE_BROKER_TIMEOUT = "0.3",
    } })
    assert.equal(3, ended.code)
    assert.matches("127.0.0.1:1: connection refused", ended.stderr)
  end)

  it("leaves the id when Redis refuses to say how it ends", function()
    local other <close> = redis_server.start()
    local waiting = place:start({ "call", "add", "--id", "mine", "--wait" },
      { env = { TASKENGINE_BROKER = other.url } })
    waiting:heard("stderr", "no worker serves the queue default now")
    wait_until(function()
      return other:cli("CLIENT", "LIST"):find("cmd=blmpop", 1, true)
    end)
    other:cli("CONFIG", "SET", "requirepass", "secret")
    other.password = "secret"
    other:cli("CLIENT", "KILL", "TYPE", "normal")
    local ended = waiting:wait()
    assert.same({ 3, "" }, { ended.code, ended.stdout })
    assert.matches("\ntaskengine: the task was sent: mine\n", ended.stderr)
  end)

  it("says how to repeat what may have been accepted", function()
    local other <close> = redis_server.start()
    local env = {
      TASKENGINE_BROKER = other.url,
      TASKENGINE_BROKER_TIMEOUT = "2",
    }
    -- Whoever only looks is answered.
    place:run({ "status" }, { env = env })
    other:cli("CLIENT", "PAUSE", "60000", "WRITE")
    local ended = place:run({ "call", "add", "[1, 2]" }, { env = env })
    assert.equal(3, ended.code)
    local id = ended.stderr:match("^taskengine: the broker did not answer"
      .. " within 2 s\n  the task may have been accepted: with %-%-id (%w+)"
      .. " it can be repeated, and never becomes two\n$")
    other:cli("CLIENT", "UNPAUSE")
    for _ = 1, 2 do
      ended = place:run({ "call", "add", "[1, 2]", "--id", id }, { env = env })
      assert.same({ 0, id .. "\n" }, { ended.code, ended.stdout })
    end
    assert.equal("1", other:cli("LLEN", "te:{default.0}:r:default"))
  end)

  it("leaves the worker as it was", function()
    assert.is_nil(worker.ended)
    assert.not_matches("error in a callback", worker:stderr())
  end)
end)
