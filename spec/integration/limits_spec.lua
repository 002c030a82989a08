local core = require("taskengine.core")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local assert_failed = workers.assert_failed

describe("A worker's process", function()
  local site = workers.for_each_spec()

  local function start(...)
    return site:worker({ ... }, { file = "limits" })
  end

  describe("with a soft time limit", function()
    local SOFT <const> = { soft_time_limit = 0.2 }

    it("raises an error in a task that computes, sleeps or waits", function()
      local worker = start("-P", "1", "-c", "2")
      local before = workers.children(worker)
      for _, what in ipairs {
        "compute", "sleep", "ask", "spawned", "computes_spawned",
        "computes_beside",
      } do
        local began = core.sys.monotonic()
        local ok, e = site:apply("does", { what, 600 }, SOFT):wait(20)
        assert_failed("SoftTimeLimitExceeded",
          "ran longer than its soft time limit of 0.2 s", ok, e)
        assert.is_true(core.sys.monotonic() - began >= 0.19, what)
        assert.matches("limits.lua:%d+: ", e.message)
        assert.matches("limits.lua", e.traceback, 1, true)
        assert.is_nil(e.traceback:find("taskengine/", 1, true))
      end
      assert.same(before, workers.children(worker))
    end)

    it("lets the task catch it, tidy up and return", function()
      start("-P", "1")
      for _, case in ipairs {
        { "compute", 0 }, { "compute", 3 }, { "sleep", 0 }, { "sleep", 3 },
      } do
        local e = site:apply("tidies_up", { case[1], 600, case[2] }, SOFT)
          :get { timeout = 20 }
        assert.same({ false, "SoftTimeLimitExceeded" }, { e.ok, e.kind })
      end
    end)

    it("raises it once", function()
      start("-P", "1")
      for _, what in ipairs { "compute", "sleep" } do
        assert.same({ "SoftTimeLimitExceeded", true },
          site:apply("hears_once", { what, 0.3 }, SOFT):get { timeout = 20 })
      end
    end)

    it("raises it in the right one of several", function()
      start("-P", "1", "-c", "4")
      local naps, limited = {}, {}
      for i = 1, 2 do
        naps[i] = site:apply("tidies_up", { "sleep", 0.6, i })
        limited[i] = site:apply("tidies_up", { "sleep", 30, i }, SOFT)
      end
      for i = 1, 2 do
        assert.equal("SoftTimeLimitExceeded",
          limited[i]:get({ timeout = 20 }).kind)
        assert.is_true(naps[i]:get({ timeout = 20 }).ok)
      end
      -- The one that computes is not the one whose time is up.
      local computes = site:apply("tidies_up", { "compute", 0.6 })
      limited = site:apply("tidies_up", { "sleep", 30 }, SOFT)
      assert.is_true(computes:get({ timeout = 20 }).ok)
      assert.equal("SoftTimeLimitExceeded", limited:get({ timeout = 20 }).kind)
    end)

    it("takes the call's before the task's before the setting", function()
      start("-P", "1", "--soft-time-limit", "0.4")
      local function limit_of(...)
        local ok, e = site:apply(...):wait(20)
        return not ok and e.message:match("limit of (%S+) s")
      end
      assert.equal("0.4", limit_of("does", { "compute", 30 }))
      assert.equal("0.2", limit_of("does_limited", { "sleep", 30 }))
      assert.equal("0.3", limit_of("does_limited", { "compute", 30 },
        { soft_time_limit = 0.3 }))
      assert.equal("done",
        site:apply("does", { "sleep", 0.01 }):get { timeout = 20 })
    end)

    it("says nothing to who ends before", function()
      start("-P", "1")
      -- Long enough for each of them, whatever else the machine does.
      local limit = { soft_time_limit = 1 }
      for _ = 1, 50 do
        site:apply("does", { "compute", 0.001 }, limit)
        site:apply("does", { "sleep", 0.001 }, limit)
      end
      assert.is_true(site:apply("tidies_up", { "compute", 1.2 })
        :get({ timeout = 20 }).ok)
      assert.equal(0, site:count("failed"))
    end)
  end)

  describe("with a hard time limit", function()
    it("takes the call's before the task's before the setting", function()
      start("-P", "1", "--time-limit", "0.1")
      local function limit_of(...)
        local ok, e = site:apply(...):wait(20)
        return not ok and e.message:match("time limit of (%S+) s")
      end
      assert.equal("0.1", limit_of("does", { "compute", 30 }))
      assert.equal("0.2", limit_of("ends", { "compute", 30 }))
      assert.equal("0.2", limit_of("ends", { "sleep", 30 }))
      assert.equal("0.3", limit_of("ends", { "compute", 30 },
        { time_limit = 0.3 }))
    end)

    it("takes the one of each task, and a new one after a reload", function()
      local function write(limits)
        local lines = { 'local app = require("taskengine").app("loops")' }
        for name, seconds in pairs(limits) do
          lines[#lines + 1] = ("app:task('%s', { time_limit = %s }, function()"
            .. " while true do end end)"):format(name, seconds)
        end
        return site.place:write("loops.lua", table.concat(lines, "\n"))
      end
      local function limit_of(name)
        return select(2, site:apply(name):wait(20)).message:match("of (%S+) s")
      end
      local limits = { a = 0.11, ab = 0.12, abc = 0.13, b = 0.14 }
      local worker = site.place:worker { write(limits), "-P", "2" }
      for name, seconds in pairs(limits) do
        assert.equal(tostring(seconds), limit_of(name))
      end
      write { ab = 0.21, b = 0.22 }
      worker:kill("HUP")
      worker:heard("stderr", " reloaded ")
      assert.equal("0.21", limit_of("ab"))
      assert.equal("0.22", limit_of("b"))
    end)
  end)

  describe("with a memory limit", function()
    it("refuses a task more, and replaces the process", function()
      local worker = start("-P", "1", "--memory-limit", "16M")
      for _, kind in ipairs {
        "table", "string", "doubling", "coroutine", "kept",
      } do
        local before = workers.children(worker)
        assert_failed("MemoryLimitExceeded",
          "not enough memory: its process may use 16 MiB",
          site:apply("bomb", { kind }):wait(30))
        workers.wait_gone(before)
        assert.equal(6 << 20, site:apply("fills", { 6 }):get { timeout = 20 })
      end
      assert.equal(0, site:count("lost"))
      assert.equal(0, site:count("redelivered"))
    end)

    it("lets the task catch it", function()
      start("-P", "1", "--memory-limit", "16M")
      for _, kind in ipairs { "table", "string", "doubling" } do
        local e = site:apply("survives", { kind }):get { timeout = 30 }
        assert.same({ false, "not enough memory" }, { e.ok, e.message })
      end
    end)

    it("lets the task hear of it from what it has spawned", function()
      start("-P", "1", "--memory-limit", "16M")
      for _, kind in ipairs { "table", "string", "doubling" } do
        local e = site:apply("survives_spawned", { kind }):get { timeout = 30 }
        assert.same({ false, "not enough memory" }, { e.ok, e.message })
      end
    end)

    it("logs it of what nobody asked for", function()
      local worker = start("-P", "1", "--memory-limit", "16M")
      site:apply("spawns", { "table" }):get { timeout = 30 }
      worker:heard("stderr",
        "error in a function spawned by task spawns .-: not enough memory")
    end)

    it("counts the result as it travels, too", function()
      start("-P", "1", "--memory-limit", "12M")
      assert_failed("MemoryLimitExceeded", "not enough memory: its process may"
        .. " use 12 MiB", site:apply("bomb", { "result" }):wait(30))
      assert.equal(3 << 20, site:apply("fills", { 3 }):get { timeout = 20 })
    end)

    it("is not reached by what was let go of", function()
      local worker = start("-P", "1", "--memory-limit", "16M")
      local before = workers.children(worker)
      for _ = 1, 20 do
        assert.equal(6 << 20, site:apply("fills", { 6 }):get { timeout = 20 })
      end
      assert.same(before, workers.children(worker))
    end)

    it("ends the process when its other tasks have ended", function()
      local worker = start("-P", "1", "-c", "2", "--memory-limit", "16M")
      local before = workers.children(worker)
      local other = site:apply("nap", { 1 })
      wait_until(function()
        return #site:in_flight() == 1
      end)
      assert_failed("MemoryLimitExceeded", "not enough memory",
        site:apply("bomb", { "table" }):wait(30))
      assert.equal("rested", other:get { timeout = 20 })
      workers.wait_gone(before)
      assert.truthy(site:apply("pid"):get { timeout = 20 } ~= before[1])
      assert.equal(0, site:count("redelivered"))
    end)

    it("is larger than what the files take", function()
      site.place:write("tasks.lua", [[
        local text = ("x"):rep(2 << 20)
        require("taskengine").app("large"):task("text", function()
          return text
        end)
      ]])
      local worker = site.place:start({ "worker", "tasks.lua", "-P", "1",
        "--memory-limit", "2M" })
      assert.matches("memory_limit: the files that are loaded take %d+%.%d MiB,"
        .. " more than the limit of 2.0 MiB: set a larger one",
        worker:heard("stderr", "memory_limit: [^\n]*"))
    end)

    it("refuses one of a task that its files alone go beyond", function()
      site.place:write("tasks.lua", [[
        require("taskengine").app("x"):task("tiny", { memory_limit = "1M" },
          print)
        text = ("x"):rep(1 << 20)
      ]])
      local ended = site.place:run { "worker", "tasks.lua", "-P", "1" }
      assert.equal(2, ended.code)
      assert.matches("task 'tiny': memory_limit: the files that are loaded take"
        .. " %d+%.%d MiB, more than the limit of 1.0 MiB", ended.stderr)
    end)
  end)
end)
