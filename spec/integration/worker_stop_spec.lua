local core = require("taskengine.core")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("A worker", function()
  local site = workers.for_each_spec()

  describe("that stops", function()
    local function stops_with(worker, code, signal)
      local children = workers.children(worker)
      local ended = site:stop(worker, signal)
      assert.same({ code, 0 }, { ended.code, ended.signal })
      workers.wait_gone(children, 1)
      return ended
    end

    it("lets end what runs, and leaves the rest", function()
      local worker = site:worker { "-P", "1" }
      local running = site:apply("until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      for _ = 1, 3 do
        site:apply("note", { "notes", "later" })
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
      site:apply("nap", { 30, "notes", "a" })
      site:wait_lines("notes", 1)
      site:apply("compute", { 30, "notes", "b" })
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
      site:apply("compute", { 30, "notes" })
      site:wait_lines("notes", 1)
      local began = core.sys.monotonic()
      stops_with(worker, 0)
      assert.is_true(core.sys.monotonic() - began >= 0.29)
      assert.equal(0, site:ready()[1].deaths)
      assert.same({ "r:default" }, site:leftovers())
    end)

    it("fails what is not to be started again", function()
      local worker = site:worker { "-P", "1", "-c", "2" }
      local charge = site.app:task("nap", { reject_on_worker_lost = false },
        print)
      local charged = charge:delay(30, "notes", "a")
      site:wait_lines("notes", 1)
      site:apply("compute", { 30, "notes", "b" })
      site:wait_lines("notes", 2)
      local waiting = charge:delay(30, "notes", "c")
      stops_with(worker, 0, "QUIT")
      local ok, e = charged:wait(10)
      assert.same({ false, "WorkerLost" }, { ok, ok == false and e.kind })
      assert.matches("it is not to be started again", e.message, 1, true)
      -- The others had not begun, or may begin again.
      assert.equal("PENDING", waiting:state())
      assert.equal(2, #site:ready())
      assert.same({ 1, 0 }, { site:count("failed"), site:count("lost") })
    end)

    it("hands back what its dying child was running", function()
      local worker = site:worker { "-P", "2" }
      local running = site:apply("until_file", { "go", "notes", "a" })
      site:wait_lines("notes", 1)
      site:apply("nap", { 30, "notes", "b" })
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
        site:apply("compute", { 0.001, "notes", i })
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
      site:apply("add", { 1, 2 }, { countdown = 0.05 })
      site:apply("nap", { 0 }, { priority = 3 })
      site:apply("note", { "notes", "x" }, { ignore_result = true })
      site:apply("add", { 1, 2 }, { task_id = "order-7" })
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
      local kept <close> = workers.site { config = {
        "appendonly yes", "appendfsync always",
      } }
      local worker = kept:worker { "-P", "1" }
      local done = kept:apply("busy_until_file", { "go", "notes" })
      kept:wait_lines("notes", 1)
      kept.server:kill("KILL")
      worker:kill("TERM")
      worker:heard("stderr", "stopping: waiting")
      kept.place:write("go", "")
      assert.equal(3, worker:wait(30).code)
      kept.server:restart()
      kept:worker { "-P", "1" }
      -- It had ended, and nobody had been told but its claim.
      assert.equal("seen", done:get { timeout = 10 })
      assert.equal(1, #kept:lines("notes"))
    end)

    it("does so even when Redis refuses everything", function()
      local worker = site:worker { "-P", "1" }
      site:apply("nap", { 30, "notes" })
      site:wait_lines("notes", 1)
      site.server:cli("CONFIG", "SET", "min-replicas-to-write", "1")
      worker:kill("QUIT")
      local ended = worker:wait(30)
      site.server:cli("CONFIG", "SET", "min-replicas-to-write", "0")
      assert.equal(3, ended.code)
      -- A few tries, not one for each turn of a loop.
      local _, refusals = ended.stderr:gsub("Redis refuses", "")
      assert.is_true(refusals >= 1 and refusals < 200, refusals)
    end)
  end)
end)
