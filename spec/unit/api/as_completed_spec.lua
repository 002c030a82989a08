local core = require("taskengine.core")
local misuse = require("spec.support.misuse")
local scheduler = require("taskengine.scheduler")
local shard_client = require("spec.support.shard_client")
local te = require("taskengine")

local failure, success = shard_client.failure, shard_client.success

describe("waiting for results in the order of their ends", function()
  local site = shard_client.for_each_spec()

  it("begins with the first that had ended before", function()
    local list = { site:send(5) }
    site:finish(5, success(7))
    local order = {}
    for r in te.as_completed(list) do
      order[#order + 1] = r.id
    end
    for i, r in ipairs(list) do
      assert.equal(r.id, order[i])
    end
  end)

  it("brings each once, also what is listed twice", function()
    local list = { site:send(5) }
    list[6] = list[2]
    site:finish(1, success("first"))
    local next_is = { [1] = "then", [4] = "last" }
    local seen, order = {}, {}
    for r in te.as_completed(list, 5) do
      seen[r.id] = (seen[r.id] or 0) + 1
      order[#order + 1] = r:get { timeout = 0 }
      if next_is[#order] then
        site:finish_later(1, 2, success(next_is[#order]))
      end
    end
    assert.same({ "first", "then", "then", "then", "last", "last" }, order)
    assert.equal(2, seen[list[2].id])
    site:assert_no_waits()
  end)

  it("takes results whose end is known, and failures", function()
    local a, b = site:send(2)
    site:finish(1, success(1))
    a:get()
    site:finish(1, failure { kind = "Error", message = "m" })
    local count = 0
    for r in te.as_completed { a, b } do
      count = count + 1
      assert.equal(r == a, (r:wait()))
    end
    assert.equal(2, count)
    for _ in te.as_completed {} do
      error("there is none")
    end
  end)

  it("leaves no timer behind where the wait is ended otherwise", function()
    local r = site:send()
    local start, is_open = core.loop.timer, nil
    stub(core.loop, "timer", function(ms, ...)
      if ms < 90 * 1000 then
        return start(ms, ...)
      end
      is_open = true
      return { close = function()
        is_open = false
      end }
    end)
    finally(function()
      core.loop.timer:revert()
    end)
    local fiber = scheduler.fiber(function()
      te.wait({ r }, 100)
    end)
    scheduler.go_on(fiber)
    assert.is_true(is_open)
    fiber:close()
    assert.is_false(is_open)
  end)

  describe("without time to wait", function()
    local list

    before_each(function()
      list = { site:send(3) }
      site:finish(2, success(7))
    end)

    it("divides by how they stand now", function()
      assert.same({ { list[1], list[2] }, { list[3] } },
        { te.wait(list, 0) })
      site:assert_no_waits()
    end)

    it("brings those that have ended", function()
      local brought = {}
      local ok, e = pcall(function()
        for one in te.as_completed(list, 0) do
          brought[#brought + 1] = one
        end
      end)
      assert.same({ false, "Timeout" }, { ok, e.kind })
      assert.same({ list[1], list[2] }, brought)
    end)

    it("asks once for the tasks of one client", function()
      local calls = #site.transport.calls
      te.wait(list, 0)
      assert.equal(calls + 1, #site.transport.calls)
    end)

    it("takes what other clients have sent", function()
      local other = setmetatable({}, getmetatable(site))
      other:open()
      finally(function()
        other.way:close()
      end)
      local foreign = other:send()
      assert.same({ { list[1], list[2] }, { list[3], foreign } },
        { te.wait({ list[3], list[1], foreign, list[2] }, 0) })
    end)
  end)

  it("takes ids of the caller's", function()
    local r = site:send(1, { task_id = "order-7" })
    site:finish_later(2, 1, success(7))
    local values = {}
    for done in te.as_completed { r } do
      assert.equal(r, done)
      values[#values + 1] = done:get()
    end
    assert.same({ 7 }, values)
  end)

  it("raises when the time is up", function()
    local list = { site:send(3) }
    site:finish(1, success(7))
    local count = 0
    local ok, e = pcall(function()
      for _ in te.as_completed(list, 0.01) do
        count = count + 1
      end
    end)
    assert.is_false(ok)
    assert.same({ 1, "Timeout", "2 of 3 tasks not finished within 0.01 s;"
      .. " they go on" }, { count, e.kind, e.message })
    site:assert_no_waits()
  end)

  it("lets go of the rest when the loop is left", function()
    local list = { site:send(3) }
    site:finish(1, success(7))
    for r in te.as_completed(list) do
      if r:get() == 7 then
        break
      end
      error("not the first")
    end
    site:assert_no_waits()
  end)

  it("refuses what is no result", function()
    local r = site:send(1, { ignore_result = true })
    assert.equal("as_completed: element 1 is no result but 7",
      misuse(te.as_completed, { 7 }))
    assert.equal("as_completed: a list of results expected, got nil",
      misuse(te.as_completed))
    assert.equal("as_completed: tasks that were sent with ignore_result"
      .. " leave nothing to wait for", misuse(te.as_completed, { r }))
    assert.equal('as_completed: timeout: seconds from 0 to 3162240000'
      .. ' expected, got "x"', misuse(te.as_completed, {}, "x"))
  end)

  it("divides into those that have ended and the others", function()
    local a, b, c = site:send(3)
    site:finish(1, success(1))
    site:finish_later(1, 1, success(2))
    te.wait { a, b }
    local done, pending = te.wait({ a, b, c }, 0.02)
    assert.same({ { a, b }, { c } }, { done, pending })
    site:finish_later(1, 1, success(3))
    done, pending = te.wait { c }
    assert.same({ { c }, {} }, { done, pending })
  end)
end)
