local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local wait_until = require("spec.support.wait").wait_until

local PREFIX <const> = "te:{default.0}:"

local TASKS <const> = [[
local te = require("taskengine")
local app = te.app("tasks")
local function is_mended()
  local file = io.open("mended")
  return file and file:close()
end
app:task("pay", function(...)
  if not is_mended() then
    error { kind = "NoStock", message = "none of \27[31m it left", sku = 7 }
  end
  return "paid"
end)
app:task("print", { queue = "paper" }, function() error("jam") end)
app:task("crash", function()
  if not is_mended() then os.exit(7) end
  return "survived"
end)
return app
]]

describe("taskengine dead", function()
  local server = redis_server.for_all_specs()
  local place = program.for_each_spec {
    server = server,
    files = { ["tasks.lua"] = TASKS },
  }
  local worker

  before_each(function()
    worker = place:worker { "tasks.lua", "-P", "1" }
  end)

  local function run(...)
    return place:run { ... }
  end

  local function dead(...)
    return run("dead", ...)
  end

  local function decoded(ended)
    assert.matches("^[^\n]+\n$", ended.stdout)
    return (assert(core.json.decode(ended.stdout)))
  end

  -- A task that has failed: its id.
  local function fail(name, args, ...)
    local ended = run("call", name, args or "[]", "--wait", "--json", ...)
    assert.equal(1, ended.code)
    return decoded(ended).id
  end

  local function ids(...)
    local list = {}
    for i, entry in ipairs(decoded(dead("list", "--json", ...)).dead) do
      list[i] = entry.id
    end
    return list
  end

  it("lists them, the last one first, and says when there is none", function()
    assert.same({ 0, "no dead task\n", "" }, (function(ended)
      return { ended.code, ended.stdout, ended.stderr }
    end)(dead()))
    assert.equal('{"dead":[],"more":false}\n', dead("--json").stdout)
    local one, two = fail("pay"), fail("print")
    local lines = {}
    for line in dead().stdout:gmatch("[^\n]+") do
      lines[#lines + 1] = line:gsub("%d+%-%d%d%-%d%d %d%d:%d%d:%d%d", "TIME")
    end
    assert.matches("^id +task +queue +died +kind +message$", lines[1])
    assert.matches("^" .. two .. "  print  paper    TIME  Error    .*jam$",
      lines[2])
    assert.matches("^" .. one .. "  pay    default  TIME  NoStock"
      .. "  none of \\x1b%[31m it left$", lines[3])
    assert.equal(3, #lines)
  end)

  it("takes filters", function()
    local one, two, three = fail("pay"), fail("print"), fail("print")
    assert.same({ three, two }, ids("--task", "print"))
    assert.same({ one }, ids("-Q", "default"))
    assert.same({ one }, ids("--kind", "NoStock"))
    assert.same({ three }, ids("--limit", "1"))
    assert.same({ three, two, one }, ids("--newer", "1h"))
    assert.same({}, ids("--older", "2.5d"))
    assert.same({}, ids("--kind", "NoStock", "--task", "print"))
    local ended = dead("--limit", "2")
    assert.matches("there are more; ", ended.stderr)
    assert.equal("", dead("--limit", "3").stderr)
    assert.is_true(decoded(dead("--limit", "2", "--json")).more)
  end)

  it("shows all that there is to say of one", function()
    local id = fail("pay", '[1, null, "a\\u001b\\u009bb"]', "--id", "mine")
    local ended = dead("show", id)
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    local text = ended.stdout
    assert.matches("id          mine\nengine id   %w+\ntask        pay\n",
      text)
    assert.matches('arguments   [1,null,"a\\u001b\\u009bb"]\n', text, 1, true)
    assert.matches("NoStock: none of \\x1b[31m it left\nstack traceback:\n",
      text, 1, true)
    assert.matches("tasks.lua:9: in function", text, 1, true)
    assert.not_matches("[\1-\8\11-\31]", text)
    assert.not_matches("history", text)
    local whole = decoded(dead("show", id, "--json"))
    assert.same({ "mine", "pay", "default", "NoStock", 0, 0, 7 },
      { whole.id, whole.name, whole.queue, whole.kind, whole.deaths,
        whole.reaps, whole.value.sku })
    assert.same({ 1, core.codec.null, "a\27\u{9b}b" }, whole.arguments)
    assert.same({}, whole.history)
    assert.is_true(whole.sent <= whole.died + 60)
  end)

  it("shows which processes died with a task", function()
    local id = fail("crash")
    local whole = decoded(dead("show", id, "--json"))
    assert.same({ "WorkerLost", 3, 3 },
      { whole.kind, whole.deaths, #whole.history })
    for _, note in ipairs(whole.history) do
      assert.same({ "process died", worker.pid, core.sys.hostname(),
        "WorkerLost" }, { note.event, note.pid, note.host, note.kind })
      assert.matches("exited with status 7", note.message)
      assert.is_true(note.at >= whole.sent - 60)
    end
    local _, count = dead("show", id).stdout:gsub("a process of worker [^\n]*"
      .. "pid " .. worker.pid .. "%) died: WorkerLost: [^\n]*status 7", "")
    assert.equal(3, count)
  end)

  it("runs one again, under its id, and who asks waits for that", function()
    for _, id in ipairs { fail("pay"), fail("crash") } do
      assert.equal(1, run("result", id).code)
      place:write("mended", "")
      local ended = dead("requeue", id)
      assert.same({ 0, "requeued 1 task\n", "" },
        { ended.code, ended.stdout, ended.stderr })
      local result = run("result", id, "--wait")
      assert.same({ 0, "" }, { result.code, result.stderr })
      assert.matches("^%l+\n$", result.stdout)
      assert.equal(1, dead("show", id).code)
      os.remove(place.dir .. "/mended")
    end
  end)

  it("says so when nobody serves the queue", function()
    local id = fail("print")
    worker:kill("TERM")
    worker:wait()
    local ended = dead("requeue", id)
    assert.same({ 0, "requeued 1 task\n" }, { ended.code, ended.stdout })
    assert.matches("no worker serves the queue paper now: 1 task waits there",
      ended.stderr)
  end)

  it("says so when an id is not among the dead", function()
    for _, action in ipairs { "show", "requeue", "delete" } do
      local ended = dead(action, "nobody")
      assert.equal(1, ended.code)
      assert.matches("nobody is not among the dead", ended.stderr)
    end
  end)

  it("takes one that is named twice for one", function()
    local id = fail("pay", "[]", "--id", "mine")
    local engine_id = decoded(dead("show", id, "--json")).engine_id
    local ended = dead("delete", id, engine_id, id)
    assert.same({ 0, "deleted 1 task\n", "" },
      { ended.code, ended.stdout, ended.stderr })
    ended = dead("delete", id, id)
    assert.same({ 1, "deleted 0 tasks\n",
      "taskengine: mine is not among the dead\n" },
      { ended.code, ended.stdout, ended.stderr })
  end)

  it("leaves one dead whose caller's id is another task's", function()
    fail("pay", "[]", "--id", "mine")
    local engine_id = decoded(dead("show", "mine", "--json")).engine_id
    server:cli("SET", PREFIX .. "u:mine", "another")
    local ended = dead("requeue", engine_id)
    assert.same({ 1, "requeued 0 tasks\n" }, { ended.code, ended.stdout })
    assert.matches(engine_id .. " stays dead: the id that its caller chose"
      .. " belongs to another task", ended.stderr)
  end)

  it("deletes, and leaves the result", function()
    local one, two = fail("pay"), fail("print")
    assert.equal("deleted 1 task\n", dead("delete", one).stdout)
    assert.same({ two }, ids())
    assert.matches("NoStock", run("result", one).stderr)
    assert.same({ deleted = 1, missing = 0 },
      decoded(dead("delete", "--all", "--yes", "--json")))
    assert.same({}, ids())
  end)

  it("requeues by filter, what died first in front", function()
    local one, two = fail("print"), fail("print")
    fail("pay")
    worker:kill("TERM")
    worker:wait()
    assert.same({ requeued = 2, missing = 0, taken = 0, running = 0 },
      decoded(dead("requeue", "--task", "print", "--yes", "--json")))
    local queues = decoded(run("status", "--json")).queues
    assert.same({ "paper", 2, 2, 2 }, { queues[2].name, queues[2].failed,
      queues[2].requeued, queues[2].ready })
    local first = server:cli("LINDEX", PREFIX .. "r:paper", "0")
    assert.equal(one, first:sub(1, 20))
    assert.not_equal(one, two)
    assert.equal(1, #ids())
  end)

  it("asks before it touches what was not named", function()
    fail("pay")
    for _, action in ipairs { "requeue", "delete" } do
      for _, word in ipairs { "--all", "--kind=NoStock" } do
        local ended = dead(action, word)
        assert.equal(2, ended.code)
        assert.matches("nobody can be asked here.*%-%-yes", ended.stderr)
      end
    end
    local asked = place:run({ "sh", "-c", "echo n | script -qec"
      .. " 'taskengine dead delete --all' /dev/null" },
      { program = "/usr/bin/env", env = {
        PATH = program.PATH:match("^(.*)/") .. ":" .. os.getenv("PATH"),
      } })
    assert.matches("delete 1 task%? %[y/N%]", asked.stdout)
    assert.matches("nothing was done", asked.stdout)
    assert.equal(1, #ids())
  end)

  it("refuses what makes no sense", function()
    for text, words in pairs {
      ["which tasks is it to requeue"] = { "requeue" },
      ["ids, filters and %-%-all exclude"] = { "delete", "x", "--all" },
      ["unknown action 'reqeue' %(did you mean 'requeue'"] = { "reqeue" },
      ["show takes one ID"] = { "show" },
      ["list takes no ID"] = { "list", "x" },
      ["a duration such as 90s, 15m, 2h or 3d, up to 100 years expected"] =
        { "--older", "soon" },
      ["there is nothing to requeue"] = { "requeue", "x", "--malformed" },
      ["ID: a name"] = { "show", "a b" },
      ["show takes one ID, and no %-%-kind"] = { "show", "x", "--kind", "E" },
      ["%-%-task is for tasks, and what is malformed is none"] =
        { "delete", "--malformed", "--task", "x", "--yes" },
      ["%-%-all and %-%-limit exclude"] = { "list", "--all", "--limit", "1" },
    } do
      local ended = dead(table.unpack(words))
      assert.equal(2, ended.code)
      assert.matches(text, ended.stderr)
    end
  end)

  it("ends a task that no worker knows as NotRegistered, and runs it when"
    .. " one does", function()
      server:cli("FLUSHALL")
      place:write("other.lua", 'require("taskengine").app("o"):task("novel",'
        .. ' function() return "known" end)')
      worker:kill("TERM")
      worker:wait()
      local id = run("call", "novel").stdout:gsub("\n", "")
      local ignorant = place:worker { "tasks.lua", "-P", "1" }
      wait_until(function()
        return ids()[1] == id
      end, 20, "its end")
      assert.matches("^" .. id .. " +novel +default +[%d-]+ [%d:]+ "
        .. " NotRegistered", dead().stdout:match("\n(.*)"))
      ignorant:kill("TERM")
      ignorant:wait()
      place:worker { "other.lua", "-P", "1" }
      assert.equal(0, dead("requeue", id).code)
      assert.equal("known\n", run("result", id, "--wait").stdout)
    end)

  describe("--malformed", function()
    -- What is in there would clear a terminal, were it written to one.
    local HOSTILE <const> = "\27[2J\27]0;x\7\u{9b}31m\r\n%s\\ ~"

    local function intrude(...)
      for _, bytes in ipairs { ... } do
        server:cli("RPUSH", PREFIX .. "r:default", bytes)
      end
      server:cli("LPUSH", PREFIX .. "b:"
        .. server:cli("ZRANGE", PREFIX .. "w", "0", "-1"):gsub("\n", ""), "")
      wait_until(function()
        return server:cli("EXISTS", PREFIX .. "r:default"):match("^0")
      end)
    end

    it("lists, shows and deletes what is no task", function()
      assert.equal("nothing malformed was found\n",
        dead("list", "--malformed").stdout)
      intrude(HOSTILE, ("x"):rep(3000), "again", "again")
      local entries =
        decoded(dead("list", "--malformed", "--json")).malformed
      local sizes = {}
      for i, entry in ipairs(entries) do
        sizes[i] = entry.size
      end
      assert.same({ 5, 5, 3000, #HOSTILE }, sizes)
      local listed = dead("list", "--malformed")
      assert.matches("\\x1b[2J\\x1b]0;x\\x07\\xc2\\x9b31m\\x0d\\x0a%s\\ ~",
        listed.stdout, 1, true)
      assert.not_matches("[\1-\9\11-\31\127-\255]", listed.stdout)
      local shown = dead("show", entries[4].id, "--malformed").stdout
      assert.matches("bytes  " .. #HOSTILE, shown, 1, true)
      assert.matches("00000000  1b 5b 32 4a 1b 5d 30 3b 78 07 c2 9b 33 31 6d"
        .. " 0d  |.[2J.]0;x...31m.|", shown, 1, true)
      assert.matches("... 1976 bytes more",
        dead("show", entries[3].id, "--malformed").stdout, 1, true)
      assert.equal("deleted 2\n",
        dead("delete", entries[1].id, "--malformed").stdout)
      assert.equal(1, dead("delete", entries[1].id, "--malformed").code)
      assert.same({ deleted = 2 },
        decoded(dead("delete", "--all", "--yes", "--malformed", "--json")))
      assert.equal('{"malformed":[]}\n',
        dead("list", "--malformed", "--json").stdout)
    end)
  end)
end)
