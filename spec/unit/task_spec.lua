local core = require("taskengine.core")
local envelope = require("spec.support.envelope")

local hand = core.testing.hand

local ID <const> = envelope.id("AbcdefGHI012", 7)

local function new(parts)
  parts = parts or {}
  parts.id = ID
  return assert(hand.task(envelope.new(parts), 258))
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

    it("is killed only once", function()
      task:check_limit(11000, true, 13500)
      assert.same({ "left", 0 }, { task:check_limit(11000, true, 99999) })
    end)
  end)

  it("has no end of time without a limit", function()
    local task <close> = new()
    assert.same({ "left", 0 }, { task:check_limit(1, true, 1 << 40) })
  end)
end)
