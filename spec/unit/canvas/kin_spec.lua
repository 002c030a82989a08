local canvas_site = require("spec.support.canvas_site")
local te = require("taskengine")

local SOON <const> = { timeout = 10 }

describe("A task that sends canvases", function()
  local site = canvas_site.for_each_spec()
  local add, sum

  before_each(function()
    add, sum = site:tasks()
  end)

  -- The result of a task that has run `act` with its self.
  local function ended(act)
    local r = site.app:task("send", { bind = true }, act):delay()
    r:get(SOON)
    return r
  end

  local function sent(act)
    return ended(function(self)
      act(self)
    end)
  end

  it("has each of them as one child, which ends when all of it has",
    function()
      local flows = {}
      local r = sent(function()
        flows[1] = te.group { add:s(1, 1), add:s(2, 2) }().flow.id
        flows[2] = add:delay(1, 2).id
        flows[3] = te.chord({ add:s(1, 1) }, sum:s())().flow.id
      end)
      local children = r:children()
      for i, child in ipairs(children) do
        child:wait(10)
        assert.same({ flows[i], "SUCCESS", r.id },
          { child.id, child:state(), child:parent().id })
      end
      assert.equal(3, #children)
      assert.same({ 3, nil, 2 }, { children[1].flow:info().nodes,
        children[2].flow, children[3].flow:info().nodes })
    end)

  it("is the parent of all tasks in them, as these know themselves",
    function()
      local whose = site.app:task("whose", { bind = true }, function(self)
        return self.parent_id
      end)
      local chain
      local r = sent(function()
        chain = te.chain(whose:si(), whose:si())()
      end)
      assert.equal(r.id, chain:get(SOON))
      assert.equal(r.id, chain:parent().id)
      assert.same({}, chain:children())
    end)

  it("can end the whole of one by its id", function()
    local r = sent(function()
      te.chain(add:s(1, 1):set { countdown = 600 }, add:s(1))()
    end)
    local child = r:children()[1]
    assert.same({ true, "revoked" }, { child:revoke() })
    assert.same({ false, "finished" }, { site.app:revoke(child.id) })
    local ok, e = child:wait(10)
    assert.same({ false, "Revoked" }, { ok, e.kind })
    assert.equal("REVOKED", child:state())
  end)

  it("has what replaced it as a child", function()
    local r = ended(function(self)
      self:replace(add:s(1, 2) | add:s(3))
    end)
    assert.equal(6, r:get(SOON))
    assert.same({ 1, r.id }, { #r:children(), r:children()[1]:parent().id })
  end)
end)
