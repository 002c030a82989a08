local envelope = require("spec.support.envelope")
local core = require("taskengine.core")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local assert_failed = workers.assert_failed

describe("A task that is run again", function()
  local site = workers.for_each_spec()

  local function start(...)
    return site:worker({ "-P", "1", ... }, { file = "retries" })
  end

  local function redis_time()
    local time = site:call("TIME")
    return time[1] + time[2] / 1e6
  end

  -- What is noted of a task: the letter and the kind of each note.
  local function noted(id)
    local notes = {}
    for i, bytes in ipairs(site:key("LRANGE", "h:" .. id, 0, -1)) do
      notes[i] = bytes:sub(9, 9) .. " " .. (bytes:match("kind%W+(%a+)") or "-")
    end
    return notes
  end

  local function due(id)
    return envelope.read(site:key("HGET", "t", id))
  end

  it("asks for that until it succeeds", function()
    start()
    local r = site:send("asks", "notes", 2)
    assert.equal(2, r:get { timeout = 20 })
    assert.same({ r.id .. " 0", r.id .. " 1", r.id .. " 2" },
      site:lines("notes"))
    assert.same({ 2, 0, 1 }, { site:count("retried"), site:count("failed"),
      site:count("done") })
  end)

  it("has the errors of all its attempts with it, as long as its outcome",
    function()
      start()
      local r = site:send("asks", "notes", 2)
      r:get { timeout = 20 }
      assert.same({ "r Unstable", "r Unstable" }, noted(r.id))
      for i, event in ipairs(r:history()) do
        assert.same({ "retried", "Unstable", "attempt " .. i - 1 },
          { event.event, event.kind, event.message })
        assert.is_true(math.abs(event.at - redis_time()) < 20)
      end
      assert.equal(2, #r:history())
      assert.equal(2, site:send("asks_about", r.id):get { timeout = 20 })
      local kept_ms = site:key("PTTL", "v:" .. r.id:sub(1, 19))
      local left_ms = site:key("PTTL", "h:" .. r.id)
      assert.is_true(left_ms > 0 and left_ms <= kept_ms)
    end)

  it("is told among the dead how often, and why", function()
    start()
    local ok, e = site:outcome("fails", "notes", 9)
    assert_failed("MaxRetriesExceeded",
      "failed 3 times, the last time with Unstable: attempt 2", ok, e)
    assert.same({ kind = "Unstable", message = "attempt 2" },
      { kind = e.value.kind, message = e.value.message })
    local entry = wait_until(function()
      return site.app:dead()[1]
    end)
    assert.equal(2, entry.retries)
    local history = entry:details().history
    assert.equal(2, #history)
    for i, attempt in ipairs(history) do
      assert.same({ "retried", "Unstable", "attempt " .. i - 1 },
        { attempt.event, attempt.kind, attempt.message })
      assert.is_true(attempt.worker ~= nil and attempt.pid ~= nil)
    end
    local shown = site.place:run { "dead", "show", entry.id }
    assert.matches("an attempt failed in the process of worker %g+ %(host %g+,"
      .. " pid %d+%): Unstable: attempt 0\n", shown.stdout)
  end)

  it("waits in Redis, where its worker is not needed", function()
    local worker = start()
    local r = site:send("asks", "notes", 1, 60)
    wait_until(function()
      return site:key("ZSCORE", "z", r.id)
    end)
    assert.same({}, site:in_flight())
    assert.same({ 1, 0 }, { due(r.id).attempt, due(r.id).deaths })
    assert.equal(0, site:stop(worker).code)
    -- The minute is over.
    site:key("ZADD", "z", "XX", 1, r.id)
    start()
    assert.equal(1, r:get { timeout = 20 })
  end)

  it("is not when the call says so", function()
    start()
    local r = site:apply("fails", { "notes", 1 }, { retry = false })
    local ok, e = r:wait(20)
    assert_failed("Unstable", "attempt 0", ok, e)
    r = site:apply("asks", { "more", 9 }, { retry = { max_retries = 1 } })
    ok, e = r:wait(20)
    assert_failed("Unstable", "attempt 1", ok, e)
    assert.same({ 1, 2 }, { #site:lines("notes"), #site:lines("more") })
  end)

  it("may get other arguments, and has its headers", function()
    start()
    local r = site:apply("counts", { 1 }, { headers = { trace = "t" } })
    assert.same({ 3, "t", 2 }, r:get { timeout = 20 })
  end)

  it("may put itself off, which counts nothing", function()
    start()
    local r = site:send("snoozes", "notes", "go")
    site:wait_lines("notes", 3)
    site.place:write("go", "")
    assert.equal(0, r:get { timeout = 20 })
    assert.same({}, noted(r.id))
    assert.equal(0, site:count("retried"))
  end)

  it("counts apart from the deaths of its process", function()
    start()
    local r = site:send("crashes_first", "died")
    assert.equal(1, r:get { timeout = 20 })
    assert.same({ "c WorkerLost", "r Retry" }, noted(r.id))
  end)

  describe("when it had gone beyond", function()
    local function assert_again(way, kind, opts)
      local r = site:apply("exceeds", { way, 1 }, opts)
      assert.equal(1, r:get { timeout = 30 })
      assert.same({ "r " .. kind }, noted(r.id))
      assert.equal(0, site:count("lost"))
      -- As often as it may.
      local ok, e = site:apply("exceeds", { way, 9 }, opts):wait(30)
      assert.is_false(ok)
      return e
    end

    it("its time limit, and its process was killed", function()
      local worker = start()
      local before = workers.children(worker)
      local e = assert_again("compute", "TimeLimitExceeded",
        { time_limit = 0.2 })
      assert.equal("TimeLimitExceeded", e.kind)
      assert.not_same(before, workers.children(worker))
    end)

    it("its time limit while it waited", function()
      local worker = start()
      local before = workers.children(worker)
      local e = assert_again("wait", "TimeLimitExceeded", { time_limit = 0.2 })
      assert.equal("TimeLimitExceeded", e.kind)
      assert.same(before, workers.children(worker))
    end)

    it("its soft time limit", function()
      start()
      local e = assert_again("compute", "SoftTimeLimitExceeded",
        { soft_time_limit = 0.2 })
      assert.same({ "MaxRetriesExceeded", "SoftTimeLimitExceeded" },
        { e.kind, e.value.kind })
    end)

    it("its memory limit", function()
      start()
      local e = assert_again("fill", "MemoryLimitExceeded",
        { memory_limit = "16M" })
      assert.same({ "MaxRetriesExceeded", "MemoryLimitExceeded" },
        { e.kind, e.value.kind })
    end)
  end)

  describe("with a deadline", function()
    it("ends by then, whatever it does", function()
      start()
      local began = core.sys.monotonic()
      for _, way in ipairs { "compute", "wait" } do
        local ok, e = site:apply("exceeds", { way, 9 }, { deadline = 0.3 })
          :wait(20)
        assert_failed("TimeLimitExceeded", "was still running at its deadline",
          ok, e)
      end
      assert.is_true(core.sys.monotonic() - began >= 0.55)
      assert.equal(0, site:count("retried"))
    end)

    it("is not run again after it", function()
      start()
      local ok, e = site:apply("asks", { "notes", 9, 60 }, { deadline = 50 })
        :wait(20)
      assert_failed("Unstable", "attempt 0", ok, e)
      assert.equal(0, site:count("retried"))
    end)

    it("is said to expire, and not to run again", function()
      local worker = start()
      for name, args in pairs {
        asks = { "notes", 1, 60 }, asks_at = { 60 },
      } do
        site:apply(name, args, { expires = 50 }):wait(20)
        worker:heard("stderr", name .. "%S+ failed in [^\n]*, expires before")
      end
      site:apply("asks", { "notes", 1, 0 }, { expires = 50 }):wait(20)
      worker:heard("stderr", "asks%S+ failed in [^\n]*, runs again in 0.000 s")
    end)

    it("expires when nobody has begun it by then", function()
      local r = site:apply("asks", { "notes", 0 }, { deadline = 0.01 })
      local sent = redis_time()
      wait_until(function()
        return redis_time() > sent + 0.01
      end)
      start()
      local ok, e = r:wait(20)
      assert_failed("Expired", "expired before", ok, e)
    end)
  end)

  describe("in a workflow", function()
    local LIMIT <const> = { timeout = 30 }

    local function s(name, ...)
      return site.app:signature(name, table.pack(...))
    end

    it("has what came before it at each attempt", function()
      start()
      assert.equal(4, te.chain(s("adds_late", 1), s("adds_late"),
        s("adds_late"))():get(LIMIT))
      assert.equal(3, site:count("retried"))
    end)

    it("has it not twice when it is given other arguments", function()
      start()
      assert.same({ 3, 1 }, te.chain(s("adds_late", 1), s("adds_other"))()
        :get(LIMIT))
    end)

    it("is waited for by what needs it, and gathers anew", function()
      start()
      local members = {}
      for i = 1, 20 do
        members[i] = s("adds_late", i)
      end
      assert.same({ 20, 2, 1 },
        te.chord(te.group(members))(s("first_of_all")):get(LIMIT))
      assert.equal(21, site:count("retried"))
      assert.equal(0, site:count("failed"))
    end)

    it("fails what needs it when no retry is left", function()
      start()
      local ok, e = te.chain(s("adds_late", 1, 9), s("adds_late"))():wait(30)
      assert.is_false(ok)
      assert.equal("DependencyFailed", e.kind)
      assert.same({ "MaxRetriesExceeded", "Unstable" },
        { e.value.error.kind, e.value.error.value.kind })
    end)

    it("has limits of its own", function()
      start()
      local job = te.group {
        s("exceeds", "compute", 1):set { time_limit = 0.3 },
        s("exceeds", "wait", 1):set { soft_time_limit = 0.3 },
        s("exceeds", "fill", 1):set { memory_limit = "16M" },
      }
      assert.same({ 1, 1, 1, n = 3 }, job():get(LIMIT))
      assert.equal(3, site:count("retried"))
      local once = s("exceeds", "compute", 9)
        :set { time_limit = 0.3, retry = false }
      local ok, e = te.chain(once, s("adds_late"))():wait(30)
      assert.same({ false, "DependencyFailed", "TimeLimitExceeded" },
        { ok, e.kind, e.value.error.kind })
      assert.equal(3, site:count("retried"))
    end)

    it("has its place in a chord, also with other arguments", function()
      start()
      local members = {}
      for i = 1, 20 do
        members[i] = i % 2 == 0 and s("adds_other", i)
          or te.chain(s("adds_late", i - 2), s("adds_other"))
      end
      local seen = te.chord(members, s("all_of"))():get(LIMIT)
      local expected = { n = 20 }
      for i = 1, 20 do
        expected[i] = { i % 2 == 0 and i + 1 or i, 1 }
      end
      assert.same(expected, seen)
      assert.equal(30, site:count("retried"))
    end)

    it("is run again where what it takes is beyond its memory", function()
      start("--memory-limit", "24M")
      local members = {}
      for i = 1, 40 do
        members[i] = s("text", 1)
      end
      local ok, e = te.chord(members, s("counts_all"))():wait(30)
      assert.same({ false, "MaxRetriesExceeded", "MemoryLimitExceeded" },
        { ok, e.kind, e.value.kind })
      assert.equal(1, site:count("retried"))
      assert.equal(40, te.chord(members, s("counts_all")
        :set { memory_limit = "128M" })():get(LIMIT))
    end)
  end)

  it("has a memory limit of its own, as its files or the call say", function()
    start()
    local ok, e = site:outcome("modest", 32)
    assert_failed("MemoryLimitExceeded", "its process may use 16 MiB", ok, e)
    ok, e = site:apply("modest", { 12 }, { memory_limit = "8M" }):wait(20)
    assert_failed("MemoryLimitExceeded", "its process may use 8 MiB", ok, e)
    assert.equal(32 << 20, site:apply("modest", { 32 },
      { memory_limit = "128M" }):get { timeout = 20 })
  end)
end)
