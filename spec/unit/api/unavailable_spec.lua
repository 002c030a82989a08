--- Whose error it is when Redis refuses to answer.

local canvas_site = require("spec.support.canvas_site")
local te = require("taskengine")

describe("An answer that Redis refuses", function()
  local site = canvas_site.for_each_spec()
  local add

  before_each(function()
    add = site:tasks()
    site.is_resting = true
  end)

  -- The id in the error of what raises one.
  local function blamed(method, ...)
    site.transport.decide = function()
      return "refused"
    end
    local ok, e = pcall(method, ...)
    assert.same({ false, "BrokerUnavailable" }, { ok, e.kind })
    return e.id
  end

  for _, name in ipairs { "state", "info", "result", "ready", "revoke",
    "forget", "history", "children", "parent" } do
    it("has the task's id in " .. name, function()
      local r = add:delay(1, 2)
      assert.equal(r.id, blamed(r[name], r))
    end)
  end

  it("has an id of the caller's own", function()
    local r = add:apply_async({ 1, 2 }, { task_id = "mine" })
    assert.equal("mine", blamed(r.state, r))
  end)

  for _, name in ipairs { "info", "revoke", "retry" } do
    it("has the flow's id in the " .. name .. " of a flow", function()
      local flow = (add:s(1, 2) | add:s(3))().flow
      assert.equal(flow.id, blamed(flow[name], flow))
    end)
  end

  for _, name in ipairs { "forget", "completed_count" } do
    it("has the id of the group, or its flow, in " .. name, function()
      local group = te.group { add:s(1, 2), add:s(3, 4) }()
      assert.equal(group.flow.id, blamed(group[name], group))
    end)
  end

  it("has none where many tasks are asked for", function()
    local many = site.app:enqueue_many("add", { { 1, 2 }, { 3, 4 } })
    assert.is_nil(blamed(many.revoke, many))
    assert.is_nil(blamed(site.app.dead, site.app))
  end)
end)
