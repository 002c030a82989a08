--- A flow by its id.

local canvas_site = require("spec.support.canvas_site")
local flow_look = require("taskengine.canvas.flow_look")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local SOON <const> = { timeout = 10 }

describe("taskengine.canvas.handle", function()
  local site = canvas_site.for_each_spec()
  local add, sum, fail

  before_each(function()
    add, sum, fail = site:tasks()
  end)

  -- A flow whose sender came no further than its first portion.
  local function half_sent()
    local list = {}
    for i = 1, 9000 do
      list[i] = add:s(i, 0)
    end
    local calls = 0
    function site.transport.decide(name)
      calls = calls + (name == "te1_flow" and 1 or 0)
      return name == "te1_flow" and calls == 2 and "refused" or "done"
    end
    local ok, e = pcall(te.group(list))
    assert.is_false(ok)
    return site.app:flow(e.id)
  end

  it("says how a flow stands", function()
    site.is_resting = true
    local r = te.flow {
      name = "etl",
      nodes = {
        load = { add:s(1, 2) },
        save = { add:s(1), after = { "load" } },
      },
    }()
    local flow = site.app:flow(r:node("load").id)
    assert.same({ nodes = 2, left = 2, state = "RUNNING", name = "etl" },
      flow:info())
    site.is_resting = false
    r:get(SOON)
    assert.same({ nodes = 2, left = 0, state = "DONE", name = "etl" },
      flow:info())
  end)

  it("tells a flow that was sent in part from one that runs", function()
    local flow = half_sent()
    assert.equal("INCOMPLETE", flow:info().state)
    assert.same({ false, "incomplete" }, { flow:retry() })
    assert.equal(0, flow:ended { { first = 1, last = 9000 } })
  end)

  it("leaves it to results to forget themselves", function()
    assert.is_nil((add:s(1, 1) | add:s(2))().flow.forget)
  end)

  it("has no end of a node that has not ended", function()
    site.is_resting = true
    local flow = (add:s(1, 1) | add:s(2))().flow
    local state, _, ended = flow_look.new(flow.client, flow.id):cell(1)
    assert.same({ "r", 0 }, { state, ended })
  end)

  it("says what it revoked, or why not", function()
    site.is_resting = true
    local flow = te.group { add:s(1, 1), add:s(2, 2) }().flow
    assert.same({ true, "revoked" }, { flow:revoke() })
    assert.same({ false, "finished" }, { flow:revoke() })
    assert.same({ 0, "REVOKED" }, { flow:info().left, flow:info().state })
    assert.same({ false, "finished" }, { flow:revoke { terminate = true } })
    assert.same({ true, "revoked" }, { half_sent():revoke() })
  end)

  it("says why nothing runs again", function()
    site.is_resting = true
    local r = (te.group { add:s(1, 1), add:s(2, 2) } | sum:s())()
    assert.same({ false, "running" }, { r.flow:retry() })
    site.is_resting = false
    r:get(SOON)
    wait_until(function()
      return r.flow:info().state == "DONE"
    end)
    assert.same({ false, "nothing" }, { r.flow:retry() })
    r = (fail:s() | sum:s())()
    r:wait(10)
    wait_until(function()
      return r.flow:info().state == "DONE"
    end)
    assert.same({ true }, { r.flow:retry() })
  end)

  describe("has done again what failed", function()
    local works, flaky

    before_each(function()
      works = false
      flaky = site.app:task("flaky", function()
        return works and 7 or error("not yet")
      end)
    end)

    -- The result has told the failure; from now on it is to tell another end.
    local function fail_and_retry(r)
      assert.is_false((r:wait(10)))
      wait_until(function()
        return r.flow:info().state == "DONE"
      end)
      works, site.is_resting = true, true
      assert.is_true(r.flow:retry())
    end

    it("and a result at hand waits for it", function()
      local r = (flaky:s() | add:s(1))()
      fail_and_retry(r)
      assert.same({ nil, "timeout" }, { r:wait(0) })
      assert.equal("PENDING", r:state())
      assert.same({}, (te.wait({ r }, 0)))
      site.is_resting = false
      assert.equal(8, r:get(SOON))
    end)

    it("and so do those of a group", function()
      local r = te.group { flaky:s(), add:s(1, 1) }()
      pcall(r.join, r, SOON)
      fail_and_retry(r)
      assert.equal("PENDING", r[1]:state())
      assert.equal(1, r:completed_count())
      site.is_resting = false
      assert.same({ 7, 2, n = 2 }, r:join(SOON))
      assert.same({ 7, 2, n = 2 }, r:get(SOON))
    end)

    it("and so do those of named nodes", function()
      local r = te.flow { nodes = { one = { flaky:s() } } }()
      fail_and_retry(r)
      assert.same({ "PENDING", 0 }, { r:state(), r:completed_count() })
      site.is_resting = false
      assert.same({ one = 7 }, r:get(SOON))
    end)
  end)

  it("knows nothing of a flow that has gone", function()
    local flow = te.group { add:s(1, 1), add:s(2, 2) }().flow
    wait_until(function()
      return flow:info().left == 0
    end)
    site.shard:advance(8 * 86400 * 1000)
    assert.same({ false, "missing" }, { flow:retry() })
    assert.same({ false, "unknown" }, { flow:revoke() })
    for _, method in ipairs { "info", "ended" } do
      local ok, e = pcall(flow[method], flow, { { first = 1, last = 2 } })
      assert.same({ false, "Forgotten", flow.id }, { ok, e.kind, e.id })
    end
  end)
end)
