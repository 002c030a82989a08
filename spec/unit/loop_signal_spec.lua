local core = require("taskengine.core")
local idle_loop = require("spec.support.idle_loop")
local wait_until = require("spec.support.wait").wait_until

local loop, sys, testing = core.loop, core.sys, core.testing

describe("taskengine.core.loop.signal", function()
  idle_loop.for_each_spec()

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
