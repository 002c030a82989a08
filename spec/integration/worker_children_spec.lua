local core = require("taskengine.core")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local assert_failed = workers.assert_failed

-- What Redis kept for the worker of a release build is the same with a
-- sanitizer, but everything takes longer there.
local IS_SLOW <const> = (os.getenv("TE_BUILD") or ""):find("asan") ~= nil

describe("A worker", function()
  local site = workers.for_each_spec()

  local function wait_running(count)
    wait_until(function()
      return #site:in_flight() == count
    end, 20, count .. " tasks in flight")
  end

  describe("with a time limit", function()
    it("kills a child that computes, and starts another", function()
      local worker = site:worker { "-P", "1" }
      local before = workers.children(worker)
      local began = core.sys.monotonic()
      local ok, e = site:apply("stubborn", {}, { time_limit = 0.3 }):wait(30)
      assert_failed("TimeLimitExceeded", "longer than its time limit of 0.3 s",
        ok, e)
      assert.is_true(core.sys.monotonic() - began >= 0.29)
      workers.wait_gone(before)
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
      assert.equal(0, site:count("lost"))
    end)

    it("ends a task that sleeps, and keeps its child", function()
      local worker = site:worker { "-P", "1", "-c", "2" }
      local before = workers.children(worker)
      local other = site:apply("until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      local ok, e = site:apply("nap", { 60 }, { time_limit = 0.2 }):wait(30)
      assert_failed("TimeLimitExceeded", "time limit of 0.2 s", ok, e)
      site.place:write("go", "")
      assert.equal("seen", other:get { timeout = 20 })
      assert.same(before, workers.children(worker))
      assert.equal(0, site:count("redelivered"))
    end)

    it("takes the worker's for tasks that have none", function()
      site:worker { "-P", "1", "--time-limit", "0.2" }
      assert_failed("TimeLimitExceeded", "time limit of 0.2 s",
        site:apply("nap", { 60 }):wait(30))
      assert.equal("rested", site:apply("nap", { 0.4 }, { time_limit = 20 })
        :get { timeout = 20 })
    end)

    it("counts from the start, not from the fetch", function()
      site:worker { "-P", "1" }
      local list = {}
      for i = 1, 4 do
        list[i] = site:apply("nap", { 0.25 }, { time_limit = 0.9 })
      end
      for i = 1, 4 do
        assert.equal("rested", list[i]:get { timeout = 20 })
      end
    end)

    it("blames no neighbour of a task that had to be killed", function()
      site:worker { "-P", "1", "-c", "2" }
      site:apply("nap", { 30, "notes", "sleeper" }, { time_limit = 0.5 })
      site:wait_lines("notes", 1)
      -- It keeps the child from ending the sleeper by itself.
      site:apply("busy_until_file", { "go", "notes", "busy" })
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
      site:apply("nap", { 30, "naps", "a" })
      site:apply("nap", { 30, "naps", "b" })
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
        site:apply("add", { i, i })
      end
      site:apply("nap", { 30, "naps", "first" })
      for _ = 1, 50 do
        site:apply("note", { "notes", "x" })
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
        list[i] = site:apply("add", { i, i })
      end
      list[301] = site:apply("busy_until_file", { "go", "notes" })
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
      for _ = 1, IS_SLOW and 5 or 30 do
        local pids = workers.children(worker)
        for _, pid in ipairs(pids) do
          workers.kill(pid)
        end
        workers.wait_gone(pids)
        wait_until(function()
          return #workers.children(worker) == 4
        end, 20, "four children")
        -- When none gets as far as this, there are pauses.
        assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
      end
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
    local r = site:apply("add", { 3, 4 })
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
end)
