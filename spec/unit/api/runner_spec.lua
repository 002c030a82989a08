local core = require("taskengine.core")
local idle_loop = require("spec.support.idle_loop")
local message = require("taskengine.message")
local record = require("taskengine.record")
local runner = require("taskengine.runner")
local scheduler = require("taskengine.scheduler")
local slot = require("taskengine.slot")
local spawn = require("taskengine.spawn")
local te = require("taskengine")
local wait = require("spec.support.wait")

local wait_until, wait_until_idle = wait.wait_until, wait.wait_until_idle

local ID <const> = "Producer0001" .. "00000001"
local SETTINGS <const> = { result_expires = 60, serializer = "msgpack" }

describe("taskengine.runner", function()
  local app, running, outcomes, lines, token

  before_each(function()
    app = te.app("spec")
    outcomes, lines, token = {}, {}, 0
    running = runner.new {
      tasks = app.tasks,
      result_bytes_max = 1000,
      worker = "here",
      done = function(which, bytes)
        assert.is_nil(outcomes[which], "ended twice")
        outcomes[which] = bytes
      end,
      log = function(level, which, text)
        lines[#lines + 1] = ("%s %d %s"):format(level, which, text)
      end,
    }
  end)

  after_each(function()
    slot.tell = nil
    idle_loop.check()
  end)

  -- Begins a task and returns its token.
  local function begin(name, args, opts)
    opts = opts or {}
    local m = message.new(name, {}, opts, SETTINGS)
    token = token + 1
    running:begin(token, assert(core.envelope.pack(m.template, ID, args or {},
      opts.extra)))
    return token
  end

  -- How a task ended, as one who waits for it sees it.
  local function outcome_of(which)
    wait_until(function()
      return outcomes[which]
    end)
    return record.read(outcomes[which], ID)
  end

  local function run(...)
    return outcome_of(begin(...))
  end

  it("calls the function and brings its value", function()
    app:task("add", function(x, y)
      return x + y
    end)
    app:task("count", function(...)
      return select("#", ...)
    end)
    app:task("nothing", function() end)
    assert.equal(10, run("add", { 4, 6 }).value)
    assert.equal(4, run("count", { n = 4, nil, 2 }).value)
    assert.same({ state = "SUCCESS" }, run("nothing"))
  end)

  it("answers a name that it does not know with N", function()
    assert.equal("N", outcomes[begin("other")])
  end)

  it("refuses more than one value", function()
    app:task("two", function()
      return 1, nil
    end)
    local e = run("two").error
    assert.same({ "Error", "the task 'two' returned 2 values, it may return"
      .. " one; put them into a table" }, { e.kind, e.message })
  end)

  it("refuses results that cannot travel or are too large", function()
    app:task("f", function()
      return { { on_done = print } }
    end)
    app:task("large", function()
      return ("x"):rep(1001)
    end)
    local e = run("f").error
    assert.same({ "CannotTravel", "result[1].on_done: a function cannot be"
      .. " sent" }, { e.kind, e.message })
    assert.equal("TooLarge", run("large").error.kind)
  end)

  it("does not look at a result that nobody wants", function()
    app:task("f", function()
      return print
    end)
    assert.equal("S\xc0", outcomes[begin("f", {}, { ignore_result = true })])
  end)

  it("survives envelopes that are none", function()
    running:begin(1, "")
    running:begin(2, ("x"):rep(200))
    assert.equal("Malformed", outcome_of(1).error.kind)
    assert.equal("Malformed", outcome_of(2).error.kind)
  end)

  describe("of an error", function()
    it("tells the message and the user's functions", function()
      local function inner()
        error("no")
      end
      app:task("boom", function()
        pcall(error, "caught")
        inner()
        return 1
      end)
      local line = debug.getinfo(inner, "S").linedefined + 1
      local e = run("boom").error
      local here = "[^\n]*runner_spec.lua:"
      assert.equal("Error", e.kind)
      assert.matches("^" .. here .. line .. ": no$", e.message)
      assert.matches("^stack traceback:\n\t" .. here .. line
        .. ": in upvalue 'inner'\n\t" .. here .. (line + 4)
        .. ": in function <" .. here .. (line + 2) .. ">$", e.traceback)
      assert.is_nil(e.value)
    end)

    it("tells the kind and the value of a table", function()
      app:task("own", function()
        error { kind = "NoStock", message = "none left", sku = 7 }
      end)
      app:task("bare", function()
        error { 1, 2 }
      end)
      app:task("object", function()
        error(setmetatable({}, { __tostring = function()
          return "shown"
        end }))
      end)
      app:task("number", function()
        error(42)
      end)
      app:task("hostile", function()
        error(setmetatable({}, { __tostring = error }))
      end)
      local e = run("own").error
      assert.same({ "NoStock", "none left", 7 },
        { e.kind, e.message, e.value.sku })
      e = run("bare").error
      assert.same({ "Error", "{ 1, 2 }", { 1, 2 } },
        { e.kind, e.message, e.value })
      assert.equal("shown", run("object").error.message)
      e = run("number").error
      assert.same({ "42", 42 }, { e.message, e.value })
      assert.equal("a table whose __tostring fails",
        run("hostile").error.message)
    end)

    it("hands on a TaskError with its kind", function()
      app:task("nested", function()
        error(require("taskengine.errors").new { kind = "Expired",
          message = "too late", id = "x", value = 5 })
      end)
      local e = run("nested").error
      assert.same({ "Expired", "too late (task x)", 5 },
        { e.kind, e.message, e.value })
    end)

    it("limits what it says", function()
      app:task("long", function()
        error(("x"):rep(1000000), 0)
      end)
      local function deep(n)
        if n == 0 then
          error("bottom")
        end
        deep(n - 1)
        return n
      end
      app:task("deep", function()
        deep(100)
        return 1
      end)
      assert.equal(64 * 1024 + 3, #run("long").error.message)
      local e = run("deep").error
      assert.matches("\n\t%.%.%.\t%(skipping %d+ levels%)\n", e.traceback)
      assert.is_true(#e.traceback < 3000)
    end)

    it("survives a stack overflow, also beside much garbage", function()
      local function forever()
        return 1 + forever()
      end
      app:task("deep", forever)
      local garbage = {}
      for i = 1, 200000 do
        garbage[i] = { tostring(i) }
      end
      assert.matches("stack overflow", run("deep").error.message)
      assert.is_true(collectgarbage("isrunning"))
      assert.equal(200000, #garbage)
    end)

    it("names a yield that nobody is there for", function()
      app:task("stray", function()
        coroutine.yield(1)
      end)
      app:task("ok", function()
        return 1
      end)
      assert.equal("attempt to yield from outside a coroutine",
        run("stray").error.message)
      assert.equal(1, run("ok").value)
    end)
  end)

  describe("of a bound task", function()
    it("gives it itself", function()
      local seen
      app:task("look", { bind = true }, function(self, ...)
        seen = self
        return select("#", ...)
      end)
      local which = begin("look", { n = 2, "a" }, {
        queue = "slow", extra = { h = { trace = "t" }, r = "root", p = "up" },
      })
      assert.equal(2, outcome_of(which).value)
      assert.same({ ID, "look", 0, "root", "up", "slow", "here" }, { seen.id,
        seen.name, seen.retries, seen.root_id, seen.parent_id, seen.queue,
        seen.worker })
      assert.same({ n = 2, "a" }, seen.args)
      assert.same({ trace = "t" }, seen.headers)
    end)

    it("shows the id that the caller chose", function()
      app:task("id", { bind = true }, function(self)
        return { self.id, self.root_id, self.parent_id }
      end)
      assert.same({ "order-7", "order-7" },
        run("id", {}, { task_id = "order-7" }).value)
      assert.same({ ID, ID }, run("id").value)
    end)

    it("lets it log", function()
      app:task("log", { bind = true }, function(self)
        self:log("warn", "careful")
        return select(2, pcall(self.log, self, "loud", "x"))
      end)
      local which = begin("log")
      assert.matches(': log: level: one of debug, info, warn, error expected,'
        .. ' got "loud"$', outcome_of(which).value)
      assert.same({ ("warn %d careful"):format(which) }, lines)
    end)
  end)

  describe("with many tasks", function()
    it("lets them wait beside each other", function()
      local may_end = {}
      app:task("nap", function(name)
        repeat
          te.sleep(0.001)
        until may_end[name]
        return name
      end)
      local first, second = begin("nap", { "a" }), begin("nap", { "b" })
      assert.equal(2, running.count)
      may_end.b = true
      assert.equal("b", outcome_of(second).value)
      assert.is_nil(outcomes[first])
      may_end.a = true
      assert.equal("a", outcome_of(first).value)
      assert.equal(0, running.count)
    end)

    it("uses its fibers again, and forgets nothing of one in another",
      function()
        app:task("who", { bind = true }, function(self, x)
          te.sleep(0)
          return { self.id, x, self.args[1] }
        end)
        for i = 1, 50 do
          assert.same({ "t" .. i, i, i },
            run("who", { i }, { task_id = "t" .. i }).value)
        end
        assert.equal(1, #running.idle)
      end)

    it("leaves no hook of a task to another", function()
      app:task("hook", function()
        debug.sethook(function() end, "l")
      end)
      app:task("plain", function()
        return debug.gethook() == nil
      end)
      run("hook")
      assert.is_true(run("plain").value)
    end)

    it("keeps nothing of a task that has ended", function()
      local kept = setmetatable({}, { __mode = "v" })
      app:task("make", function()
        kept[1] = {}
        return #kept
      end)
      run("make")
      collectgarbage()
      collectgarbage()
      assert.is_nil(kept[1])
    end)
  end)

  describe("that is cancelled", function()
    it("ends where it waits", function()
      local closed, went_on
      app:task("nap", function()
        local _ <close> = setmetatable({}, { __close = function()
          closed = true
        end })
        te.sleep(100)
        went_on = true
      end)
      local which = begin("nap")
      running:cancel(which)
      assert.equal("TimeLimitExceeded", outcome_of(which).error.kind)
      assert.is_true(closed)
      wait_until_idle()
      assert.is_nil(went_on)
      running:cancel(which) -- it has ended: nothing happens
    end)
  end)

  describe("that spawns", function()
    it("takes with it what it has spawned", function()
      local went_on, begun
      app:task("leave", function()
        te.spawn(function()
          te.sleep(100)
          went_on = true
        end)
        te.spawn(function()
          begun = true
        end)
        return "left"
      end)
      assert.equal("left", run("leave").value)
      wait_until_idle()
      assert.is_nil(went_on)
      assert.is_nil(begun)
    end)

    describe("what fails", function()
      local told, on_error

      before_each(function()
        told, on_error = {}, spawn.on_error
        function spawn.on_error(text)
          told[#told + 1] = text:match("^[^\n]*")
        end
      end)

      after_each(function()
        spawn.on_error = on_error
      end)

      local function spawn_failure(text)
        return te.spawn(error, text, 0)
      end

      it("tells of it when it ends, in the order in which it failed", function()
        app:task("careless", function()
          local kept = {}
          for i = 1, 3 do
            kept[i] = spawn_failure("unseen " .. i)
          end
          te.sleep(0)
          collectgarbage()
          assert(#told == 0 and #kept == 3)
          return "done"
        end)
        assert.equal("done", run("careless").value)
        local expected = {}
        for i = 1, 3 do
          expected[i] = ("error in a function spawned by task careless %s:"
            .. " unseen %d"):format(ID, i)
        end
        assert.same(expected, told)
        collectgarbage() -- and no second time
        assert.equal(3, #told)
      end)

      it("tells of it at once when nobody can ask any more", function()
        local in_task
        app:task("forgetful", function()
          spawn_failure("dropped")
          te.sleep(0)
          collectgarbage()
          collectgarbage()
          in_task = #told
        end)
        run("forgetful")
        assert.same({ 1, 1 }, { in_task, #told })
      end)

      it("keeps silent of what was asked for, however late", function()
        app:task("careful", function()
          local got, waited = spawn_failure("one"), spawn_failure("two")
          te.sleep(0)
          assert(not pcall(got.get, got))
          assert(waited:wait() == false)
        end)
        assert.is_nil(run("careful").error)
        collectgarbage()
        assert.same({}, told)
      end)

      it("does not take a wait that was too short for a question", function()
        app:task("impatient", function()
          local one = te.spawn(function()
            te.sleep(0.005)
            error("later", 0)
          end)
          assert(one:wait(0.001) == nil)
          te.sleep(0.02)
        end)
        run("impatient")
        assert.equal(1, #told)
      end)

      it("tells of it also when its time is up", function()
        local kept
        app:task("slow", function()
          kept = spawn_failure("early")
          scheduler.await("x", function() end)
        end)
        local which = begin("slow")
        te.sleep(0)
        assert.same({}, told)
        running:cancel(which)
        assert.equal(1, #told)
        assert.is_false((kept:wait()))
      end)
    end)

    it("frees its slot only while all of it waits for others", function()
      local told = {}
      slot.tell = function(which, is_free)
        told[#told + 1] = ("%d %s"):format(which, is_free and "free" or "taken")
      end
      local function wait_for_other(ms)
        scheduler.await("x", function(wake)
          return core.loop.timer(ms or 2, wake)
        end, slot.OUTCOME)
      end
      app:task("alone", wait_for_other)
      app:task("beside", function()
        local one = te.spawn(wait_for_other)
        te.sleep(0.001) -- computes, as far as others can tell
        one:get()
      end)
      app:task("nap", function()
        te.spawn(te.sleep, 0.001):get()
      end)
      app:task("refused", function()
        pcall(table.sort, { 2, 1 }, wait_for_other)
        pcall(string.gsub, "a", "a", coroutine.wrap(function()
          wait_for_other()
        end))
        te.sleep(0)
      end)
      app:task("leaves", function()
        wait_for_other(1000)
      end)
      local one = begin("alone")
      outcome_of(one)
      local two = begin("beside")
      outcome_of(two)
      outcome_of(begin("nap"))
      local refused = begin("refused")
      outcome_of(refused)
      local four = begin("leaves")
      running:cancel(four)
      assert.same({
        one .. " free", one .. " taken",
        two .. " free", two .. " taken",
        refused .. " free", refused .. " taken", -- known only further out
        four .. " free", four .. " taken",
      }, told)
    end)
  end)
end)
