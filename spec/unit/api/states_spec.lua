--- What tasks say of themselves, and who asks for it: with a worker played on
-- the shard.

local core = require("taskengine.core")
local message = require("taskengine.message")
local misuse = require("spec.support.misuse")
local result = require("taskengine.result")
local runner = require("taskengine.runner")
local shard_client = require("spec.support.shard_client")
local states = require("taskengine.states")
local te = require("taskengine")

local encode = core.codec.encode

describe("taskengine.states", function()
  local site = shard_client.for_each_spec()

  local function say(field, ...)
    site.shard:finish(shard_client.WORKER, "p", field, states.encode(...))
  end

  local function running()
    local r = site:send()
    return r, site:take(1)[1]
  end

  it("brings what a task says, as it was said", function()
    local r, field = running()
    for state, meta in pairs {
      PROGRESS = { fraction = 0.5, text = "half" },
      LOADING = "a.csv",
      ["my.own:state-2"] = false,
      STARTED = nil,
    } do
      say(field, state, meta)
      local info = r:info()
      assert.same({ state, meta }, { info.state, info.meta })
      assert.equal(site.shard:now() / 1000, info.since)
      assert.same({ "running", state }, { info.place, r:state() })
    end
    assert.is_nil(r:known())
    assert.is_false(r:ready())
  end)

  it("brings the outcome once there is one, and asks no more", function()
    local r, field = running()
    say(field, "LOADING")
    site:end_one(field, shard_client.success(7))
    assert.same({ "SUCCESS", 7 }, { r:info().state, r:info().value })
    assert.equal(1, site:calls("te1_state"))
    local large = ("x"):rep(70000)
    r, field = running()
    site:end_one(field, shard_client.success(large))
    assert.equal(large, r:info().value)
    assert.equal("SUCCESS", r:state())
  end)

  it("tells of a task without a result until it has ended", function()
    local r = site:send(1, { ignore_result = true })
    assert.same({ "PENDING", "waiting" }, { r:state(), r:info().place })
    local field = site:take(1)[1]
    say(field, "LOADING", 7)
    local info = r:info()
    assert.same({ "LOADING", "LOADING", 7 },
      { r:state(), info.state, info.meta })
    site.shard:finish(shard_client.WORKER, "d", "default", 1, field)
    info = r:info()
    assert.same({ "UNKNOWN", "Forgotten" }, { info.state, info.error.kind })
  end)

  it("tells where a task waits that has said nothing", function()
    local due = site:send(1, { countdown = 60 })
    assert.same({ id = due.id, name = "add", state = "PENDING", place = "due",
      due = site.shard:now() / 1000 + 60 }, due:info())
    local urgent = site:send(1, { priority = 3 })
    assert.equal("waiting", urgent:info().place)
    site:take(1)
    assert.same({ "PENDING", "running" },
      { urgent:info().state, urgent:info().place })
  end)

  it("tells of a task that waits for a retry when, and why", function()
    local r, field = running()
    say(field, "LOADING")
    site.shard:finish(shard_client.WORKER, "r", field,
      (">I8BI4"):pack(5000, 1, 0)
        .. shard_client.failure { kind = "Mine", message = "m" })
    local info = r:info()
    assert.same({ "RETRY", "due", nil }, { info.state, info.place, info.meta })
    assert.equal(site.shard:now() / 1000 + 5, info.due)
    assert.same({ "Mine", "m", r.id, "add" }, { info.error.kind,
      info.error.message, info.error.id, info.error.name })
    site.shard:advance(5000)
    field = site:take(1)[1]
    assert.same({ "RETRY", "running" }, { r:state(), r:info().place })
    say(field, "LOADING", "again")
    assert.same({ "LOADING", "again" }, { r:state(), r:info().meta })
    site:end_one(field, shard_client.success(7))
    assert.equal("SUCCESS", r:state())
  end)

  it("does not take a lost process for a retry", function()
    local r, field = running()
    site.shard:finish(shard_client.WORKER, "l", field,
      shard_client.failure { kind = "WorkerLost", message = "m" })
    assert.equal("PENDING", r:state())
  end)

  it("looks for the place only when asked for all that is known", function()
    local r = site:send()
    r:state()
    r:info()
    local modes = {}
    for _, call in ipairs(site.transport.calls) do
      if call.name == "te1_state" then
        modes[#modes + 1] = call.args[1]
      end
    end
    assert.same({ "0", "1" }, modes)
  end)

  it("is not told by a task what only the engine can say", function()
    local r, field = running()
    for _, said in ipairs { { s = "SUCCESS", m = 1 }, { s = "PENDING" },
      { s = 7 }, { s = "" }, {}, "LOADING" } do
      site.shard:finish(shard_client.WORKER, "p", field, encode(said))
      assert.same({ "PENDING", nil }, { r:state(), r:info().meta })
    end
    site.shard:finish(shard_client.WORKER, "p", field, "\xc1")
    assert.equal("PENDING", r:state())
  end)

  it("of what was never enqueued, or is gone, is UNKNOWN", function()
    local nobody = result.new(site.way, "nobody")
    assert.same({ "UNKNOWN", "UNKNOWN" }, { nobody:state(),
      nobody:info().state })
    local r, field = running()
    site.shard:finish(shard_client.WORKER, "d", "default", 1, field)
    assert.equal("PENDING", r:state())
    local info = r:info()
    assert.same({ "UNKNOWN", "Forgotten" }, { info.state, info.error.kind })
  end)

  it("refuses names that are none, or the engine's", function()
    assert.is_nil(states.problem("LOADING"))
    assert.equal("update_state: SUCCESS is for the engine to say; choose"
      .. " another name", states.problem("SUCCESS"))
    assert.matches("^update_state: state: a name %(.*%) expected, got nil$",
      states.problem(nil))
    assert.matches('expected, got "a b"$', states.problem("a b"))
  end)

  it("fits into what a child may say, or says why not", function()
    local room = core.child.STATE_BYTES_MAX - 256
    assert.is_true(#states.encode(("N"):rep(128), ("x"):rep(room - 3))
      <= core.child.STATE_BYTES_MAX)
    local bytes, why, code = states.encode("N", ("x"):rep(room))
    assert.same({ nil, "ELIMIT" }, { bytes, code })
    assert.matches("^ELIMIT: meta: ", why)
  end)

  describe("of a task that was called as a function", function()
    local app

    before_each(function()
      app = te.app("spec")
    end)

    local function here(fn)
      return app:task("t", { bind = true }, fn)
    end

    it("goes nowhere", function()
      local t = here(function(self)
        self:progress(0.5, "half")
        self:update_state("LOADING", { 1 })
        return "done"
      end)
      assert.equal("done", t())
    end)

    it("is checked at the line that says it", function()
      for shown, args in pairs {
        ["progress: fraction: a number from 0 to 1 expected, got 2"] = { 2 },
        ["progress: fraction: a number from 0 to 1 expected, got nil"] = {},
        ["progress: text: a string expected, got a table"] = { 1, {} },
      } do
        here(function(self)
          assert.equal(shown, misuse(self.progress, self,
            table.unpack(args, 1, 2)))
        end)()
        app = te.app("spec")
      end
      here(function(self)
        assert.matches("^progress: fraction: .* got %-?nan$",
          misuse(self.progress, self, 0 / 0))
        assert.equal("update_state: RETRY is for the engine to say; choose"
          .. " another name", misuse(self.update_state, self, "RETRY"))
        assert.equal("use self:progress(...), with a colon",
          misuse(self.progress, 0.5))
      end)()
    end)

    it("may not be what cannot travel", function()
      here(function(self)
        local ok, e = pcall(self.update_state, self, "A", { on = print })
        assert.same({ false, "CannotTravel", "meta.on: a function cannot be"
          .. " sent" }, { ok, e.kind, e.message })
        ok, e = pcall(self.progress, self, 1, ("x"):rep(20000))
        assert.same({ false, "TooLarge" }, { ok, e.kind })
      end)()
    end)
  end)
end)

describe("In a worker's child a task", function()
  local ID <const> = "Producer0001" .. "00000001"
  local SETTINGS <const> = { result_expires = 60, serializer = "msgpack" }
  local app, running, said

  before_each(function()
    app, said = te.app("spec"), {}
    running = runner.new {
      tasks = app.tasks,
      result_bytes_max = 1000,
      worker = "here",
      done = function(_, outcome)
        said[#said + 1] = outcome
      end,
      log = function() end,
      say = function(token, state)
        said[#said + 1] = { token, (core.codec.decode(state)) }
      end,
    }
  end)

  local function begin(token, name, options)
    local m = message.new(name, options or {}, {}, SETTINGS)
    running:begin(token, assert(core.envelope.pack(m.template, ID, {})))
  end

  it("says what it says while it runs", function()
    app:task("say", { bind = true }, function(self)
      self:update_state("LOADING", { file = "a" })
      self:progress(0.25, "reading")
      self:progress(1)
    end)
    begin(7, "say")
    assert.same({
      { 7, { s = "LOADING", m = { file = "a" } } },
      { 7, { s = "PROGRESS", m = { fraction = 0.25, text = "reading" } } },
      { 7, { s = "PROGRESS", m = { fraction = 1 } } },
      "S\xc0",
    }, said)
  end)

  it("says that it has begun, where its definition asks for it", function()
    app:task("tracked", { track_started = true }, function() end)
    app:task("plain", function() end)
    begin(1, "tracked")
    begin(2, "plain")
    assert.same({ { 1, { s = "STARTED" } }, "S\xc0", "S\xc0" }, said)
  end)

  it("says so where its sender asked for it", function()
    app:task("plain", function() end)
    begin(1, "plain", { track_started = true })
    assert.same({ { 1, { s = "STARTED" } }, "S\xc0" }, said)
  end)

  it("says nothing once it has ended, and nothing for another", function()
    local kept
    app:task("keep", { bind = true }, function(self)
      kept = self
    end)
    local function problems()
      local list = {}
      for i, ask in ipairs {
        { "log", "info", "x" }, { "update_state", "X" }, { "progress", 1 },
      } do
        local ok, problem = pcall(kept[ask[1]], kept, ask[2], ask[3])
        list[i] = not ok and problem:match("states_spec.lua:%d+: (.*)")
      end
      return list
    end
    local seen
    app:task("next", function()
      seen = problems()
    end)
    begin(1, "keep")
    local refused = {
      "log: this task has ended, it says nothing any more",
      "update_state: this task has ended, it says nothing any more",
      "progress: this task has ended, it says nothing any more",
    }
    assert.same(refused, problems())
    begin(2, "next") -- in the same fiber
    assert.same(refused, seen)
    assert.same({ "S\xc0", "S\xc0" }, said)
  end)
end)

describe("Kin", function()
  local site = shard_client.for_each_spec()

  -- What a task of this id sends, as in a worker's child.
  local function inside(parent, fn)
    return te.spawn(function()
      local fiber = require("taskengine.scheduler").current()
      fiber.task = { envelope = parent .. "rest", id = parent }
      local ok, brought = pcall(fn)
      fiber.task = nil
      return (assert(ok and brought, brought))
    end):get()
  end

  local function ids(list)
    local out = {}
    for i, one in ipairs(list) do
      out[i] = one.id
    end
    return out
  end

  it("are told by either", function()
    local parent = site:send()
    local a, b = table.unpack(inside(parent.id, function()
      return { site:send(2) }
    end))
    assert.same({ a.id, b.id }, ids(parent:children()))
    assert.equal(parent.id, b:parent().id)
    assert.same({}, a:children())
    assert.is_nil(parent:parent())
  end)

  it("are of the task that sends, though all share a batch", function()
    local one, two = site:send(2)
    local mine = inside(one.id, function()
      return { site:send(1, { priority = 2 }) }
    end)
    local other = inside(two.id, function()
      return { site:send() }
    end)
    local nobodys = site:send()
    assert.same(ids(mine), ids(one:children()))
    assert.same(ids(other), ids(two:children()))
    assert.is_nil(nobodys:parent())
  end)
end)
