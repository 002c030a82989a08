local core = require("taskengine.core")
local envelope = require("spec.support.envelope")

local hand = core.testing.hand

local ID <const> = envelope.id("AbcdefGHI012", 7)

local function new(parts)
  parts = parts or {}
  parts.id = ID
  return assert(hand.task(envelope.new(parts), 258))
end

local SPENDS <const>, IS_TIME <const> = 1, 2

-- With what follows the letter, as docs/protocol.md has it.
local function verdict(ms, flags, outcome, body)
  return "T" .. string.pack(">I8Bs4", ms, flags, body or "") .. (outcome or "")
end

local function read_failure(record)
  assert.equal("F", record:sub(1, 1))
  return assert(core.codec.decode(record:sub(2)))
end

describe("task", function()
  it("is named by its id and the delivery that fetched it", function()
    local task <close> = new()
    assert.same({ envelope.field(ID, 258), n = 1 }, table.pack(task:ending()))
  end)

  it("is none without a whole envelope", function()
    local bytes = envelope.new { id = ID }
    assert.is_nil(hand.task(bytes:sub(1, 110), 1))
    assert.is_nil(hand.task("", 1))
  end)

  it("ends as malformed when it cannot be read", function()
    local task <close> = assert(hand.malformed(ID .. "rubbish", 258))
    local field, how, record = task:ending()
    assert.same({ envelope.field(ID, 258), "o" }, { field, how })
    assert.same({ kind = "Malformed", message = "not a task that can be run" },
      read_failure(record))
    assert.is_nil(hand.malformed(ID:sub(1, 19), 1))
  end)

  it("ends with what its child reports", function()
    local task <close> = new()
    task:set_outcome("S\xc0")
    assert.same({ "o", "S\xc0" }, { select(2, task:ending()) })
    task:set_outcome("Jnull")
    assert.same({ "o", "Jnull" }, { select(2, task:ending()) })
  end)

  it("is refused when its child does not know it", function()
    local task <close> = new { queue = "mail", name = "send" }
    task:set_outcome("N")
    local _, how, record = task:ending()
    assert.equal("n", how)
    assert.same({
      kind = "NotRegistered",
      message = 'no worker of queue "mail" knows the task "send"',
    }, read_failure(record))
  end)

  describe("of which its child says that it is to run again", function()
    local function assert_taken(record)
      local task <close> = new()
      task:set_outcome(record)
      assert.same({ "r", record }, { select(2, task:ending()) })
    end

    it("goes back", function()
      assert_taken(verdict(0, 0))
      assert_taken(verdict(1500, SPENDS, "F\x80"))
      assert_taken(verdict(253402300799999, SPENDS | IS_TIME, "F\x80", "body"))
      assert_taken("t" .. verdict(0, SPENDS):sub(2))
    end)

    for what, record in pairs {
      ["is cut off"] = verdict(0, 0):sub(1, 13),
      ["has less of a body than it says"] =
        "T" .. string.pack(">I8BI4", 0, 1, 2) .. "x",
      ["is for later than any time"] = verdict(253402300800000, 0),
      ["has flags that nobody knows"] = verdict(0, 4),
      ["came to a success"] = verdict(0, SPENDS, "S\xc0"),
      ["came to half a failure"] = verdict(0, SPENDS, "F"),
    } do
      it("fails when that " .. what, function()
        local task <close> = new()
        task:set_outcome(record)
        local _, how, failure = task:ending()
        assert.same({ "o", "Malformed" }, { how, read_failure(failure).kind })
      end)
    end
  end)

  it("is delegated when its child names the flow that ends it", function()
    local task <close> = new()
    task:set_outcome("DProducer0001")
    assert.same({ "w", "DProducer0001" }, { select(2, task:ending()) })
  end)

  it("fails when that is no producer", function()
    for _, record in ipairs { "D", "DProducer001", "DProducer00011",
      "DProducer 001", "DProducer001\0" } do
      local task <close> = new()
      task:set_outcome(record)
      local _, how, failure = task:ending()
      assert.same({ "o", "Malformed" }, { how, read_failure(failure).kind })
    end
  end)

  describe("with a time limit", function()
    local task

    before_each(function()
      task = new { time_limit_ms = 2500 }
      task:set_limit(12500) -- offered at 10000
    end)

    local function assert_too_long()
      local _, how, record = task:ending()
      assert.equal("o", how)
      assert.same({
        kind = "TimeLimitExceeded",
        message = "ran longer than its time limit of 2.5 s",
      }, read_failure(record))
    end

    it("has time from when it was taken", function()
      assert.same({ "left", 13700 }, { task:check_limit(11200, true, 13699) })
      assert.is_nil((select(2, task:ending())))
      assert.same({ "kill", 0 }, { task:check_limit(11200, true, 13700) })
      assert_too_long()
    end)

    it("has all its time before it has begun", function()
      assert.same({ "left", 22500 }, { task:check_limit(0, false, 20000) })
      assert.same({ "left", 32500 }, { task:check_limit(0, false, 30000) })
    end)

    it("is asked to end where it waits, and killed a second later", function()
      assert.same({ "cancel", 14500 }, { task:check_limit(11000, false,
        13500) })
      assert_too_long()
      assert.same({ "left", 14500 }, { task:check_limit(11000, false, 14499) })
      assert.same({ "kill", 0 }, { task:check_limit(11000, false, 14500) })
      assert_too_long()
    end)

    it("is run again when that was its will", function()
      local will = verdict(700, SPENDS)
      task:execute_will(will)
      assert.equal(1, select("#", task:ending()))
      task:check_limit(11000, true, 13500)
      task:execute_will(will)
      local _, how, record = task:ending()
      assert.same({ "r", will }, { how, record:sub(1, #will) })
      assert.equal("TimeLimitExceeded",
        read_failure(record:sub(#will + 1)).kind)
      task:execute_will(will)
      assert.equal(record, select(3, task:ending()))
    end)

    it("heeds no will that could not be meant", function()
      task:check_limit(11000, true, 13500)
      for _, will in ipairs { "", "S\1", verdict(0, SPENDS, "F\x80"),
        verdict(0, 8) } do
        task:execute_will(will)
        assert_too_long()
      end
    end)

    it("has a deadline besides", function()
      assert.equal(13500, task:limit(11000))
      task:set_deadline(12700)
      assert.equal(12700, task:limit(11000))
      assert.equal(12500, task:limit(10000))
      assert.same({ "kill", 0 }, { task:check_limit(11000, true, 12700) })
      local _, _, record = task:ending()
      assert.same({ kind = "TimeLimitExceeded",
        message = "was still running at its deadline" }, read_failure(record))
    end)

    it("is not ended by a deadline before it has begun", function()
      task:set_deadline(12700)
      local how, again = task:check_limit(0, false, 20000)
      assert.equal("left", how)
      assert.is_true(again > 20000)
      assert.same({ "kill", 0 }, { task:check_limit(20000, true, again) })
    end)

    it("is killed only once", function()
      task:check_limit(11000, true, 13500)
      assert.same({ "left", 0 }, { task:check_limit(11000, true, 99999) })
    end)
  end)

  describe("that was revoked", function()
    local function assert_revoked(task, message)
      local _, how, record = task:ending()
      assert.same({ "o", "R" }, { how, record:sub(1, 1) })
      assert.same({ kind = "Revoked", message = message },
        (assert(core.codec.decode(record:sub(2)))))
    end

    it("says whether it had begun", function()
      local task <close> = new()
      task:revoke(false)
      assert_revoked(task, "revoked before it began")
      task:revoke(true)
      assert_revoked(task, "revoked while it ran")
    end)

    it("is killed when it computes until it is to end", function()
      local task <close> = new()
      task:doom(12000)
      assert.same({ "left", 12000 }, { task:check_limit(10000, true, 11999) })
      assert.is_nil((select(2, task:ending())))
      assert.same({ "kill", 0 }, { task:check_limit(10000, true, 12000) })
      assert_revoked(task, "revoked while it ran")
    end)

    it("is ended where it waits, and killed a second later", function()
      local task <close> = new()
      task:doom(12000)
      assert.same({ "cancel", 13000 }, { task:check_limit(10000, false,
        12000) })
      assert_revoked(task, "revoked while it ran")
      assert.same({ "kill", 0 }, { task:check_limit(10000, false, 13000) })
    end)

    it("has no more time when it is asked again", function()
      local task <close> = new()
      task:doom(12000)
      task:doom(15000)
      assert.same({ "kill", 0 }, { task:check_limit(10000, true, 12000) })
    end)

    it("has no more time than its limit gives it", function()
      local task <close> = new { time_limit_ms = 2500 }
      task:set_limit(12500)
      task:doom(13000)
      assert.same({ "kill", 0 }, { task:check_limit(10000, true, 12500) })
      assert.equal("TimeLimitExceeded",
        read_failure(select(3, task:ending())).kind)
    end)

    it("is ended before its limit is over", function()
      local task <close> = new { time_limit_ms = 2500 }
      task:set_limit(12500)
      task:doom(11000)
      assert.same({ "kill", 0 }, { task:check_limit(10000, true, 11000) })
      assert_revoked(task, "revoked while it ran")
    end)
  end)

  it("has no end of time without a limit", function()
    local task <close> = new()
    assert.same({ "left", 0 }, { task:check_limit(1, true, 1 << 40) })
  end)
end)
