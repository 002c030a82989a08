local alone = require("spec.support.alone")

describe("a process with a loop", function()
  describe("where standard streams are closed", function()
    it("leaves them closed, and takes none of their numbers", function()
      local output, code = alone.run([[
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
      }, { alone.run(script) })
    end)

    it("may come in a function that the loop calls", function()
      assert.same({ "", 3 }, { alone.run([[
        local loop = require("taskengine.core").loop
        loop.timer(1e9, error)
        loop.defer(function() os.exit(3, true) end)
        loop.run()
      ]]) })
    end)
  end)
end)
