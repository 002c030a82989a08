--- The results of a flow, and that they say the same as others by the same
-- names.

local canvas_site = require("spec.support.canvas_site")
local completion = require("taskengine.completion")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local SOON <const> = { timeout = 10 }

describe("The results of a flow", function()
  local site = canvas_site.for_each_spec()
  local add, fail

  before_each(function()
    local _
    add, _, fail = site:tasks()
  end)

  -- Two ends, one of which waits for the node `load`.
  local function flow(save)
    return te.flow { nodes = {
      load = { add:s(1, 2) },
      save = { save or add:s(10), after = { "load" } },
      count = { add:s(1, 1) },
    } }()
  end

  local function wait_for_end(r)
    wait_until(function()
      return r.flow:info().state == "DONE"
    end)
  end

  it("are those of the nodes that no other waits for", function()
    local r = flow()
    assert.same({ save = 13, count = 2 }, r:get(SOON))
    assert.same({ true, { save = 13, count = 2 } }, { r:wait(10) })
    assert.same({ save = 13, count = 2 }, r:join(SOON))
    assert.same({ save = 13, count = 2 }, r:result())
    assert.same({ id = r.id, state = "SUCCESS",
      value = { save = 13, count = 2 } }, r:info())
    assert.same({ "SUCCESS", true, true, false, 3 }, { r:state(), r:ready(),
      r:successful(), r:failed(), r:completed_count() })
  end)

  it("come with their names", function()
    local seen = {}
    for one, name in flow():iter(10) do
      seen[name] = one:get()
    end
    assert.same({ save = 13, count = 2 }, seen)
  end)

  it("say that it goes on", function()
    site.is_resting = true
    local r = flow()
    assert.same({ "PENDING", false, false, false }, { r:state(), r:ready(),
      r:successful(), r:failed() })
    assert.same({ nil, "timeout" }, { r:wait(0) })
    assert.is_nil(r:result())
    assert.same({ id = r.id, state = "PENDING" }, r:info())
    local ok, e = pcall(r.get, r, { timeout = 0.01 })
    assert.same({ false, "Timeout", r.id }, { ok, e.kind, e.id })
    assert.same({ nil, "timeout" }, { r:wait(0.01) })
  end)

  it("are known without time to wait for them, when it has ended", function()
    local r = flow()
    wait_for_end(r)
    assert.same({ true, { save = 13, count = 2 } }, { r:wait(0) })
  end)

  it("say how it stands in one question", function()
    site.is_resting = true
    local r = flow()
    for _, method in ipairs { "state", "ready", "successful", "failed", "info",
      "result" } do
      local before = #site.transport.calls
      r[method](r)
      assert.equal(1, #site.transport.calls - before, method)
    end
  end)

  it("bring large values, too", function()
    local large = ("x"):rep(70000)
    local r = te.flow { nodes = {
      one = { site.app:task("large", function()
        return large
      end):s() },
      two = { add:s(1, 1) },
    } }()
    wait_for_end(r)
    assert.same({ "SUCCESS", large, 2 }, { r:state(), r:result().one,
      r:result().two })
  end)

  it("do not say that it has ended before they have the values", function()
    local r = flow()
    site.is_resting = true
    local calls = 0
    function site.transport.decide()
      calls = calls + 1
      if calls == 2 then -- what a second question would be told
        for _ = 1, 5 do
          site.is_resting = false
          site:work()
        end
      end
      return "done"
    end
    assert.same({ id = r.id, state = "PENDING" }, r:info())
  end)

  it("say that an end goes on again while they are joined", function()
    site.is_resting = true
    local r = flow()
    -- Its end was heard of, and was gone when it was read.
    stub(completion, "as_completed", function()
      return function() end
    end)
    finally(function()
      completion.as_completed:revert()
    end)
    local ok, e = pcall(r.join, r)
    assert.same({ false, "Timeout", r:node("count").id }, { ok, e.kind, e.id })
  end)

  it("say that an end goes on again while they are waited for", function()
    site.is_resting = true
    local r = flow()
    stub(completion, "each", function(list, _, visit)
      return not visit(list[1])
    end)
    finally(function()
      completion.each:revert()
    end)
    assert.same({ nil, "timeout" }, { r:wait(10) })
  end)

  it("count the nodes that have names", function()
    local r = te.flow { nodes = {
      all = { te.group { add:s(1, 1), add:s(2, 2), add:s(3, 3) } },
    } }()
    wait_for_end(r)
    assert.same({ 1, 1, 1 }, { r:completed_count(), #r:children(), #r })
    r = flow()
    wait_for_end(r)
    assert.same({ 3, 3, 3 }, { r:completed_count(), #r:children(), #r })
  end)

  it("are ready when they are gone", function()
    local r = flow()
    wait_for_end(r)
    r:forget()
    assert.same({ "UNKNOWN", true, false, false }, { r:state(), r:ready(),
      r:successful(), r:failed() })
  end)

  it("say which failed, and what others came to", function()
    local r = flow(fail:si())
    local ok, e = r:wait(10)
    assert.same({ false, "Broken" }, { ok, e.kind })
    assert.same({ "FAILURE", true, false, true, "Broken", "Broken" }, {
      r:state(), r:ready(), r:successful(), r:failed(), r:result().kind,
      r:info().error.kind })
    local all = r:join { timeout = 10, propagate = false }
    assert.same({ 2, "Broken" }, { all.count, all.save.kind })
    ok, e = pcall(r.join, r, SOON)
    assert.same({ false, "Broken" }, { ok, e.kind })
  end)

  it("may be forgotten", function()
    local r = flow()
    wait_for_end(r)
    assert.equal(3, r:forget())
    local ok, e = r:wait(10)
    assert.same({ false, "Forgotten" }, { ok, e.kind })
    assert.equal(0, r:forget())
  end)

  it("have children and a parent", function()
    local r
    local sender = site.app:task("sender", function()
      r = flow()
    end):delay()
    sender:get(SOON)
    assert.equal(sender.id, r:parent().id)
    local children = r:children()
    assert.same({ 3, r:node("count"), r:node("load"), r:node("save") },
      { #children, table.unpack(children) })
  end)

  it("answer a revocation as the result of a task does", function()
    site.is_resting = true
    local task, group = add:delay(1, 2), te.group { add:s(1, 2), add:s(3, 4) }()
    local r = flow()
    for _, one in ipairs { task, group, r, (add:s(1, 2) | add:s(3))().flow } do
      assert.same({ true, "revoked" }, { one:revoke() })
      assert.same({ false, "finished" }, { one:revoke() })
    end
    assert.same({ "REVOKED", true, true }, { r:state(), r:ready(), r:failed() })
    assert.same({ false, "finished" }, { te.group {}():revoke() })
  end)

  describe("in a task that waits for them", function()
    it("are not its own end, which it hears of", function()
      local heard
      local nap = site.app:task("nap", function()
        te.sleep(60)
      end)
      site.app:task("outer", function()
        local r = te.flow { nodes = { one = { nap:s() } } }()
        heard = table.pack(pcall(r.wait, r, 60))
      end):delay()
      local function run_of(name)
        for token, fiber in pairs(site.running.begun) do
          if fiber.task.name == name then
            return token
          end
        end
      end
      wait_until(function()
        return run_of("nap")
      end)
      site.running:revoke(run_of("outer"))
      wait_until(function()
        return heard
      end)
      assert.same({ false, "Revoked" }, { heard[1], heard[2].kind })
      site.running:cancel(run_of("nap"))
    end)
  end)
end)

describe("The results of a group", function()
  local site = canvas_site.for_each_spec()

  it("say by the same names what that of a task says", function()
    local add = site:tasks()
    local r
    local sender = site.app:task("sender", function()
      r = te.group { add:s(1, 1), add:s(2, 2) }()
    end):delay()
    sender:get(SOON)
    r:get(SOON)
    assert.same({ 2, 4, n = 2 }, r:result())
    local info = r:info()
    assert.same({ r.id, "SUCCESS", 4 }, { info.id, info.state, info.value[2] })
    assert.equal(sender.id, r:parent().id)
    local children = r:children()
    assert.same({ 2, r[1], r[2] }, { #children, table.unpack(children) })
  end)

  it("have the error of the member that failed", function()
    local add, _, fail = site:tasks()
    local r = te.group { add:s(1, 1), fail:s() }()
    r:wait(10)
    assert.same({ "FAILURE", "Broken", "Broken" }, { r:state(),
      r:result().kind, r:info().error.kind })
  end)

  it("are nothing much of an empty one", function()
    local r = te.group {}()
    assert.same({ { n = 0 }, {}, "SUCCESS" }, { r:result(), r:children(),
      r:info().state })
    assert.is_nil(r:parent())
  end)
end)
