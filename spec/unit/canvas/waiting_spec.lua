--- Waiting for what several canvases come to.

local canvas_site = require("spec.support.canvas_site")
local misuse = require("spec.support.misuse")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

describe("Waiting for several results", function()
  local site = canvas_site.for_each_spec()
  local add, sum, fail, late

  before_each(function()
    add, sum, fail = site:tasks()
    late = function(...)
      return add:s(...):set { countdown = 60 }
    end
  end)

  local function wait_for_end(r)
    wait_until(function()
      return r.flow:info().state == "DONE"
    end)
  end

  local function two_ends(a, b)
    return te.flow { nodes = { a = { a }, b = { b } } }()
  end

  local function completed(list)
    local order = {}
    for r in te.as_completed(list, 10) do
      order[#order + 1] = r
    end
    return order
  end

  it("brings groups and flows beside tasks, each once", function()
    local list = {
      te.group { add:s(1, 1), add:s(2, 2) }(),
      two_ends(add:s(1, 1), add:s(2, 2)),
      add:delay(3, 3),
      te.chord({ add:s(1, 1) }, sum:s())(),
      te.group {}(),
    }
    local order, seen = completed(list), {}
    for _, r in ipairs(order) do
      assert.is_nil(seen[r])
      assert.is_true(r:ready())
      seen[r] = r:get()
    end
    assert.same({ { 2, 4, n = 2 }, { a = 2, b = 4 }, 6, 2, { n = 0 } }, {
      seen[list[1]], seen[list[2]], seen[list[3]], seen[list[4]],
      seen[list[5]],
    })
    assert.equal(#list, #order)
  end)

  it("brings what is listed twice as often", function()
    local group, flow = te.group { add:s(1, 1) }(),
      two_ends(add:s(1, 1), add:s(2, 2))
    local count = {}
    for _, r in ipairs(completed { group, flow, group, flow }) do
      count[r] = (count[r] or 0) + 1
    end
    assert.same({ [group] = 2, [flow] = 2 }, count)
  end)

  it("brings one that has failed while others of it go on", function()
    local list = {
      te.group { late(1, 1), fail:s() }(),
      two_ends(late(1, 1), fail:s()),
    }
    local done, pending = te.wait(list, 10)
    assert.same({ 2, 0 }, { #done, #pending })
    for _, r in ipairs(done) do
      assert.equal("Broken", select(2, r:wait(0)).kind)
      r:revoke()
    end
  end)

  it("brings one only once, also when all of it has failed", function()
    local a, b = two_ends(fail:s(), fail:s()), two_ends(fail:s(), fail:s())
    wait_for_end(a)
    wait_for_end(b)
    assert.same({ a, b }, completed { a, b })
    assert.same({ { a, b }, {} }, { te.wait({ a, b }, 0) })
  end)

  it("divides them by how they stand now", function()
    local list = {
      te.group { add:s(1, 1) }(), te.group { late(1, 1), add:s(1, 1) }(),
      two_ends(add:s(1, 1), add:s(1, 1)), two_ends(late(1, 1), add:s(1, 1)),
    }
    wait_for_end(list[1])
    wait_for_end(list[3])
    list[4]:node("b"):wait(10)
    local done, pending = te.wait(list, 0)
    assert.same({ { list[1], list[3] }, { list[2], list[4] } },
      { done, pending })
    done, pending = te.wait(list, 0.02)
    assert.same({ 2, { list[2], list[4] } }, { #done, pending })
    list[2]:revoke()
    list[4]:revoke()
  end)

  it("counts them, not their parts, when the time is up", function()
    local list = { add:delay(1, 1), two_ends(late(1, 1), late(1, 1)) }
    list[1]:wait(10)
    local ok, e = pcall(function()
      for _ in te.as_completed(list, 0.02) do end
    end)
    assert.same({ false, "Timeout",
      "1 of 2 tasks not finished within 0.02 s; they go on" },
      { ok, e.kind, e.message })
    list[2]:revoke()
  end)

  it("says what is no result", function()
    local flow = two_ends(add:s(1, 1), add:s(1, 1))
    local many = site.app:enqueue_many(add, { { 1, 1 } })
    wait_for_end(flow)
    many[1]:wait(10)
    for _, case in ipairs {
      { { add:s(1, 1) }, "a canvas, which is to be sent first" },
      { { flow.flow }, "the handle of a flow, not its result" },
      { { many }, "a list of results, which goes alone" },
    } do
      assert.equal("wait: element 1 is no result but " .. case[2],
        misuse(te.wait, case[1]))
    end
    for _, alone in ipairs { flow, many[1] } do
      assert.equal("wait: a list of results expected, got a result that is in"
        .. " none", misuse(te.wait, alone))
    end
  end)
end)
