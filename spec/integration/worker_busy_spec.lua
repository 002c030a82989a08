local te = require("taskengine")
local workers = require("spec.support.workers")

-- Of a flow whose end takes many calls.
local NODES <const> = 5000

describe("A worker that has no room for tasks", function()
  local site = workers.for_each_spec()

  -- Its heartbeats are further apart than any wait here.
  local function start_busy()
    site:worker({ "-P", "1", "-c", "1" },
      { env = { TASKENGINE_LEASE = "600" } })
    site:send("busy_until_file", "go", "notes")
    site:wait_lines("notes", 1)
    site:send("add", 1, 1) -- which it has in hand, if it has room for more
  end

  it("goes on with what the end of a flow has set off", function()
    start_busy()
    local list = {}
    for i = 1, NODES do
      list[i] = site.app:signature("add", { i, 0 }, { queue = "nobody" })
    end
    local group = te.group(list)()
    assert.is_true(group:revoke())
    local ok, e = group:wait(30)
    workers.assert_failed("Revoked", "revoked", ok, e)
  end)
end)
