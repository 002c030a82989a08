local core = require("taskengine.core")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local assert_failed = workers.assert_failed
-- Of 400 tasks that go back. Where the machine is busy, what a worker found out
-- later goes back by itself and stands before the rest.
local LOTS_MAX <const> = 10

describe("A worker", function()
  local site = workers.for_each_spec()

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
      local r = site:apply("ask_elsewhere", { "go", "notes" })
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
        list[i] = site:apply("ask", { i })
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
        site:apply("note", { "order", "plain-" .. i })
      end
      for i = 1, 10 do
        site:apply("note", { "order", "p1-" .. i }, { priority = 1 })
        site:apply("note", { "order", "p9-" .. i }, { priority = 9 })
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
      site:apply("note", { "notes", "here" }, { queue = "a" })
      site:apply("note", { "notes", "there" }, { queue = "b" })
      site:apply("note", { "notes", "elsewhere" }, { queue = "c" })
      site:worker { "-P", "1", "-Q", "a,b" }
      local lines = site:wait_lines("notes", 2)
      table.sort(lines)
      assert.same({ "here", "there" }, lines)
      assert.equal(1, site:key("LLEN", "r:c"))
    end)

    it("the queues that its tasks name, unless told otherwise", function()
      site:worker { "-P", "1" }
      site:apply("note_urgent", { "notes", "urgent" }, { queue = "urgent" })
      site:apply("note", { "notes", "plain" })
      site:wait_lines("notes", 2)
    end)

    it("what is due, when it is due", function()
      site:worker { "-P", "1" }
      local list = {}
      for i = 1, 10 do
        local due = te.now() + i * 0.05
        local args = { 0, "notes", ("%.3f"):format(due) }
        list[i] = { due = due, result = site:apply("nap", args, { eta = due }) }
      end
      for i = 1, 10 do
        list[i].result:get { timeout = 20 }
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
      -- It looks for other reasons only when a third of that is over.
      site:worker({ "-P", "1" }, { env = { TASKENGINE_LEASE = "600" } })
      wait_until(function()
        return site:key("SCARD", "sl:default") == 1
      end)
      local began = core.sys.monotonic()
      site:apply("add", { 1, 2 }, { countdown = 0.4 }):get { timeout = 20 }
      assert.is_true(core.sys.monotonic() - began >= 0.4 - 0.002)
    end)

    it("tasks that sleep side by side", function()
      site:worker { "-P", "1", "-c", "20" }
      local list = {}
      for i = 1, 20 do
        list[i] = site:apply("until_file", { "go", "notes", i })
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
        site:apply("until_file", { "go", "notes", i })
      end
      site:wait_lines("notes", 2)
      local r = site:apply("add", { 1, 2 }, { priority = 9 })
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
          site:apply("busy_until_file", { "go", "notes" })
        end
        list[#list + 1] = site:apply("add", { i, i })
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
        before[i] = site:apply("add", { i, i })
      end
      local worker = site:worker { "-P", "2" }
      for r in te.as_completed(before, 30) do
        r:get()
      end
      for _ = 1, 2 do
        site:apply("busy_until_file", { "go", "notes" })
      end
      site:wait_lines("notes", 2)
      -- Its children are known for short tasks, and are given many.
      for i = 1, 400 do
        list[i] = site:apply("note", { "short", i })
        ids[i] = list[i].id
      end
      wait_until(function()
        return #site:in_flight() == 2 and #site:ready() == 400
      end, 20, "short tasks that went back")
      for i, envelope in ipairs(site:ready()) do
        rest[i] = envelope.id
        assert.same({ 0, 0 }, { envelope.deaths, envelope.reaps })
      end
      -- They go back in a few lots, of which each is in order.
      local lots = 1
      for i = 2, #rest do
        lots = lots + (rest[i] < rest[i - 1] and 1 or 0)
      end
      assert.is_true(lots <= LOTS_MAX, lots .. " lots")
      table.sort(rest)
      assert.same(ids, rest)
      assert.is_true((table.remove(list):revoke()))
      site:worker { "-P", "1" }
      for r in te.as_completed(list, 30) do
        r:get()
      end
      assert.equal(2, #site:in_flight())
      local seen, lines = {}, site:lines("short")
      for _, line in ipairs(lines) do
        seen[tonumber(line)] = true
      end
      assert.same({ 399, 399 }, { #lines, #seen })
      site.place:write("go", "")
      assert.equal(0, site:stop(worker).code)
      assert.same({ 901, 0, 0 }, { site:count("done"), site:count("lost"),
        site:count("redelivered") })
    end)

    it("none at once when it has no room, and passes the bell on", function()
      site:worker { "-P", "1" }
      local before = {}
      for i = 1, 200 do
        before[i] = site:apply("add", { i, i })
      end
      for r in te.as_completed(before, 30) do
        r:get()
      end
      site:apply("busy_until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      site:call("CONFIG", "SET", "slowlog-log-slower-than", "0")
      -- Goes back, for which the worker's own bell rings.
      site:apply("note", { "short" })
      wait_until(function()
        for _, entry in ipairs(site:call("SLOWLOG", "GET", "-1")) do
          local _, name, _, _, _, _, want, _, slept = table.unpack(entry[4])
          if name == "te1_fetch" and want == "0" and slept == "3" then
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
      local deep = site:apply("nest", { 1050 })
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
        site:apply("until_file", { "go", "notes", i })
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

  it("tells a task at once that it may not call a function", function()
    site:worker { "-P", "1" }
    assert.same({ true, {
      reason = "the worker refused it: a task may not call this function",
      sent = false,
      is_refusal = true,
      is_passing = false,
    } }, { site:outcome("problem_of_call", "te1_register") })
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
