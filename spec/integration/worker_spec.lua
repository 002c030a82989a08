local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

-- What Redis kept for the worker of a release build is the same with a
-- sanitizer, but everything takes longer there.
local IS_SLOW <const> = (os.getenv("TE_BUILD") or ""):find("asan") ~= nil

describe("A worker", function()
  local server, site

  setup(function()
    server = redis_server.start()
  end)

  teardown(function()
    server:stop()
  end)

  before_each(function()
    site = workers.site { server = server }
  end)

  after_each(function()
    site:close()
  end)

  local function send(name, args, opts)
    return site.app:send_task(name, args, opts)
  end

  local function wait_running(count)
    wait_until(function()
      return #site:in_flight() == count
    end, 20, count .. " tasks in flight")
  end

  local function assert_failed(kind, message, ok, e)
    assert.is_false(ok)
    assert.equal(kind, e.kind)
    assert.matches(message, e.message, 1, true)
  end

  describe("brings", function()
    it("values", function()
      site:worker { "-P", "1" }
      assert.same({ true, 10 }, { site:outcome("add", 4, 6) })
      assert.same({ true, "xxxx" }, { site:outcome("large", 4) })
      assert.same({ true }, { site:outcome("note", "notes", "seen") })
      assert.same({ "seen" }, site:lines("notes"))
    end)

    it("failures, with their kind", function()
      site:worker({ "-P", "1" }, {
        env = { TASKENGINE_RESULT_BYTES_MAX = "1000" },
      })
      assert_failed("Error", "basics.lua", site:outcome("raise", "no"))
      assert_failed("Limit", "enough", site:outcome("raise",
        { kind = "Limit", message = "enough" }))
      assert_failed("CannotTravel", "result.add: a function cannot be sent",
        site:outcome("closure"))
      assert_failed("Error", "returned 2 values", site:outcome("two_values"))
      assert_failed("TooLarge", "1000", site:outcome("large", 1001))
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
    end)

    it("a refusal of what no worker knows", function()
      site:worker { "-P", "1" }
      site:worker { "-P", "1" }
      assert_failed("NotRegistered",
        'no worker of queue "default" knows the task "nothing"',
        site:outcome("nothing"))
      assert.equal(1, site:count("failed"))
      assert.equal(1, site:key("ZCARD", "x"))
    end)

    it("what a task gets from another, with one slot for both", function()
      site:worker { "-P", "1", "-c", "1" }
      assert.same({ true, 42 }, { site:outcome("ask", 41) })
    end)

    it("what a task gets from another, when it was lost on the way", function()
      local worker = site:worker { "-P", "1", "-Q", "default" }
      local wid = site:wids()[1]
      local r = send("ask_elsewhere", { "go", "notes" })
      wait_until(function()
        return site:key("EXISTS", "y") == 1
      end, 20, "a task that waits")
      -- The worker cannot see how its bell's connection is cut, how the bell
      -- rings, and how that is lost.
      workers.kill(worker.pid, "STOP")
      local id = site:call("CLIENT", "LIST"):match("id=(%d+)[^\n]*cmd=blmpop")
      site:call("CLIENT", "KILL", "ID", id)
      site:worker { "-P", "1", "-Q", "elsewhere" }
      site.place:write("go", "")
      wait_until(function()
        return site:key("LPOP", "b:" .. wid)
      end, 20, "the bell")
      workers.kill(worker.pid, "CONT")
      assert.equal("seen", r:get { timeout = 20 })
    end)

    it("what tasks get from others, many at a time", function()
      site:worker { "-P", "2", "-c", "1" }
      local list = {}
      for i = 1, 200 do
        list[i] = send("ask", { i })
      end
      local sum = 0
      for r in te.as_completed(list, 60) do
        sum = sum + r:get()
      end
      assert.equal(200 * 201 / 2 + 200, sum)
    end)
  end)

  describe("runs", function()
    it("the first in first, and the urgent before", function()
      for i = 1, 20 do
        send("note", { "order", "plain-" .. i })
      end
      for i = 1, 10 do
        send("note", { "order", "p1-" .. i }, { priority = 1 })
        send("note", { "order", "p9-" .. i }, { priority = 9 })
      end
      local expected = {}
      for _, name in ipairs { "p9-", "p1-", "plain-" } do
        for i = 1, name == "plain-" and 20 or 10 do
          expected[#expected + 1] = name .. i
        end
      end
      site:worker { "-P", "1" }
      assert.same(expected, site:wait_lines("order", 40))
    end)

    it("every queue that it serves, and no other", function()
      send("note", { "notes", "here" }, { queue = "a" })
      send("note", { "notes", "there" }, { queue = "b" })
      send("note", { "notes", "elsewhere" }, { queue = "c" })
      site:worker { "-P", "1", "-Q", "a,b" }
      local lines = site:wait_lines("notes", 2)
      table.sort(lines)
      assert.same({ "here", "there" }, lines)
      assert.equal(1, site:key("LLEN", "r:c"))
    end)

    it("the queues that its tasks name, unless told otherwise", function()
      site:worker { "-P", "1" }
      send("note_urgent", { "notes", "urgent" }, { queue = "urgent" })
      send("note", { "notes", "plain" })
      site:wait_lines("notes", 2)
    end)

    it("what is due, when it is due", function()
      site:worker { "-P", "1" }
      local list = {}
      for i = 1, 10 do
        local due = te.now() + i * 0.05
        list[i] = { due = due, send("nap", { 0, "notes", ("%.3f"):format(due) },
          { eta = due }) }
      end
      for i = 1, 10 do
        list[i][1]:get { timeout = 20 }
        -- Every task before it was due before it.
        assert.is_true(te.now() >= list[i].due - 0.002)
      end
      local order = {}
      for _, line in ipairs(site:lines("notes")) do
        order[#order + 1] = line:match("^%S+")
      end
      local sorted = table.move(order, 1, #order, 1, {})
      table.sort(sorted)
      assert.same(sorted, order)
    end)

    it("what becomes due while nothing else happens", function()
      site:worker { "-P", "1" }
      wait_until(function()
        return site:key("SCARD", "sl:default") == 1
      end)
      local began = te.now()
      send("add", { 1, 2 }, { countdown = 0.4 }):get { timeout = 20 }
      local late = te.now() - began - 0.4
      assert.is_true(late >= -0.002, late)
      -- Less than any timer of the worker's but that of the due time.
      assert.is_true(late < 3, late)
    end)

    it("tasks that sleep side by side", function()
      site:worker { "-P", "1", "-c", "20" }
      local list = {}
      for i = 1, 20 do
        list[i] = send("until_file", { "go", "notes", i })
      end
      site:wait_lines("notes", 20)
      site.place:write("go", "")
      for _, r in ipairs(list) do
        assert.equal("seen", r:get { timeout = 20 })
      end
    end)

    it("no more of them than it has slots", function()
      site:worker { "-P", "1", "-c", "2" }
      for i = 1, 4 do
        send("until_file", { "go", "notes", i })
      end
      site:wait_lines("notes", 2)
      local r = send("add", { 1, 2 }, { priority = 9 })
      assert.same({ nil, "timeout" }, { r:wait(0.1) })
      assert.equal(2, #site:lines("notes"))
      site.place:write("go", "")
      assert.equal(3, r:get { timeout = 20 })
      site:wait_lines("notes", 4)
    end)

    it("short tasks past a long one, in whatever child it is", function()
      local list = {}
      for i = 1, 1000 do
        -- The children know by then how short tasks are, and get many.
        if i == 500 then
          send("busy_until_file", { "go", "notes" })
        end
        list[#list + 1] = send("add", { i, i })
      end
      site:worker { "-P", "2" }
      site:wait_lines("notes", 1)
      for r in te.as_completed(list, 30) do
        r:get()
      end
      assert.equal(1, #site:in_flight())
      site.place:write("go", "")
    end)

    it("no short ones behind long ones when others can", function()
      local before, list, ids, rest = {}, {}, {}, {}
      for i = 1, 500 do
        before[i] = send("add", { i, i })
      end
      local worker = site:worker { "-P", "2" }
      for r in te.as_completed(before, 30) do
        r:get()
      end
      for _ = 1, 2 do
        send("busy_until_file", { "go", "notes" })
      end
      site:wait_lines("notes", 2)
      -- Its children are known for short tasks, and are given many.
      for i = 1, 400 do
        list[i] = send("note", { "short", i })
        ids[i] = list[i].id
      end
      wait_until(function()
        return #site:in_flight() == 2 and #site:ready() == 400
      end, 20, "short tasks that went back")
      for i, envelope in ipairs(site:ready()) do
        rest[i] = envelope.id
        assert.same({ 0, 0 }, { envelope.deaths, envelope.reaps })
      end
      assert.same(ids, rest)
      assert.is_true((table.remove(list):revoke()))
      site:worker { "-P", "1" }
      for r in te.as_completed(list, 30) do
        r:get()
      end
      assert.equal(2, #site:in_flight())
      local lines = site:lines("short")
      for i, line in ipairs(lines) do
        assert.equal(tostring(i), line)
      end
      assert.equal(399, #lines)
      site.place:write("go", "")
      assert.equal(0, site:stop(worker).code)
      assert.same({ 901, 0, 0 }, { site:count("done"), site:count("lost"),
        site:count("redelivered") })
    end)

    it("none at once when it has no room, and passes the bell on", function()
      site:worker { "-P", "1" }
      local before = {}
      for i = 1, 200 do
        before[i] = send("add", { i, i })
      end
      for r in te.as_completed(before, 30) do
        r:get()
      end
      send("busy_until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      site:call("CONFIG", "SET", "slowlog-log-slower-than", "0")
      -- Goes back, for which the worker's own bell rings.
      send("note", { "short" })
      wait_until(function()
        for _, entry in ipairs(site:call("SLOWLOG", "GET", "-1")) do
          local _, name, _, _, _, _, want, _, slept = table.unpack(entry[4])
          if name == "te1_fetch" and want == "0" and slept == "1" then
            return true
          end
        end
      end, 10, "a fetch of nothing")
      site:call("CONFIG", "SET", "slowlog-log-slower-than", "10000")
      assert.equal(1, #site:ready())
      site.place:write("go", "")
      site:wait_lines("short", 1)
    end)

    it("tasks that wait for others up to a number, and says so", function()
      local first = site:worker { "-P", "1" }
      local deep = send("nest", { 1050 })
      first:heard("stderr", "1001 tasks wait for others, and no more can")
      assert.same({ nil, "timeout" }, { deep:wait(0) })
      site:worker { "-P", "1" }
      assert.equal(1050, deep:get { timeout = 60 })
      local said = site:stop(first).stderr
      assert.equal(1, select(2, said:gsub("tasks wait for others", "")))
    end)

    it("its share of a queue that others serve too", function()
      local first = site:worker { "-P", "1" }
      local second = site:worker { "-P", "1" }
      for i = 1, 2 do
        send("until_file", { "go", "notes", i })
      end
      local lines = site:wait_lines("notes", 2)
      site.place:write("go", "")
      local pids = {}
      for _, line in ipairs(lines) do
        pids[tonumber(line:match(" (%d+)$"))] = true
      end
      assert.is_true(pids[workers.children(first)[1]])
      assert.is_true(pids[workers.children(second)[1]])
    end)
  end)

  describe("with a time limit", function()
    it("kills a child that computes, and starts another", function()
      local worker = site:worker { "-P", "1" }
      local before = workers.children(worker)
      local began = te.now()
      local ok, e = send("stubborn", {}, { time_limit = 0.3 }):wait(30)
      assert_failed("TimeLimitExceeded", "longer than its time limit of 0.3 s",
        ok, e)
      assert.is_true(te.now() - began >= 0.29)
      workers.wait_gone(before, 1)
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
      assert.equal(0, site:count("lost"))
    end)

    it("ends a task that sleeps, and keeps its child", function()
      local worker = site:worker { "-P", "1", "-c", "2" }
      local before = workers.children(worker)
      local other = send("until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      local ok, e = send("nap", { 60 }, { time_limit = 0.2 }):wait(30)
      assert_failed("TimeLimitExceeded", "time limit of 0.2 s", ok, e)
      site.place:write("go", "")
      assert.equal("seen", other:get { timeout = 20 })
      assert.same(before, workers.children(worker))
      assert.equal(0, site:count("redelivered"))
    end)

    it("counts from the start, not from the fetch", function()
      site:worker { "-P", "1" }
      local list = {}
      for i = 1, 4 do
        list[i] = send("nap", { 0.25 }, { time_limit = 0.9 })
      end
      for i = 1, 4 do
        assert.equal("rested", list[i]:get { timeout = 20 })
      end
    end)

    it("blames no neighbour of a task that had to be killed", function()
      site:worker { "-P", "1", "-c", "2" }
      send("nap", { 30, "notes", "sleeper" }, { time_limit = 0.5 })
      site:wait_lines("notes", 1)
      -- It keeps the child from ending the sleeper by itself.
      send("busy_until_file", { "go", "notes", "busy" })
      local lines = site:wait_lines("notes", 3)
      assert.same({ "sleeper", "busy", "busy" }, { lines[1]:match("%a+"),
        lines[2]:match("%a+"), lines[3]:match("%a+") })
      wait_running(1)
      local envelope = site:in_flight()[1]
      assert.same({ 0, 0, 1 }, { envelope.deaths, envelope.reaps,
        envelope.delivery })
      site.place:write("go", "")
      wait_running(0)
    end)
  end)

  describe("whose child dies", function()
    it("says how, when it was the third", function()
      -- A sanitizer would take the signal and report it.
      local options = (os.getenv("ASAN_OPTIONS") or "") .. ":handle_segv=0"
      site:worker({ "-P", "2" }, { env = { ASAN_OPTIONS = options } })
      assert_failed("WorkerLost", "the process that ran it ended: exited with"
        .. " status 0", site:outcome("exit", 0, "notes"))
      assert_failed("WorkerLost", "exited with status 7",
        site:outcome("exit", 7, "notes"))
      assert_failed("WorkerLost", "killed by signal 11 (Segmentation fault)",
        site:outcome("signal_self", "SEGV"))
      assert.equal(6, #site:lines("notes"))
      assert.equal(9, site:count("lost"))
      assert.equal(3, site:key("ZCARD", "x"))
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
    end)

    it("ends at once what must not be started again", function()
      site:worker { "-P", "1" }
      local exit = site.app:task("exit", { reject_on_worker_lost = false },
        print)
      local ok, e = exit:delay(3, "notes"):wait(30)
      assert_failed("WorkerLost", "exited with status 3", ok, e)
      assert.equal(1, #site:lines("notes"))
    end)

    it("sends its neighbours back uncounted", function()
      site:worker { "-P", "1", "-c", "3" }
      send("nap", { 30, "naps", "a" })
      send("nap", { 30, "naps", "b" })
      site:wait_lines("naps", 2)
      assert_failed("WorkerLost", "exited with status 5",
        site:outcome("exit", 5))
      wait_running(2)
      for _, envelope in ipairs(site:in_flight()) do
        assert.same({ "nap", 0, 0 }, { envelope.name, envelope.deaths,
          envelope.reaps })
        assert.is_true(envelope.delivery > 0)
      end
      assert.equal(3, site:count("lost"))
    end)

    it("gives to others what had not begun, uncounted", function()
      local worker = site:worker { "-P", "1" }
      -- The child knows how short tasks are, and gets many at a time.
      for i = 1, 300 do
        send("add", { i, i })
      end
      send("nap", { 30, "naps", "first" })
      for _ = 1, 50 do
        send("note", { "notes", "x" })
      end
      site:wait_lines("naps", 1)
      workers.kill(workers.children(worker)[1])
      site:wait_lines("naps", 2)
      wait_until(function()
        return site:count("lost") == 1
      end)
      local all = site:in_flight()
      table.move(site:ready(), 1, #site:ready(), #all + 1, all)
      for _, envelope in ipairs(all) do
        assert.equal(envelope.name == "nap" and 1 or 0, envelope.deaths)
      end
      assert.equal(0, site:count("redelivered"))
    end)

    it("keeps what had ended", function()
      -- All is there before: the child gets many at a time, and has not told
      -- of the last ones when it begins to compute.
      local list = {}
      for i = 1, 300 do
        list[i] = send("add", { i, i })
      end
      list[301] = send("busy_until_file", { "go", "notes" })
      local worker = site:worker { "-P", "1" }
      site:wait_lines("notes", 1)
      for i = 1, 300 do
        assert.equal(2 * i, list[i]:get { timeout = 20 })
      end
      workers.kill(workers.children(worker)[1])
      site:wait_lines("notes", 2)
      site.place:write("go", "")
      assert.equal("seen", list[301]:get { timeout = 20 })
      assert.equal(301, site:count("done"))
    end)

    it("has no descriptor and no process more than before", function()
      local worker = site:worker { "-P", "4" }
      local before = workers.descriptors(worker.pid)
      for _ = 1, IS_SLOW and 5 or 50 do
        local pids = workers.children(worker)
        for _, pid in ipairs(pids) do
          workers.kill(pid)
        end
        workers.wait_gone(pids)
        wait_until(function()
          return #workers.children(worker) == 4
        end, 20, "four children")
      end
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
      wait_until(function()
        return workers.descriptors(worker.pid) == before
      end, 20, "as few descriptors as before")
    end)
  end)

  local function count(text, what)
    return select(2, text:gsub(what, ""))
  end

  it("goes on when a new child cannot load its files, once it can", function()
    local file = site.place:write("shaky.lua", [[
      local te = require("taskengine")
      local sys = require("taskengine.core").sys
      local tries <close> = io.open("tries", "a")
      tries:write("one\n")
      tries:flush()
      if sys.stat("gone") then os.exit(9) end
      assert(not sys.stat("broken"), "broken")
      local app = te.app("shaky")
      app:task("add", function(x, y) return x + y end)
      app:task("exit", function() os.exit(1) end)
    ]])
    local worker = site.place:worker { file, "-P", "1" }
    assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
    site.place:write("broken", "")
    workers.kill(workers.children(worker)[1])
    worker:heard("stderr", "cannot load")
    local r = send("add", { 3, 4 })
    -- Two tries at once, the others after a pause.
    wait_until(function()
      return #site:lines("tries") >= 4
    end, 20, "the third try that fails")
    assert.equal(1, count(worker:stderr(), "cannot load"))
    assert.matches("error a new child cannot load its files, trying again:"
      .. " [^\n]*shaky.lua:7: broken", worker:stderr())
    assert.equal(1, count(worker:stderr(), "child 0 killed by signal 9"))
    site.place:write("gone", "")
    worker:heard("stderr", "trying again: exited with status 9\n")
    assert.is_false(r:ready())
    os.remove(site.dir .. "/broken")
    os.remove(site.dir .. "/gone")
    assert.equal(7, r:get { timeout = 20 })
    assert.equal(2, count(worker:stderr(), "cannot load"))
    assert.equal(1, count(worker:stderr(), "load their files again"))
    assert.equal(0, site:count("lost"))
  end)

  describe("that stops", function()
    local function stops_with(worker, code)
      local children = workers.children(worker)
      local ended = site:stop(worker)
      assert.same({ code, 0 }, { ended.code, ended.signal })
      workers.wait_gone(children, 1)
      return ended
    end

    it("lets end what runs, and leaves the rest", function()
      local worker = site:worker { "-P", "1" }
      local running = send("until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      for _ = 1, 3 do
        send("note", { "notes", "later" })
      end
      local children = workers.children(worker)
      worker:kill("TERM")
      worker:heard("stderr", "stopping: waiting up to 30 s for %d+ tasks?")
      wait_until(function()
        return #site:ready() == 3
      end)
      site.place:write("go", "")
      assert.equal("seen", running:get { timeout = 20 })
      assert.equal(0, worker:wait(20).code)
      workers.wait_gone(children, 1)
      assert.equal(1, #site:lines("notes"))
      for _, envelope in ipairs(site:ready()) do
        assert.same({ 0, 0 }, { envelope.deaths, envelope.reaps })
      end
      assert.same({ "r:default" }, site:leftovers())
    end)

    it("hands back what runs when it is told twice", function()
      local worker = site:worker { "-P", "1", "-c", "2" }
      send("nap", { 30, "notes", "a" })
      site:wait_lines("notes", 1)
      send("compute", { 30, "notes", "b" })
      site:wait_lines("notes", 2)
      worker:kill("TERM")
      worker:heard("stderr", "stopping: waiting")
      stops_with(worker, 0)
      local ready = site:ready()
      assert.equal(2, #ready)
      for _, envelope in ipairs(ready) do
        assert.same({ 0, 0, 1 }, { envelope.deaths, envelope.reaps,
          envelope.delivery })
      end
      assert.equal(0, site:count("lost"))
      assert.same({ "r:default" }, site:leftovers())
    end)

    it("hands back what runs when its grace time is over", function()
      local worker = site:worker { "-P", "1", "--grace", "0.3" }
      send("compute", { 30, "notes" })
      site:wait_lines("notes", 1)
      local began = te.now()
      stops_with(worker, 0)
      assert.is_true(te.now() - began >= 0.29)
      assert.equal(0, site:ready()[1].deaths)
      assert.same({ "r:default" }, site:leftovers())
    end)

    it("hands back what its dying child was running", function()
      local worker = site:worker { "-P", "2" }
      local running = send("until_file", { "go", "notes", "a" })
      site:wait_lines("notes", 1)
      send("nap", { 30, "notes", "b" })
      local pid = site:wait_lines("notes", 2)[2]:match("%d+")
      worker:kill("TERM")
      worker:heard("stderr", "stopping: waiting")
      workers.kill(tonumber(pid))
      wait_until(function()
        return #site:ready() == 1
      end)
      site.place:write("go", "")
      assert.equal("seen", running:get { timeout = 20 })
      assert.equal(0, worker:wait(20).code)
      local back = site:ready()[1]
      assert.equal(1, back.deaths)
      assert.same({ "h:" .. back.id, "r:default" }, site:leftovers())
    end)

    it("hands back at once what it has fetched", function()
      local worker = site:worker { "-P", "2" }
      for i = 1, 3000 do
        send("compute", { 0.001, "notes", i })
      end
      site:wait_lines("notes", 100)
      stops_with(worker, 0)
      local begun = #site:lines("notes")
      assert.equal(begun, site:count("done"))
      assert.equal(3000 - begun, #site:ready())
      for _, envelope in ipairs(site:ready()) do
        assert.same({ 0, 0 }, { envelope.deaths, envelope.reaps })
      end
      assert.same({ "r:default" }, site:leftovers())
    end)

    it("lets its children end by themselves", function()
      local worker = site:worker { "-P", "1" }
      assert.is_true((site:outcome("buffer", "notes", "written at the end")))
      assert.same({}, site:lines("notes"))
      stops_with(worker, 0)
      assert.same({ "written at the end" }, site:lines("notes"))
    end)

    it("leaves nothing but what is documented", function()
      local worker = site:worker { "-P", "2" }
      send("add", { 1, 2 }, { countdown = 0.05 })
      send("nap", { 0 }, { priority = 3 })
      send("note", { "notes", "x" }, { ignore_result = true })
      send("add", { 1, 2 }, { task_id = "order-7" })
      for _ = 1, 2 do
        site:outcome("ask", 1)
      end
      wait_until(function()
        return site:count("done") == 8
      end)
      stops_with(worker, 0)
      assert.same({}, site:leftovers())
      assert.same({}, site:wids())
      local left <close> = io.popen(("find '%s' -path '*/workers/*'"):format(
        site.place.home.path))
      assert.equal("", left:read("a"))
    end)

    it("does so without Redis, and another takes over at once", function()
      local own <close> = redis_server.start { config = { "appendonly yes",
        "appendfsync always" } }
      site:close()
      site = workers.site { server = own }
      local worker = site:worker { "-P", "1" }
      local done = send("busy_until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      own:kill("KILL")
      worker:kill("TERM")
      worker:heard("stderr", "stopping: waiting")
      site.place:write("go", "")
      assert.equal(3, worker:wait(30).code)
      own:restart()
      site:worker { "-P", "1" }
      -- It had ended, and nobody had been told but its claim.
      assert.equal("seen", done:get { timeout = 10 })
      assert.equal(1, #site:lines("notes"))
    end)

    it("does so even when Redis refuses everything", function()
      local worker = site:worker { "-P", "1" }
      send("nap", { 30, "notes" })
      site:wait_lines("notes", 1)
      server:cli("CONFIG", "SET", "min-replicas-to-write", "1")
      worker:kill("QUIT")
      local ended = worker:wait(30)
      server:cli("CONFIG", "SET", "min-replicas-to-write", "0")
      assert.equal(3, ended.code)
      -- A few tries, not one for each turn of a loop.
      local _, refusals = ended.stderr:gsub("Redis refuses", "")
      assert.is_true(refusals >= 1 and refusals < 200, refusals)
    end)
  end)

  -- Hundredths of a second that a worker and its children compute while a spec
  -- watches.
  local function ticks_while(worker, seconds)
    local pids, began = workers.children(worker), te.now()
    pids[#pids + 1] = worker.pid
    local function ticks()
      local sum = 0
      for _, pid in ipairs(pids) do
        local file <close> = assert(io.open(("/proc/%d/stat"):format(pid)))
        local user, system = file:read("a"):match("%) %a"
          .. (" %S+"):rep(10) .. " (%d+) (%d+)")
        sum = sum + user + system
      end
      return sum
    end
    local before = ticks()
    wait_until(function()
      return te.now() - began >= seconds
    end)
    return ticks() - before
  end

  it("waits in peace for Redis, also in a new child", function()
    local own <close> = redis_server.start { config = { "appendonly yes",
      "appendfsync always" } }
    site:close()
    site = workers.site { server = own }
    -- The child knows how short tasks are, and gets several at a time.
    for i = 1, 50 do
      send("add", { i, i })
    end
    send("busy_until_file", { "go", "notes" })
    local r = send("ask", { 41 })
    local worker = site:worker { "-P", "1" }
    site:wait_lines("notes", 1)
    wait_until(function()
      return #site:in_flight() == 2
    end)
    own:kill("KILL")
    worker:heard("stderr", "trying again")
    -- The next one is given what waited behind the first, which asks Redis.
    local child = workers.children(worker)[1]
    workers.kill(child)
    wait_until(function()
      local pid = workers.children(worker)[1]
      return pid and pid ~= child
    end, 20, "a new child")
    assert.is_true(ticks_while(worker, 1) < 50)
    own:restart()
    site.place:write("go", "")
    assert.equal(42, r:get { timeout = 20 })
  end)

  describe("that is idle", function()
    local CALLS <const> = { "fcall", "blmpop", "ping" }
    local WATCHED_S <const> = 6

    local function calls()
      local stats, sum = server:cli("INFO", "commandstats"), 0
      for _, name in ipairs(CALLS) do
        sum = sum + (tonumber(stats:match("cmdstat_" .. name .. ":calls=(%d+)"))
          or 0)
      end
      return sum
    end

    it("has two connections, for all of its children and queues", function()
      local worker = site:worker { "-P", "3", "-Q", "default,a,b,c" }
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
      local pid = tostring(worker.pid)
      local own, children = 0, #program.children(worker.pid)
      for name in site:call("CLIENT", "LIST"):gmatch("name=(%S+)") do
        own = own + (name:find("taskengine:.*" .. pid) and 1 or 0)
      end
      assert.same({ 2, 3 }, { own, children })
    end)

    it("asks Redis at most once a second, and does not compute", function()
      local worker = site:worker { "-P", "2" }
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
      wait_until(function()
        return site:key("SCARD", "sl:default") == 1
      end)
      local before = calls()
      local ticks = ticks_while(worker, WATCHED_S)
      assert.is_true(calls() - before <= WATCHED_S, calls() - before)
      assert.is_true(ticks <= 10, ticks)
    end)
  end)

  describe("whose lease is taken from it", function()
    local function reap(wid)
      return site:call("FCALL", "te1_reap", 1, workers.PREFIX, wid, "1",
        "F\x80", "-")
    end

    -- What takes the lease away, by name.
    local ways = {
      ["by another worker"] = reap,
      ["by a hand that deletes its key"] = function(wid)
        site:key("ZREM", "w", wid)
      end,
    }

    for name, take in pairs(ways) do
      it("starts anew and loses nothing, " .. name, function()
        local worker = site:worker({ "-P", "2" }, {
          env = { TASKENGINE_LEASE = "1" }, -- it asks three times a second
        })
        local list = {}
        for i = 1, 2 do
          list[i] = send("until_file", { "go", "notes", i })
        end
        site:wait_lines("notes", 2)
        for i = 3, 6 do
          list[i] = send("add", { i, i })
        end
        local wid, children = site:wids()[1], workers.children(worker)
        take(wid)
        worker:heard("stderr", "the lease was lost")
        workers.wait_gone(children)
        site:wait_lines("notes", 4)
        assert.not_equal(wid, site:wids()[1])
        assert.equal(1, #site:wids())
        site.place:write("go", "")
        for i = 1, 6 do
          assert.equal(i < 3 and "seen" or 2 * i, list[i]:get { timeout = 20 })
        end
        assert.equal(6, site:count("done"))
        assert.equal(0, site:stop(worker).code)
        assert.same({}, site:leftovers())
      end)
    end

    it("can be stopped meanwhile", function()
      local worker = site:worker({ "-P", "2" }, {
        env = { TASKENGINE_LEASE = "1" },
      })
      local r = send("until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      reap(site:wids()[1])
      assert.equal(0, site:stop(worker).code)
      assert.same({ "h:" .. r.id, "r:default" }, site:leftovers())
    end)

    it("finds out when it stops, too", function()
      local worker = site:worker { "-P", "1" }
      local r = send("until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      worker:kill("TERM")
      worker:heard("stderr", "stopping: waiting")
      reap(site:wids()[1])
      site.place:write("go", "")
      assert.equal(0, worker:wait(20).code)
      assert.same({ nil, "timeout" }, { r:wait(0) })
      assert.equal(1, site:ready()[1].reaps)
      assert.same({ "h:" .. r.id, "r:default" }, site:leftovers())
    end)
  end)

  it("keeps its lease while its tasks compute for longer", function()
    local env = { TASKENGINE_LEASE = "1" }
    local worker = site:worker({ "-P", "1" }, { env = env })
    local other = site:worker({ "-P", "1" }, { env = env })
    local wids = site:wids()
    table.sort(wids)
    assert.equal(2, #wids)
    local r = send("compute", { 3.5, "notes" })
    assert.equal("computed", r:get { timeout = 30 })
    local after = site:wids()
    table.sort(after)
    assert.same(wids, after)
    assert.equal(1, #site:lines("notes"))
    assert.same({ 0, 0 }, { site:count("lost"), site:count("redelivered") })
    assert.is_true(program.is_alive(worker.pid))
    assert.is_true(program.is_alive(other.pid))
  end)

  it("sets aside what is no task, and goes on", function()
    site:worker { "-P", "1" }
    local envelope = require("spec.support.envelope")
    local id = envelope.id(core.envelope.new_producer(), 1)
    site:key("RPUSH", "r:default", "rubbish", ("\0"):rep(300),
      envelope.new { id = id, name = "" },
      envelope.new { id = envelope.id(core.envelope.new_producer(), 1),
        body = "\xc1" })
    assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
    wait_until(function()
      return #site:in_flight() == 0 and site:key("LLEN", "r:default") == 0
    end)
    assert.is_true(site:key("LLEN", "m") >= 2)
  end)
end)
