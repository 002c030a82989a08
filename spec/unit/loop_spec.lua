local alone = require("spec.support.alone")
local core = require("taskengine.core")
local idle_loop = require("spec.support.idle_loop")

local loop, sys = core.loop, core.sys

describe("taskengine.core.loop", function()
  local errors = idle_loop.for_each_spec()

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
      local heard = errors()
      assert.equal(1, #heard)
      assert.matches("loop_spec.lua:%d+: boom\nstack traceback", heard[1])
    end)

    it("gets an error object as it is", function()
      local object = setmetatable({}, { __tostring = error })
      loop.defer(function()
        error(object)
      end)
      loop.run()
      assert.equal(object, errors()[1])
    end)

    it("leaves errors to stderr when nobody listens", function()
      local output, code = alone.run([[
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
      local output = alone.run([[
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
end)
