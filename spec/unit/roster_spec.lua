local roster = require("taskengine.core").testing.roster

local PROCESSES <const> = 3
local SEATS <const> = 3 * PROCESSES

describe("a roster", function()
  local r

  -- Starts what is missing; the indexes.
  local function fill()
    local started = {}
    for i = 1, r:missing() do
      started[i] = r:start()
    end
    return started
  end

  local function note(indexes, what)
    for _, index in ipairs(indexes) do
      r:note(index, what)
    end
    return indexes
  end

  local function fill_and_load()
    return note(fill(), "ready")
  end

  -- All that are of before a reload and not needed any more leave.
  local function let_go()
    local gone = {}
    for index = 0, SEATS - 1 do
      if r:may_leave(index) then
        gone[#gone + 1] = index
        r:note(index, "leaving")
      end
    end
    return gone
  end

  before_each(function()
    r = roster.new(PROCESSES)
  end)

  it("lacks as many as there are to be, and no more", function()
    assert.equal(PROCESSES, r:missing())
    assert.same({ 0, 1, 2 }, fill())
    assert.equal(0, r:missing())
    r:leave_seat(1)
    assert.same({ 1 }, fill())
  end)

  it("takes those for ready that have said so and do not leave", function()
    fill()
    assert.is_false(r:is_ready(0))
    r:note(0, "ready")
    assert.is_true(r:is_ready(0))
    r:note(0, "leaving")
    assert.same({ false, true }, { r:is_ready(0), r:is_leaving(0) })
    r:leave_seat(0)
    assert.same({ false, false }, { r:is_ready(0), r:is_leaving(0) })
  end)

  it("tells a child from the next one on its seat", function()
    local index, serial = r:start()
    assert.is_true(r:has(index, serial))
    r:leave_seat(index)
    assert.is_false(r:has(index, serial))
    local again, other = r:start()
    assert.equal(index, again)
    assert.is_false(r:has(index, serial))
    assert.is_true(r:has(index, other))
    assert.is_false(r:has(SEATS, serial))
  end)

  it("lacks another for each that is to leave soon", function()
    fill_and_load()
    assert.equal(0, r:spare())
    note({ 0, 1 }, "due")
    assert.same({ 3, 4 }, fill_and_load())
    assert.same({ 2, 0 }, { r:spare(), r:missing() })
    note({ 0, 1 }, "leaving")
    assert.same({ 0, 0, 2 }, { r:spare(), r:missing(), r:leaving() })
  end)

  it("never lacks more than as many again", function()
    fill_and_load()
    note({ 0, 1, 2 }, "due")
    note(fill_and_load(), "due")
    assert.equal(0, r:missing())
  end)

  it("has three seats for each, and says when all are taken", function()
    for _ = 1, 2 do
      note(fill_and_load(), "leaving")
    end
    assert.is_true(r:can_replace())
    fill_and_load()
    assert.is_nil((r:start()))
    assert.is_false(r:can_replace())
    r:leave_seat(0)
    assert.is_true(r:can_replace())
  end)

  describe("in a reload", function()
    before_each(function()
      fill_and_load()
      r:reload()
    end)

    it("lacks one, the probe, and others for those alone that die", function()
      local probe = fill()
      assert.same({ 3 }, probe)
      assert.is_true(r:is_probe(3))
      assert.is_false(r:is_probe(0))
      assert.equal(0, r:missing())
      -- With the probe there are enough.
      r:leave_seat(0)
      assert.equal(0, r:missing())
      r:leave_seat(1)
      assert.equal(1, r:missing())
      assert.same({}, let_go())
    end)

    it("lacks another probe when one is gone", function()
      fill()
      r:leave_seat(3)
      assert.equal(1, r:missing())
    end)

    it("lets an old one go for each new one that is ready", function()
      note(fill(), "ready")
      r:note_probe(true)
      assert.is_false(r:is_probe(3))
      assert.equal(1, #let_go())
      assert.is_false(r:check_replaced())
      assert.equal(2, #fill_and_load())
      assert.equal(2, #let_go())
      assert.is_true(r:check_replaced())
      assert.is_false(r:check_replaced())
      assert.same({ 0, 0, 3 }, { r:missing(), r:spare(), r:leaving() })
    end)

    it("keeps old ones that still load until enough are ready", function()
      r = roster.new(PROCESSES)
      note({ fill()[1] }, "ready")
      r:reload()
      fill_and_load()
      r:note_probe(true)
      assert.same({}, let_go())
      fill_and_load()
      assert.same({ 0, 1, 2 }, let_go())
      assert.is_true(r:check_replaced())
    end)

    it("keeps the old ones when the probe could not load", function()
      fill()
      r:note_probe(false)
      r:leave_seat(3)
      assert.same({}, let_go())
      assert.equal(0, r:missing())
      assert.is_false(r:check_replaced())
      for index = 0, 2 do
        assert.is_true(r:is_ready(index))
      end
    end)

    it("again, waits for another probe", function()
      fill()
      r:reload()
      assert.is_false(r:is_probe(3))
      r:note(3, "leaving")
      assert.same({ 4 }, fill())
      assert.is_true(r:is_probe(4))
    end)
  end)
end)
