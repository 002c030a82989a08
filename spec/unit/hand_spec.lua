local core = require("taskengine.core")
local envelope = require("spec.support.envelope")

local claims = core.testing.claims
local hand = core.testing.hand

local CHILD <const> = 3
local AHEAD_US <const>, AHEAD_MAX <const> = 3000, 500
local STALL_MS <const> = 10
local WAITING_MAX <const> = 5
local LOST_FAILS <const> = 2 -- of an envelope's flags

local function id(n)
  return envelope.id("AbcdefGHI012", n)
end

local function field(n)
  return envelope.field(id(n), 1)
end

describe("hand", function()
  local master, child, h, tokens

  before_each(function()
    master = assert(claims.create(nil))
    child = assert(master:attach())
    h = hand.new(master, CHILD, WAITING_MAX)
    tokens = {}
  end)

  after_each(function()
    child:close()
  end)

  -- Offers tasks; the child takes those of the list.
  local function offer(count, taken, now)
    for n = #tokens + 1, #tokens + count do
      tokens[n] = h:offer(envelope.new { id = id(n) }, now or 0)
    end
    for _, n in ipairs(taken or {}) do
      assert.is_true(child:take(tokens[n]))
    end
  end

  local function withdraw_all()
    local fields = {}
    for one in h.withdraw, h do
      fields[#fields + 1] = one
    end
    return fields
  end

  -- Offers tasks of a size; how many there were.
  local function fill(bytes)
    local body = ("x"):rep(bytes - #envelope.new { id = id(1), body = "" })
    local count = 0
    while h:room(1000, 0) > 0 do
      count = count + 1
      tokens[count] = h:offer(envelope.new { id = id(count), body = body }, 0)
    end
    return count
  end

  describe("has room", function()
    it("for its slots, when no run time is known", function()
      assert.equal(1, h:room(1, 0))
      assert.equal(8, h:room(8, 0))
      offer(3)
      assert.equal(5, h:room(8, 0))
      assert.equal(0, h:room(2, 0))
    end)

    it("for some milliseconds of work behind them", function()
      assert.equal(1 + 30, h:room(1, AHEAD_US / 30))
      assert.equal(1, h:room(1, AHEAD_US + 1))
      assert.equal(4 + AHEAD_MAX, h:room(4, 0.5))
    end)

    it("for another task when one waits", function()
      offer(2, { 1 })
      assert.same({ 2, 0 }, { h:occupied(), h:room(1, 0) })
      h:set_waits(tokens[1], true)
      h:set_waits(tokens[1], true)
      assert.same({ 1, 0 }, { h:occupied(), h:room(1, 0) })
      assert.equal(1, h:room(2, 0))
      h:set_waits(tokens[1], false)
      assert.same({ 2, 0 }, { h:occupied(), h:room(2, 0) })
    end)

    it("for so many that wait and no more", function()
      offer(WAITING_MAX + 2)
      for _, token in ipairs(tokens) do
        h:set_waits(token, true)
      end
      assert.same({ 2, 0 }, { h:occupied(), h:room(2, 0) })
    end)

    it("for as many large ones as fit, and for one more", function()
      assert.equal(hand.BYTES_MAX // 1000000 + 1, fill(1000000))
      h:finish(tokens[1], 1)
      assert.equal(1, h:room(1000, 0))
      h:withdraw()
      h:withdraw()
      assert.equal(3, h:room(1000, 0))
    end)

    it("for one of any size", function()
      assert.equal(2, fill(60 * 1024 * 1024))
      h:finish(tokens[1], 1)
      h:finish(tokens[2], 1)
      assert.equal(1000, h:room(1000, 0))
    end)

    it("past large ones that wait", function()
      local count = fill(hand.BYTES_MAX // 3 + 1)
      assert.equal(3, count)
      for n = 1, 3 do
        h:set_waits(tokens[n], true)
      end
      assert.equal(1000, h:room(1000, 0))
      for n = 1, 3 do
        h:set_waits(tokens[n], false)
      end
      assert.equal(0, h:room(1000, 0))
      h:set_waits(tokens[3], true)
      h:finish(tokens[3], 1)
      assert.equal(1, h:room(1000, 0))
    end)

    it("for what took the slot of one that ended while it waited", function()
      offer(1, { 1 })
      h:set_waits(tokens[1], true)
      h:finish(tokens[1], 1)
      assert.same({ 0, 1 }, { h:occupied(), h:room(1, 0) })
    end)
  end)

  it("finds a task by its token, and by no other", function()
    offer(3)
    assert.is_true(h:find(tokens[2]))
    assert.is_false(h:find(tokens[2] + (1 << 32)))
    h:finish(tokens[2], 1)
    assert.is_false(h:find(tokens[2]))
    assert.is_true(h:find(tokens[3]))
  end)

  it("finds no task of another hand, and none by a claim that is none",
    function()
      offer(1)
      local other = hand.new(master, CHILD + 1, WAITING_MAX, h)
      assert.is_false(other:find(tokens[1]))
      assert.is_false(h:find(claims.MAX | 1 << 32))
      assert.is_false(h:find(0xffffffff | 1 << 32))
    end)

  it("says once that too many wait, until half of them have ended", function()
    offer(WAITING_MAX + 2)
    for n = 1, WAITING_MAX + 1 do
      h:set_waits(tokens[n], true)
    end
    assert.is_false(h:check_clogged(2))
    h:set_waits(tokens[WAITING_MAX + 2], true)
    assert.is_true(h:check_clogged(2))
    assert.is_false(h:check_clogged(2))
    h:set_waits(tokens[1], false)
    assert.is_false(h:check_clogged(2))
    h:set_waits(tokens[1], true)
    assert.is_false(h:check_clogged(2))
    for n = 1, WAITING_MAX do
      h:set_waits(tokens[n], false)
    end
    assert.is_false(h:check_clogged(2))
    for n = 1, WAITING_MAX do
      h:set_waits(tokens[n], true)
    end
    assert.is_true(h:check_clogged(2))
  end)

  it("gives back one that has not begun", function()
    offer(3, { 1 })
    assert.is_nil(h:withdraw_task(tokens[1]))
    assert.equal(field(2), h:withdraw_task(tokens[2]))
    assert.is_false(child:take(tokens[2]))
    assert.equal(2, h:occupied())
    assert.equal(claims.MAX - 2, master:free_count())
    assert.same({ field(3) }, withdraw_all())
  end)

  it("gives back what has not begun, the last first", function()
    offer(5, { 1, 3 })
    assert.same({ field(5), field(4), field(2) }, withdraw_all())
    assert.equal(2, h:occupied())
    assert.equal(claims.MAX - 2, master:free_count())
    assert.is_false(child:take(tokens[4]))
    assert.same({}, withdraw_all())
  end)

  it("is stalled when others wait behind a long task", function()
    offer(3, { 1 }, 1000)
    assert.same({ false, false }, { h:check_stall(1, 1000 + STALL_MS - 1) })
    assert.equal(1 + 30 - 3, h:room(1, 100))
    assert.same({ true, true }, { h:check_stall(1, 1000 + STALL_MS) })
    -- It gets no more than its slots hold, until one ends.
    assert.equal(0, h:room(1, 100))
    assert.equal(1, h:room(4, 100))
    h:finish(tokens[1], 1020)
    assert.equal(1 + 30 - 2, h:room(1, 100))
  end)

  it("is not stalled when nothing waits", function()
    offer(2, { 1, 2 }, 1000)
    assert.same({ false, true }, { h:check_stall(2, 9000) })
    assert.equal(2 + 30 - 2, h:room(2, 100))
  end)

  it("is not stalled while tasks end", function()
    offer(5, { 1 }, 1000)
    h:finish(tokens[1], 1008)
    assert.is_false((h:check_stall(1, 1017)))
    assert.is_true((h:check_stall(1, 1018)))
  end)

  it("counts from the first offer after it was empty", function()
    offer(1, { 1 }, 1000)
    h:finish(tokens[1], 1001)
    tokens = {}
    offer(2, nil, 5000)
    assert.is_false((h:check_stall(1, 5009)))
  end)

  it("is never slow when it is empty", function()
    assert.same({ false, false }, { h:check_stall(1, 1 << 40) })
  end)

  it("gives up what has ended by its claim, and nothing else", function()
    offer(4, { 1, 2, 3 })
    child:finish(tokens[2], "S\1")
    child:finish(tokens[3], "N")
    assert.same({ field(2), "o", "S\1" }, { h:take_ended(5) })
    assert.same({ field(3), "n" }, { table.unpack({ h:take_ended(5) }, 1, 2) })
    assert.is_nil(h:take_ended(5))
    assert.equal(2, h:occupied())
  end)

  -- Of the second there is no room for the outcome.
  local WHOLE <const> = "T" .. string.pack(">I8Bs4", 9, 1, "") .. "F\x80"
  local SHORT <const> = "t" .. string.pack(">I8Bs4", 9, 1, "")

  it("waits for the whole verdict of a child that lives", function()
    offer(2, { 1, 2 })
    child:finish(tokens[1], SHORT)
    assert.is_nil(h:take_ended(5))
    child:finish(tokens[2], WHOLE)
    assert.same({ field(2), "r", WHOLE }, { h:take_ended(5) })
  end)

  describe("of a dead child", function()
    local LOST <const>, BACK <const>, OUTCOME <const> = "l", "b", "o"

    it("blames what it was executing", function()
      offer(3, { 1, 2, 3 })
      child:execute(CHILD, tokens[2])
      assert.same({ [field(1)] = BACK, [field(2)] = LOST, [field(3)] = BACK },
        h:judge(false, "killed by signal 9 (Killed)", 71))
      h:take_first(1)
      local _, _, record = h:take_first(1)
      assert.same({
        kind = "WorkerLost",
        message = "the process that ran it ended: killed by signal 9 (Killed),"
          .. " pid 71",
      }, core.codec.decode(record:sub(2)))
    end)

    it("blames the only one that had begun", function()
      offer(1, { 1 })
      assert.same({ [field(1)] = LOST }, h:judge(false, "why"))
    end)

    it("blames none of several that only waited", function()
      offer(2, { 1, 2 })
      assert.same({ [field(1)] = BACK, [field(2)] = BACK },
        h:judge(false, "why"))
    end)

    it("blames none when the master has killed it", function()
      offer(2, { 1, 2 })
      child:execute(CHILD, tokens[2])
      assert.same({ [field(1)] = BACK, [field(2)] = BACK },
        h:judge(true, "why"))
    end)

    it("fails what had begun and is not to be started again", function()
      tokens[1] = h:offer(envelope.new { id = id(1), flags = LOST_FAILS }, 0)
      offer(1)
      for n = 1, 2 do
        assert.is_true(child:take(tokens[n]))
      end
      assert.same({ [field(1)] = OUTCOME, [field(2)] = BACK },
        h:judge(true, "killed by signal 9 (Killed)"))
      local _, _, record = h:take_first(1)
      assert.same({
        kind = "WorkerLost",
        message = "it is not to be started again, and its process ended:"
          .. " killed by signal 9 (Killed)",
      }, core.codec.decode(record:sub(2)))
    end)

    it("blames none for what another child executes", function()
      offer(2, { 1, 2 })
      child:execute(CHILD + 1, tokens[2])
      assert.same({ [field(1)] = BACK, [field(2)] = BACK },
        h:judge(false, "why"))
    end)

    it("lets what had ended keep its outcome", function()
      offer(3, { 1, 2, 3 })
      child:finish(tokens[1], "S\1")
      child:finish(tokens[2], "N")
      assert.same({ [field(1)] = OUTCOME, [field(2)] = "n", [field(3)] = LOST },
        h:judge(false, "why"))
      assert.same({ field(1), OUTCOME, "S\1" }, { h:take_first(1) })
    end)

    it("does as it said, also when there was no room for all", function()
      offer(2, { 1, 2 })
      child:finish(tokens[1], SHORT)
      child:finish(tokens[2], WHOLE)
      assert.same({ [field(1)] = "r", [field(2)] = "r" },
        h:judge(false, "why"))
      assert.same({ field(1), "r", SHORT }, { h:take_first(1) })
      assert.same({ field(2), "r", WHOLE }, { h:take_first(1) })
    end)

    it("is emptied from the front", function()
      offer(3, { 1, 2, 3 })
      h:judge(false, "why")
      assert.equal(field(1), (h:take_first(1)))
      assert.equal(field(2), (h:take_first(1)))
      assert.equal(field(3), (h:take_first(1)))
      assert.is_nil(h:take_first(1))
      assert.equal(0, h:occupied())
    end)
  end)
end)
