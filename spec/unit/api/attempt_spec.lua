local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local message = require("taskengine.message")
local record = require("taskengine.record")
local runner = require("taskengine.runner")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local ID <const> = "Producer0001" .. "00000001"
local SPENDS <const>, IS_TIME <const> = 1, 2

describe("an attempt", function()
  local app, running, said, wills, lines, token

  before_each(function()
    app = te.app("spec")
    said, wills, lines, token = {}, {}, {}, 0
    running = runner.new {
      tasks = app.tasks,
      result_bytes_max = 1000,
      message_bytes_max = 100,
      worker = "here",
      done = function(which, bytes)
        said[which] = bytes
      end,
      bequeath = function(which, will)
        wills[which] = will
      end,
      log = function(level, _, text)
        lines[#lines + 1] = level .. " " .. text
      end,
    }
  end)

  -- Runs a task that was retried `retries` times: what is said of it.
  local function run(name, args, opts)
    opts = opts or {}
    local m = message.new(name, {}, {},
      { result_expires = 60, serializer = opts.serializer or "msgpack" })
    local bytes = assert(core.envelope.pack(m.template, ID, args or {},
      opts.extra))
    local parts = envelope.read(bytes)
    parts.attempt = opts.retries or 0
    token = token + 1
    running:begin(token, envelope.new(parts))
    wait_until(function()
      return said[token]
    end)
    return said[token], envelope.new(parts)
  end

  local function read(verdict)
    assert.equal("T", verdict:sub(1, 1))
    local ms, flags, body, at = string.unpack(">I8Bs4", verdict, 2)
    local e = at <= #verdict and record.read(verdict:sub(at), ID).error
    return { ms = ms, flags = flags, body = body, error = e or nil }
  end

  local function error_of(name, args, opts)
    return record.read((run(name, args, opts)), ID).error
  end

  -- A bound task that asks to be run again.
  local function define(opts, options)
    options = options or {}
    options.bind = true
    return app:task("again", options, function(self)
      self:retry(opts)
    end)
  end

  describe("that asks for another", function()
    it("has it after what the task says", function()
      define(nil, { retry_delay = 2.5 })
      local v = read((run("again")))
      assert.same({ 2500, SPENDS, "" }, { v.ms, v.flags, v.body })
      assert.same({ "Retry", "it asked to be run again" },
        { v.error.kind, v.error.message })
      assert.matches("attempt_spec.lua", v.error.traceback, 1, true)
      assert.is_nil(v.error.traceback:find("taskengine/", 1, true))
    end)

    it("has it after a pause that grows, where the task says so", function()
      define(nil, { retry_backoff = 0.5, retry_jitter = false })
      assert.equal(2000, read((run("again", {}, { retries = 2 }))).ms)
    end)

    it("has it after as long, or at the time, that it says", function()
      define { countdown = 0.75 }
      local v = read((run("again")))
      assert.same({ 750, SPENDS }, { v.ms, v.flags })
      app.tasks.again = nil
      define { eta = "2030-01-01T00:00:00.5Z" }
      v = read((run("again")))
      assert.same({ 1893456000500, SPENDS | IS_TIME }, { v.ms, v.flags })
    end)

    it("says why", function()
      app:task("fails", { bind = true }, function(self)
        local ok, e = pcall(error, { kind = "NoStock", message = "none",
          sku = 7 })
        self:retry { exc = not ok and e or nil }
      end)
      local e = read((run("fails"))).error
      assert.same({ "NoStock", "none", 7 }, { e.kind, e.message, e.value.sku })
    end)

    it("gives it other arguments, and what else came along", function()
      app:task("next", { bind = true }, function(self, x)
        self:retry { args = { x + 1, nil, "z", n = 3 } }
      end)
      for _, serializer in ipairs { "msgpack", "json" } do
        local verdict, bytes = run("next", { 4 }, { serializer = serializer,
          extra = { h = { trace = "t" }, r = "root", p = "parent" } })
        local parts = envelope.read(bytes)
        parts.body = read(verdict).body
        assert.same({ ID, "next",
          { h = { trace = "t" }, r = "root", p = "parent" }, 5, nil, "z",
          n = 6 }, table.pack(core.envelope.open(envelope.new(parts))))
      end
    end)

    it("gives it other arguments, and what the call said of retries", function()
      app:task("next", { bind = true, autoretry_for = true }, function(self)
        self:retry { args = {}, max_retries = 1 }
      end)
      local verdict, bytes = run("next", {}, { extra = { t = false } })
      local parts = envelope.read(bytes)
      parts.body = read(verdict).body
      assert.same({ ID, "next", { t = false } },
        { core.envelope.open(envelope.new(parts)) })
    end)

    it("fails at its own line when these cannot be sent", function()
      for kind, value in pairs { CannotTravel = print,
        TooLarge = ("x"):rep(100) } do
        app.tasks.again = nil
        define { args = { value } }
        local e = error_of("again")
        assert.equal(kind, e.kind)
        assert.matches("attempt_spec.lua:%d+: args%[?1?%]?", e.message)
        assert.is_nil(e.message:find("task again", 1, true)) -- said by e.name
      end
    end)

    it("raises why when none is left", function()
      define({ exc = { kind = "NoStock", message = "none" } },
        { max_retries = 2 })
      assert.equal("T", run("again", {}, { retries = 1 }):sub(1, 1))
      local e = error_of("again", {}, { retries = 2 })
      assert.same({ "NoStock", "none" }, { e.kind, e.message })
    end)

    it("fails when none is left and it does not say why", function()
      define()
      local e = error_of("again", {}, { retries = 3 })
      assert.equal("MaxRetriesExceeded", e.kind)
      assert.matches("attempt_spec.lua:%d+: it asked to be run again, and has"
        .. " no retry left after 3$", e.message)
    end)

    it("says itself how many there are", function()
      define { max_retries = 5 }
      assert.equal("T", run("again", {}, { retries = 4 }):sub(1, 1))
      assert.equal("F", run("again", {}, { retries = 5 }):sub(1, 1))
      app.tasks.again = nil
      define { max_retries = false }
      assert.equal("T", run("again", {}, { retries = 255 }):sub(1, 1))
    end)

    it("may do so from a function that it has spawned", function()
      app:task("spawns", { bind = true }, function(self)
        te.spawn(function()
          te.sleep(0)
          self:retry { countdown = 1 }
        end):get()
      end)
      assert.equal(1000, read((run("spawns"))).ms)
    end)

    it("has it not when it catches what that raises", function()
      app:task("catches", { bind = true }, function(self)
        local _, e = pcall(self.retry, self)
        return tostring(e)
      end)
      assert.equal("the task is to be run again",
        record.read((run("catches")), ID).value)
    end)

    it("is told at its own line what is wrong", function()
      for shown, opts in pairs {
        ["retry: countdown: seconds from 0 to 3162240000 expected, got -1"] =
          { countdown = -1 },
        ["retry: countdown and eta say the same, one will do"] =
          { countdown = 1, eta = 1 },
        ["retry: unknown option 'countdwn' (did you mean 'countdown'?)"] =
          { countdwn = 1 },
        ["retry: options: a table expected, got 5"] = 5,
      } do
        app.tasks.again = nil
        define(opts)
        local e = error_of("again")
        assert.matches("attempt_spec.lua:%d+: ", e.message)
        assert.matches(shown, e.message, 1, true)
      end
    end)
  end)

  describe("that puts itself off", function()
    it("spends nothing", function()
      app:task("later", { bind = true, max_retries = 0 }, function(self)
        self:snooze(1.5)
      end)
      local v = read((run("later")))
      assert.same({ 1500, 0, "" }, { v.ms, v.flags, v.body })
      assert.is_nil(v.error)
    end)

    it("is told at its own line what is wrong", function()
      app:task("later", { bind = true }, function(self)
        self:snooze(-1)
      end)
      assert.matches("attempt_spec.lua:%d+: snooze: seconds from 0 to "
        .. "3162240000 expected, got %-1$", error_of("later").message)
    end)
  end)

  it("asks for nothing once it has ended, or for another task", function()
    local kept
    app:task("keeps", { bind = true }, function(self)
      kept = self
    end)
    app:task("other", function()
      kept:retry()
    end)
    run("keeps")
    for _, ask in ipairs { "retry", "snooze" } do
      local ok, problem = pcall(kept[ask], kept, ask == "snooze" and 1 or nil)
      assert.is_false(ok)
      assert.matches(ask .. ": this task does not run here: only a task that"
        .. " runs can ask for that, and only for itself", problem, 1, true)
    end
    assert.matches("retry: this task does not run here", error_of("other")
      .message, 1, true)
  end)

  describe("that is a call of a function", function()
    it("raises why it would be run again", function()
      local again = define { exc = { kind = "NoStock" } }
      local ok, e = pcall(again)
      assert.same({ false, { kind = "NoStock" } }, { ok, e })
    end)

    it("raises that it would be", function()
      local again = define()
      local later = app:task("later", { bind = true }, function(self)
        self:snooze(1)
      end)
      for _, one in ipairs { again, later } do
        local ok, e = pcall(one)
        assert.same({ false, "Retry", one.name }, { ok, e.kind, e.name })
        assert.matches("it was called as a function, which runs once$",
          e.message)
        assert.matches("attempt_spec.lua:%d+$", e.place)
      end
    end)
  end)

  describe("that fails", function()
    local function define_failing(options)
      app:task("fails", options, function()
        error { kind = "NoStock", message = "none", sku = 7 }
      end)
    end

    it("is followed by another where the task wants that", function()
      define_failing { autoretry_for = { "NoStock" }, retry_delay = 4 }
      local v = read((run("fails")))
      assert.same({ 4000, SPENDS, "", "NoStock", "none", 7 }, { v.ms, v.flags,
        v.body, v.error.kind, v.error.message, v.error.value.sku })
    end)

    it("is told of in short where it said too much", function()
      app:task("shouts", { autoretry_for = true }, function()
        error { kind = "Long", message = ("x"):rep(5000), value = 7 }
      end)
      local verdict = run("shouts")
      assert.is_true(#verdict < 4096 + 14)
      local e = read(verdict).error
      assert.same({ "Long", ("x"):rep(2000) .. "..." }, { e.kind, e.message })
      assert.is_nil(e.value)
      assert.matches("attempt_spec.lua", e.traceback, 1, true)
    end)

    it("is not where the task wants that for others", function()
      define_failing { autoretry_for = { "Error" } }
      assert.equal("NoStock", error_of("fails").kind)
    end)

    it("is asked about, with all that is known of it", function()
      local seen
      define_failing { autoretry_for = function(e)
        seen = e
        te.sleep(0)
        return e.value.sku == 7
      end }
      assert.equal("T", run("fails"):sub(1, 1))
      assert.same({ ID, "fails", "NoStock", "none" },
        { seen.id, seen.name, seen.kind, seen.message })
    end)

    it("fails as it did when that question does", function()
      define_failing { autoretry_for = function()
        error("oops", 0)
      end }
      assert.equal("NoStock", error_of("fails").kind)
      assert.matches("^error autoretry_for: oops\nstack traceback:\n\t[^\n]*"
        .. "attempt_spec.lua:%d+: in [^\n]+$", lines[1])
      assert.is_nil(lines[2])
    end)

    it("tells of all attempts when it was the last of several", function()
      define_failing { autoretry_for = true, max_retries = 2 }
      local e = error_of("fails", {}, { retries = 2 })
      assert.same({ "MaxRetriesExceeded",
        "failed 3 times, the last time with NoStock: none" },
        { e.kind, e.message })
      assert.same({ "NoStock", "none", 7 },
        { e.value.kind, e.value.message, e.value.value.sku })
      assert.matches("attempt_spec.lua", e.traceback, 1, true)
    end)

    it("is what it is when there was to be one attempt", function()
      define_failing { autoretry_for = true, max_retries = 0 }
      assert.equal("NoStock", error_of("fails").kind)
    end)

    it("heeds what the call says", function()
      define_failing { autoretry_for = true, retry_delay = 9 }
      assert.equal("F", run("fails", {}, { extra = { t = false } }):sub(1, 1))
      assert.equal(500, read((run("fails", {},
        { extra = { t = { retry_delay = 0.5 } } }))).ms)
    end)
  end)

  describe("whose time may be over", function()
    it("says beforehand that it is to be followed by another", function()
      app:task("long", { autoretry_for = { "TimeLimitExceeded" },
        retry_delay = 3 }, te.now)
      run("long", {}, { retries = 2 })
      assert.same({ ms = 3000, flags = SPENDS, body = "" },
        read(wills[token]))
      run("long", {}, { retries = 3 })
      assert.is_nil(wills[token])
    end)

    it("says the same when it is ended where it waits", function()
      app:task("naps", { autoretry_for = true, retry_delay = 3 }, te.sleep)
      local m = message.new("naps", {}, {},
        { result_expires = 60, serializer = "msgpack" })
      local bytes = core.envelope.pack(m.template, ID, { 0.005 })
      running:begin(1, bytes)
      running:cancel(1)
      local v = read(said[1])
      assert.same({ 3000, SPENDS, "TimeLimitExceeded" },
        { v.ms, v.flags, v.error.kind })
    end)

    it("says nothing where the task wants none for that", function()
      app:task("plain", te.now)
      app:task("asks", { autoretry_for = print }, te.now)
      run("plain")
      run("asks")
      assert.same({}, wills)
    end)
  end)
end)
