--- When a request ends, and how. What happens to it on a way that breaks is in
-- delivery_spec.lua and waiting_spec.lua.

local core = require("taskengine.core")
local requests = require("taskengine.requests")
local wait_until = require("spec.support.wait").wait_until

local sys = core.sys

describe("taskengine.requests", function()
  local transport, set, got

  before_each(function()
    transport = {
      why = function() end,
      fcall = function(self, _, _, callback)
        self.answer = callback
      end,
    }
    set = requests.new(transport)
    got = nil
  end)

  local function send(timeout_ms)
    set:send("f", {}, timeout_ms, function(reply, problem)
      assert(got == nil, "it has ended before")
      got = reply or problem
    end)
  end

  local function wait_for_end()
    wait_until(function()
      return got
    end)
    return got
  end

  it("says when there is no answer in time", function()
    send(5)
    assert.same({
      reason = "the broker did not answer within 0.005 s",
      sent = true,
    }, wait_for_end())
    transport.answer("late") -- nobody hears of it
  end)

  it("reads what came while the program computed before time is up",
    function()
      -- The end of a process comes the way an answer does: it is read.
      local child = assert(sys.spawn({ "true" }, { on_exit = function()
        transport.answer("reply")
      end }))
      send(5)
      local late = sys.monotonic() + 0.01
      local path = ("/proc/%d/stat"):format(child:pid())
      repeat
        local stat <close> = assert(io.open(path))
      until sys.monotonic() > late and stat:read("a"):find(") Z", 1, true)
      assert.is_nil(got)
      assert.equal("reply", wait_for_end())
    end)
end)
