local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"
local NO_RESULT <const>, HAS_PAST <const> = 1, 16
local SPENDS <const>, IS_TIME <const> = 1, 2
local WEEK_MS <const> = 7 * 86400000
local NO_WORDS <const> = "\0\0\0"
local FAILURE <const> = "F\x81\xa4kind\xa1x"

describe("te1_finish of a task that is to run again", function()
  local s, p

  before_each(function()
    s, p = shard.serving(A)
  end)

  local function running(parts, opts)
    local id = p:add(parts, opts)
    return id, s:take(A, 1)[1]
  end

  local function verdict(ms, flags, outcome, body)
    return string.pack(">I8Bs4", ms, flags, body or "") .. (outcome or "")
  end

  local function retry(field, ...)
    return s:finish(A, "r", field, verdict(...))
  end

  local function notes(id)
    return s:redis("LRANGE", "h:" .. id, 0, -1)
  end

  local function outcome(id)
    return s:call("outcome", id)[1]
  end

  -- Where it waits: "due" and when, or "ready"; and its envelope.
  local function place(id, queue)
    local due = s:redis("ZSCORE", "z", id)
    if due then
      return "due", tonumber(due) - s:now(),
        envelope.read(s:redis("HGET", "t", id))
    end
    for i, bytes in ipairs(s:redis("LRANGE", "r:" .. (queue or "default"), 0,
      -1)) do
      if bytes:sub(1, 20) == id then
        return "ready", i, envelope.read(bytes)
      end
    end
  end

  it("lays it aside for as long as it says", function()
    local id, field = running { body = "\x91\x93\1\2\3" }
    assert.equal(1, retry(field, 5000, SPENDS, FAILURE))
    local where, in_ms, parts = place(id)
    assert.same({ "due", 5000 }, { where, in_ms })
    assert.same({ 1, HAS_PAST, 1, 0, 0, "\x91\x93\1\2\3" }, { parts.attempt,
      parts.flags, parts.delivery, parts.deaths, parts.reaps, parts.body })
    assert.equal("=" .. id, outcome(id))
    assert.equal(1, s:counter("default", "retried"))
    s:advance(5000)
    assert.equal(id, s:fetch(A, 1)[1]:sub(1, 20))
  end)

  it("wakes a sleeper to set its timer", function()
    s:register(B)
    local _, field = running()
    s:fetch(B, 1)
    s:heard("b:" .. B)
    retry(field, 5000, SPENDS, FAILURE)
    assert.same({ "" }, s:heard("b:" .. B))
  end)

  it("puts it behind those that are ready, without a delay", function()
    local id, field = running()
    p:plain(2)
    s:register(B)
    s:redis("SADD", "sl:default", B)
    retry(field, 0, SPENDS, FAILURE)
    local where, at = place(id)
    assert.same({ "ready", 3 }, { where, at })
    assert.same({ "" }, s:heard("b:" .. B))
  end)

  it("keeps its priority and its queue", function()
    local id = p:add { priority = 7, queue = "mail" }
    s:register(A, "mail")
    local field = s:take(A, 1, { queues = { "mail" } })[1]
    retry(field, 0, SPENDS, FAILURE)
    assert.same({ id }, s:redis("ZRANGE", "p:mail", 0, -1))
  end)

  it("waits until a time by the clock of Redis", function()
    local id, field = running()
    retry(field, s:now() + 1234, SPENDS | IS_TIME, FAILURE)
    local where, in_ms = place(id)
    assert.same({ "due", 1234 }, { where, in_ms })
  end)

  it("is ready when that time has passed", function()
    local id, field = running()
    retry(field, s:now() - 1, SPENDS | IS_TIME, FAILURE)
    assert.equal("ready", (place(id)))
  end)

  it("gets other arguments with it", function()
    local id, field = running { alias = "order-7", name = "send" }
    retry(field, 1, SPENDS, FAILURE, "\x91\x91\7")
    local _, _, parts = place(id)
    assert.same({ "\x91\x91\7", "order-7", "send" },
      { parts.body, parts.alias, parts.name })
  end)

  it("notes each attempt, and who made it", function()
    local id, field = running()
    s:advance(1)
    local at = s:now()
    retry(field, 0, SPENDS, FAILURE)
    retry(s:take(A, 1)[1], 1, SPENDS, "")
    assert.same({
      string.pack(">I8", at) .. "r" .. A .. NO_WORDS .. FAILURE,
      string.pack(">I8", at) .. "r" .. A .. NO_WORDS,
    }, notes(id))
    assert.equal(2, select(3, place(id)).attempt)
  end)

  it("has these notes read by its id, or the caller's", function()
    local id, field = running({ alias = "order-7" }, { unique = "uorder-7" })
    assert.same({}, s:call("history", id))
    retry(field, 1, SPENDS, FAILURE)
    assert.same(notes(id), s:call("history", id))
    assert.same(notes(id), s:call("history", "order-7"))
    assert.same({}, s:call("history", "nobody"))
  end)

  it("stops counting at 255", function()
    local id, field = running { attempt = 255 }
    retry(field, 1, SPENDS, FAILURE)
    assert.equal(255, select(3, place(id)).attempt)
  end)

  it("spends and notes nothing when it was put off", function()
    local id, field = running()
    retry(field, 700, 0)
    local where, in_ms, parts = place(id)
    assert.same({ "due", 700, 0, 0, 1 }, { where, in_ms, parts.attempt,
      parts.flags, parts.delivery })
    assert.same({}, notes(id))
    assert.equal(0, s:counter("default", "retried"))
  end)

  describe("with an expiry", function()
    it("goes on before it", function()
      local id, field = running(nil, { expires = 5001 })
      retry(field, 5000, SPENDS, FAILURE)
      assert.equal("due", (place(id)))
    end)

    it("fails with the last error instead of coming after it", function()
      local id, field = running(nil, { expires = 5000 })
      retry(field, 5000, SPENDS, FAILURE)
      assert.equal(FAILURE, outcome(id))
      assert.is_nil(place(id))
      assert.equal(1, s:counter("default", "failed"))
      assert.equal(1, s:redis("ZCARD", "x"))
    end)

    it("expires when it was put off beyond it", function()
      local id, field = running(nil, { expires = 5000 })
      retry(field, 5001, 0)
      assert.truthy(outcome(id):find("^R.*Expired.*was put off until"))
      assert.equal(1, s:counter("default", "expired"))
      assert.equal(0, s:redis("ZCARD", "x"))
    end)
  end)

  describe("keeps what was noted", function()
    local function ended(flags, record)
      local id, field = running { flags = flags, ttl_s = 60 }
      retry(field, 0, SPENDS, FAILURE)
      s:finish(A, "o", s:take(A, 1)[1], record)
      return "h:" .. id
    end

    it("beside the outcome of one that ends well", function()
      local key = ended(0, "S\1")
      assert.equal(60000, s:redis("PTTL", key))
    end)

    it("with one that fails for good", function()
      assert.equal(WEEK_MS, s:redis("PTTL", ended(0, FAILURE)))
    end)

    it("no longer than its task when no result is kept", function()
      assert.equal(0, s:redis("EXISTS", ended(NO_RESULT, "S\1")))
    end)
  end)

  it("changes nothing when it comes late, or again", function()
    local _, field = running()
    retry(field, 5000, SPENDS, FAILURE)
    local before = s.fake:dump()
    assert.equal(0, retry(field, 5000, SPENDS, FAILURE))
    assert.same(before, s.fake:dump())
  end)

  it("counts apart from deaths and lost workers", function()
    local id, field = running { deaths = 2, reaps = 9 }
    retry(field, 1, SPENDS, FAILURE)
    local _, _, parts = place(id)
    assert.same({ 1, 2, 9 }, { parts.attempt, parts.deaths, parts.reaps })
  end)

  it("is as new when it is requeued", function()
    local id, field = running()
    retry(field, 0, SPENDS, FAILURE)
    s:finish(A, "o", s:take(A, 1)[1], FAILURE)
    assert.same({ "requeued" }, s:call("requeue", id, ""))
    assert.equal(0, select(3, place(id)).attempt)
  end)

  for what, bytes in pairs {
    ["is cut off"] = ("\0"):rep(12),
    ["has less of a body than it says"] =
      string.pack(">I8BI4", 0, SPENDS, 2) .. "\x91",
  } do
    it("is refused as a whole when its verdict " .. what, function()
      local _, field = running()
      local before = s.fake:dump()
      local _, problem = s:try("finish", A, 15000, "r", field, bytes)
      assert.truthy(problem:find("not an operation", 1, true))
      assert.same(before, s.fake:dump())
    end)
  end
end)
