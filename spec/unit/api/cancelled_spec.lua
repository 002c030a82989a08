local core = require("taskengine.core")
local idle_loop = require("spec.support.idle_loop")
local limits = require("taskengine.limits")
local message = require("taskengine.message")
local record = require("taskengine.record")
local runner = require("taskengine.runner")
local scheduler = require("taskengine.scheduler")
local slot = require("taskengine.slot")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local ID <const> = "Producer0001" .. "00000001"
local SETTINGS <const> = { result_expires = 60, serializer = "msgpack" }

describe("A task that is revoked while it runs", function()
  local app, running, outcomes, token
  idle_loop.for_each_spec()

  before_each(function()
    app = te.app("spec")
    outcomes, token = {}, 0
    running = runner.new {
      tasks = app.tasks,
      result_bytes_max = 1000,
      worker = "here",
      done = function(which, bytes)
        assert.is_nil(outcomes[which], "ended twice")
        outcomes[which] = bytes
      end,
      log = function() end,
    }
  end)

  local function begin(name)
    local m = message.new(name, {}, {}, SETTINGS)
    token = token + 1
    running:begin(token, assert(core.envelope.pack(m.template, ID, {}, nil)))
    return token
  end

  local function outcome_of(which)
    wait_until(function()
      return outcomes[which]
    end)
    return record.read(outcomes[which], ID)
  end

  -- Begins a task, revokes it where it waits, and brings its end.
  local function revoke(name)
    local which = begin(name)
    running:revoke(which)
    return outcome_of(which)
  end

  it("ends where it waits, on its way out", function()
    local closed, went_on
    app:task("nap", function()
      local _ <close> = setmetatable({}, { __close = function(_, e)
        closed = e.kind
      end })
      te.sleep(100)
      went_on = true
    end)
    local ended = revoke("nap")
    assert.equal("REVOKED", ended.state)
    assert.equal("Revoked", ended.error.kind)
    assert.matches("cancelled_spec.lua:%d+: revoked while it ran$",
      ended.error.message)
    assert.same({ "Revoked" }, { closed, went_on })
  end)

  it("may catch the error, wait, and return", function()
    app:task("tidy", function()
      local ok, e = pcall(te.sleep, 100)
      te.sleep(0.002)
      return { ok, e.kind }
    end)
    local ended = revoke("tidy")
    assert.same({ "SUCCESS", { false, "Revoked" } },
      { ended.state, ended.value })
  end)

  it("fails when it raises something else", function()
    app:task("sulk", function()
      pcall(te.sleep, 100)
      error { kind = "Sulky", message = "no" }
    end)
    local ended = revoke("sulk")
    assert.same({ "FAILURE", "Sulky" }, { ended.state, ended.error.kind })
  end)

  it("hears of it once, however often that is said", function()
    app:task("stay", function()
      local ok = pcall(te.sleep, 100)
      te.sleep(0.005)
      return ok
    end)
    local which = begin("stay")
    running:revoke(which)
    running:revoke(which)
    assert.same({ "SUCCESS", false },
      { outcome_of(which).state, outcome_of(which).value })
    running:revoke(which) -- it has ended: nothing happens
  end)

  it("knows it, and not that another was", function()
    local seen = {}
    app:task("look", { bind = true }, function(self)
      seen[1] = self:cancelled()
      pcall(te.sleep, 100)
      seen[2] = self:cancelled()
    end)
    local kept
    app:task("keep", { bind = true }, function(self)
      kept = self
      pcall(te.sleep, 100)
    end)
    revoke("look")
    assert.same({ false, true }, seen)
    revoke("keep")
    -- The next one has the same fiber.
    app:task("next", { bind = true }, function(self)
      return { self:cancelled(), kept:cancelled() }
    end)
    assert.same({ false, false }, outcome_of(begin("next")).value)
  end)

  it("knows it as soon as its process does", function()
    local is_asked = limits.is_asked
    finally(function()
      limits.is_asked = is_asked
    end)
    app:task("look", { bind = true }, function(self)
      local before = self:cancelled()
      limits.is_asked = function(which)
        return which == token
      end
      return { before, self:cancelled() }
    end)
    assert.same({ false, true }, outcome_of(begin("look")).value)
  end)

  it("is not asked where it was called as a function", function()
    local one = app:task("alone", { bind = true }, function(self)
      return self:cancelled()
    end)
    assert.is_false(one())
  end)

  it("does not pass for revoked by an error of that name alone", function()
    app:task("pretend", function()
      error { kind = "Revoked", message = "by hand" }
    end)
    local ended = outcome_of(begin("pretend"))
    assert.same({ "FAILURE", "Revoked" }, { ended.state, ended.error.kind })
  end)

  it("keeps an answer of Redis that is on its way", function()
    local answer
    app:task("ask", function()
      answer = scheduler.await("x", function(wake)
        core.loop.timer(2, function()
          wake("an answer")
        end)
      end, slot.REPLY)
      return answer
    end)
    local ended = revoke("ask")
    assert.same({ "SUCCESS", "an answer" }, { ended.state, ended.value })
  end)

  it("leaves a task that runs beside it alone", function()
    app:task("nap", function()
      te.sleep(100)
    end)
    app:task("rest", function()
      te.sleep(0.01)
      return "rested"
    end)
    local other = begin("rest")
    assert.equal("REVOKED", revoke("nap").state)
    assert.equal("rested", outcome_of(other).value)
  end)
end)
