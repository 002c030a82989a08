local core = require("taskengine.core")
local loop, sys, testing = core.loop, core.sys, core.testing
local wait_until = require("spec.support.wait").wait_until

-- Runs a script in a Lua of its own: what it wrote, and how it ended.
local function run_alone(script, redirections)
  local process = assert(io.popen(("lua5.4 -e '%s' %s"):format(script,
    redirections or "2>&1")))
  local output = process:read("a")
  local ok, _, code = process:close()
  return output, ok and 0 or code
end

describe("taskengine.core.loop", function()
  local errors

  before_each(function()
    errors = {}
    loop.on_error(function(err)
      errors[#errors + 1] = err
    end)
  end)

  after_each(function()
    loop.on_error(nil)
    assert.same({}, errors)
    loop.run("nowait") -- what was closed goes in the next turn
    assert.is_false(loop.alive())
  end)

  describe("timer", function()
    it("goes off once, never early", function()
      local started, calls = loop.now(), 0
      local took
      loop.timer(20, function()
        took = loop.now() - started
        calls = calls + 1
      end)
      assert.is_true(loop.alive())
      assert.is_false(loop.run())
      assert.equal(1, calls)
      assert.is_true(took >= 20, took)
    end)

    it("counts from when it was made, not from the turn's begin", function()
      local made, took
      loop.defer(function()
        local busy_until = loop.now() + 30
        repeat until loop.now() >= busy_until
        made = loop.now()
        loop.timer(20, function()
          took = loop.now() - made
        end)
      end)
      loop.run()
      assert.is_true(took >= 20, took)
    end)

    it("takes fractions of a millisecond", function()
      local calls = 0
      loop.timer(0.25, function()
        calls = calls + 1
      end)
      loop.run()
      assert.equal(1, calls)
    end)

    it("is stopped by close, also when it is the next or ran", function()
      local ran = {}
      local function timer(ms, name)
        return loop.timer(ms, function()
          ran[#ran + 1] = name
        end)
      end
      local first, second = timer(1, "first"), timer(2, "second")
      local third = timer(3, "third")
      local far = timer(1e9, "far")
      first:close()
      first:close()
      third:close()
      far:close()
      loop.run()
      second:close()
      assert.same({ "second" }, ran)
    end)

    it("is closed at the end of a block", function()
      do
        local _ <close> = loop.timer(1e9, error)
        assert.is_true(loop.alive())
      end
      assert.is_false(loop.alive())
    end)

    it("repeats until it is closed, by itself too", function()
      local calls = 0
      local timer
      timer = loop.timer(0, function()
        calls = calls + 1
        if calls == 3 then
          timer:close()
        end
      end, 1)
      loop.run()
      assert.equal(3, calls)
    end)

    it("does not make up for repetitions that it missed", function()
      local calls = 0
      local busy = true
      local timer <close> = loop.timer(0, function()
        calls = calls + 1
        if busy then
          busy = false
          local busy_until = loop.now() + 30
          repeat until loop.now() >= busy_until
        else
          loop.stop()
        end
      end, 5)
      loop.run()
      assert.equal(2, calls)
      timer:close()
    end)

    it("may close another that is due in the same turn", function()
      local ran = {}
      local other
      loop.timer(0, function()
        ran[#ran + 1] = "one"
        other:close()
      end)
      other = loop.timer(0, function()
        ran[#ran + 1] = "other"
      end)
      loop.run()
      assert.same({ "one" }, ran)
    end)

    it("stays although nobody keeps its handle", function()
      local calls = 0
      for _ = 1, 100 do
        loop.timer(1, function()
          calls = calls + 1
        end)
      end
      collectgarbage()
      collectgarbage()
      loop.run()
      assert.equal(100, calls)
    end)

    it("lets go of its function when it is done", function()
      local kept = setmetatable({}, { __mode = "k" })
      local function watched()
        local fn = function()
          return kept
        end
        kept[fn] = true
        return fn
      end
      loop.timer(0, watched())
      loop.timer(1e9, watched()):close()
      loop.run()
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(kept))
    end)

    it("goes off in the order of the due times", function()
      local seed = os.time()
      math.randomseed(seed)
      local timers, got = {}, {}
      for i = 1, 500 do
        local ms = math.random(0, 5) * 4
        local earliest = loop.now() + ms
        local handle = loop.timer(ms, function()
          got[#got + 1] = timers[i]
        end)
        -- Making it may have taken long; due it is between these two.
        timers[i] = { i = i, ms = ms, handle = handle,
          earliest = earliest, latest = loop.now() + ms + 1 }
      end
      for _ = 1, 200 do
        local timer = timers[math.random(500)]
        timer.handle:close()
        timer.is_closed = true
      end
      local left = 0
      for _, timer in ipairs(timers) do
        left = left + (timer.is_closed and 0 or 1)
      end
      loop.run()
      assert.equal(left, #got, "seed " .. seed)
      for at, timer in ipairs(got) do
        assert.is_nil(timer.is_closed)
        local before = got[at - 1] or timer
        assert.is_true(before.earliest <= timer.latest, "seed " .. seed)
        assert.is_true(before.ms ~= timer.ms or before.i <= timer.i,
          "seed " .. seed)
      end
    end)

    it("refuses what is no delay and no function", function()
      for _, delay in ipairs { -1, 0 / 0, 1 / 0, -1 / 0 } do
        assert.error_matches(function()
          loop.timer(delay, print)
        end, "bad argument #1 to 'timer' %(not a delay%)")
      end
      assert.error_matches(function()
        loop.timer("soon", print)
      end, "number expected")
      assert.error_matches(function()
        loop.timer(1, nil)
      end, "function expected")
      assert.error_matches(function()
        loop.timer(1, print, 0)
      end, "not above 0")
    end)
  end)

  describe("defer", function()
    it("runs functions in the next turn, in order", function()
      local order = {}
      for i = 1, 5 do
        loop.defer(function()
          order[#order + 1] = i
        end)
      end
      assert.same({}, order)
      loop.run("once")
      assert.same({ 1, 2, 3, 4, 5 }, order)
    end)

    it("runs what is deferred meanwhile a turn later", function()
      local order = {}
      loop.defer(function()
        order[#order + 1] = "a"
        loop.defer(function()
          order[#order + 1] = "c"
        end)
      end)
      loop.defer(function()
        order[#order + 1] = "b"
      end)
      loop.run("nowait")
      assert.same({ "a", "b" }, order)
      loop.run("nowait")
      assert.same({ "a", "b", "c" }, order)
    end)

    it("lets the loop see to the rest in between", function()
      local ended, turns = false, 0
      assert(sys.spawn({ "true" }, {
        on_exit = function()
          ended = true
        end,
      }))
      local deadline = loop.now() + 10000
      local function again()
        turns = turns + 1
        if not ended and loop.now() < deadline then
          loop.defer(again)
        end
      end
      loop.defer(again)
      loop.run()
      assert.is_true(ended)
      assert.is_true(turns > 0)
    end)
  end)

  describe("signal", function()
    it("calls with the number, each time", function()
      local seen = {}
      local watch <close> = loop.signal("USR1", function(number)
        seen[#seen + 1] = number
        if #seen == 2 then
          loop.stop()
        else
          os.execute("kill -USR1 " .. sys.pid())
        end
      end)
      local limit <close> = loop.timer(10000, loop.stop)
      os.execute("kill -USR1 " .. sys.pid())
      loop.run()
      assert.same({ 10, 10 }, seen)
      limit:close()
      watch:close()
      watch:close()
    end)

    it("leaves the second one to the system if told to, noticed or not",
      function()
        for _, is_noticed in ipairs { true, false } do
          local calls = 0
          local watch <close> = loop.signal("WINCH", function()
            calls = calls + 1
          end, true)
          os.execute("kill -WINCH " .. sys.pid())
          if is_noticed then
            wait_until(function()
              return calls == 1
            end)
          end
          os.execute("kill -WINCH " .. sys.pid()) -- means nothing by itself
          wait_until(function()
            return calls > 0
          end)
          loop.run("nowait")
          assert.equal(1, calls)
          watch:close()
        end
      end)

    it("does not keep the loop alive", function()
      local watch <close> = loop.signal("SIGUSR1", error)
      assert.is_false(loop.alive())
      watch:close()
    end)

    it("answers for a signal that nobody can watch", function()
      local handle, message, name = loop.signal("KILL", error)
      assert.is_nil(handle)
      assert.equal("EINVAL: invalid argument", message)
      assert.equal("EINVAL", name)
      loop.run()
    end)

    it("refuses a name that it does not know", function()
      assert.error_matches(function()
        loop.signal("SIGNAL", error)
      end, "bad argument #1 to 'signal' %(unknown signal%)")
    end)

    it("stays although nobody keeps its handle, and frees all", function()
      local before = testing.alloc_live()
      local calls = 0
      local handles = { loop.signal("USR2", function()
        calls = calls + 1
        loop.stop()
      end) }
      handles = setmetatable(handles, { __mode = "v" })
      collectgarbage()
      collectgarbage()
      local limit <close> = loop.timer(10000, loop.stop)
      os.execute("kill -USR2 " .. sys.pid())
      loop.run()
      assert.equal(1, calls)
      limit:close()
      handles[1]:close()
      loop.run("nowait")
      assert.equal(before, testing.alloc_live())
      collectgarbage()
      collectgarbage()
      assert.is_nil(handles[1])
    end)
  end)

  describe("run", function()
    it("says whether something keeps the loop alive", function()
      assert.is_false(loop.run())
      assert.is_false(loop.run("nowait"))
      local timer <close> = loop.timer(1e9, error)
      assert.is_true(loop.run("nowait"))
      timer:close()
    end)

    it("waits for one event with once", function()
      local calls = 0
      local function count()
        calls = calls + 1
      end
      loop.timer(5, count)
      local later <close> = loop.timer(1e9, count)
      while calls == 0 do
        assert.is_true(loop.run("once"))
      end
      assert.equal(1, calls)
      later:close()
    end)

    it("does not wait with once when a timer has gone off", function()
      local started, calls = loop.now(), 0
      loop.timer(1, function()
        calls = calls + 1
      end)
      local later <close> = loop.timer(5000, error)
      repeat until loop.now() >= started + 3
      loop.run("once")
      assert.equal(1, calls)
      assert.is_true(loop.now() < started + 5000)
      later:close()
    end)

    it("returns after stop, and goes on the next time", function()
      local order = {}
      loop.timer(0, function()
        order[#order + 1] = "a"
        loop.stop()
      end)
      loop.timer(2, function()
        order[#order + 1] = "b"
      end)
      assert.is_true(loop.run())
      assert.same({ "a" }, order)
      assert.is_false(loop.run())
      assert.same({ "a", "b" }, order)
    end)

    it("is refused inside of itself", function()
      local ok, err
      loop.defer(function()
        ok, err = pcall(loop.run)
      end)
      loop.run()
      assert.is_false(ok)
      assert.equal("the loop is already running", err)
    end)

    it("works in a coroutine, and calls on the main thread", function()
      local is_main, finished
      coroutine.wrap(function()
        loop.defer(function()
          is_main = select(2, coroutine.running())
        end)
        loop.run()
        finished = true
      end)()
      assert.is_true(is_main)
      assert.is_true(finished)
    end)

    it("refuses a mode that it does not know", function()
      assert.error_matches(function()
        loop.run("twice")
      end, "invalid option 'twice'")
    end)
  end)

  describe("on_error", function()
    it("hears of an error, and the loop goes on", function()
      local went_on
      loop.defer(function()
        error("boom")
      end)
      loop.defer(function()
        went_on = true
      end)
      loop.run()
      assert.is_true(went_on)
      assert.equal(1, #errors)
      assert.truthy(errors[1]:find("loop_spec.lua:%d+: boom\nstack traceback"))
      errors = {}
    end)

    it("gets an error object as it is", function()
      local object = setmetatable({}, { __tostring = error })
      loop.defer(function()
        error(object)
      end)
      loop.run()
      assert.equal(object, errors[1])
      errors = {}
    end)

    it("leaves errors to stderr when nobody listens", function()
      local output, code = run_alone([[
        local core = require("taskengine.core")
        core.loop.defer(function() error("boom") end)
        core.loop.defer(function() error(setmetatable({}, {
          __tostring = function() return "an object" end })) end)
        core.loop.defer(function() error(setmetatable({}, {
          __tostring = function() error("no text") end })) end)
        core.loop.run()
        io.stderr:write("went on\n")]])
      assert.truthy(output:find("error in a callback: .*boom\nstack trace"))
      assert.truthy(output:find("error in a callback: an object\n", 1, true))
      assert.truthy(output:find("went on\n$"))
      assert.equal(0, code)
    end)

    it("leaves an error of its own to stderr", function()
      local output = run_alone([[
        local core = require("taskengine.core")
        core.loop.on_error(function() error("worse") end)
        core.loop.defer(function() error("bad") end)
        core.loop.run()]])
      assert.truthy(output:find("error in a callback: .*worse"))
    end)

    it("refuses what is no function", function()
      assert.error_matches(function()
        loop.on_error(1)
      end, "function expected")
    end)
  end)

  describe("where standard streams are closed", function()
    it("leaves them closed, and takes none of their numbers", function()
      local output, code = run_alone([[
        local core = require("taskengine.core")
        core.loop.timer(1, function() io.stderr:write("to nobody") end)
        core.loop.run()
        local _, why = io.stderr:write("to nobody")
        print(why)
      ]], "0<&- 2>&-")
      assert.same({ "Bad file descriptor\n", 0 }, { output, code })
    end)
  end)

  describe("the end of the Lua state", function()
    -- What is made first is finalized last.
    local script = [[
      local last
      local _ = setmetatable({}, { __gc = function() last() end })
      local core = require("taskengine.core")
      local loop, sys = core.loop, core.sys
      local timer = loop.timer(1e9, error)
      loop.timer(0, error, 1)
      loop.defer(error)
      loop.signal("USR1", error)
      sys.spawn({ "sleep", "1000" }, { on_exit = error }):kill("KILL")
      function last()
        timer:close()
        print(select(2, pcall(loop.timer, 1, error)))
        print(select(2, pcall(loop.run)))
        print(core.testing.alloc_live())
      end
    ]]

    it("closes the loop with everything on it, calling nobody", function()
      assert.same({
        "this Lua state is being closed\n"
          .. "this Lua state is being closed\n0\n",
        0,
      }, { run_alone(script) })
    end)

    it("may come in a function that the loop calls", function()
      assert.same({ "", 3 }, { run_alone([[
        local loop = require("taskengine.core").loop
        loop.timer(1e9, error)
        loop.defer(function() os.exit(3, true) end)
        loop.run()
      ]]) })
    end)
  end)
end)
