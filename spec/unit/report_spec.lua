local core = require("taskengine.core")
local envelope = require("spec.support.envelope")

local report = core.testing.report

local NO_RESULT <const>, HAS_PAST <const> = 1, 16

describe("report", function()
  local r, count

  before_each(function()
    r, count = report.new(), 0
  end)

  local function field(n)
    return envelope.field(envelope.id("AbcdefGHI012", n), 1)
  end

  local function add(operation, record, parts)
    count = count + 1
    parts = parts or {}
    parts.id = envelope.id("AbcdefGHI012", count)
    r:add(envelope.new(parts), operation, record)
  end

  -- The arguments; that they are as many as announced is checked each time.
  local function write()
    local announced, args = r:write()
    assert.equal(announced, #args)
    return args
  end

  it("says nothing of nothing", function()
    assert.same({}, write())
  end)

  it("puts plain successes together", function()
    add("o", "S\1")
    add("o", "S\2")
    add("o", "J3")
    assert.same({ "s", "default", "86400", "3", field(1), "S\1", field(2),
      "S\2", field(3), "J3" }, write())
  end)

  it("keeps nothing of those whose result is ignored or not kept", function()
    add("o", "S\1", { flags = NO_RESULT })
    add("o", "S\2", { ttl_s = 0 })
    assert.same({ "d", "default", "2", field(1), field(2) },
      write())
  end)

  it("begins anew with another queue, time to live or flag", function()
    add("o", "S\1")
    add("o", "S\2", { queue = "mail" })
    add("o", "S\3", { queue = "mail", ttl_s = 7 })
    add("o", "S\4", { queue = "mail", ttl_s = 7, flags = NO_RESULT })
    add("o", "S\5", { flags = NO_RESULT })
    assert.same({
      "s", "default", "86400", "1", field(1), "S\1",
      "s", "mail", "86400", "1", field(2), "S\2",
      "s", "mail", "7", "1", field(3), "S\3",
      "d", "mail", "1", field(4),
      "d", "default", "1", field(5),
    }, write())
  end)

  it("sends all else one by one, in order", function()
    add("o", "S\1")
    add("o", "Fx")
    add("h")
    add("b")
    add("l", "Fl")
    add("n", "Fn")
    add("o", "S\7", { alias = "order-7" })
    add("o", "S\8", { flags = HAS_PAST })
    add("o", "S\9")
    add("o", "S\10", { digest = ("d"):rep(16) })
    assert.same({
      "s", "default", "86400", "1", field(1), "S\1",
      "o", field(2), "Fx",
      "h", field(3),
      "b", field(4),
      "l", field(5), "Fl",
      "n", field(6), "Fn",
      "o", field(7), "S\7",
      "o", field(8), "S\8",
      "s", "default", "86400", "1", field(9), "S\9",
      "o", field(10), "S\10",
    }, write())
  end)

  it("sends nodes of flows together that succeed and keep it", function()
    local function node(record, envelope_of)
      envelope_of = envelope_of or {}
      envelope_of.flow = envelope.id("FlowfGHI0123", 0)
      envelope_of.node = 1
      add("o", record, envelope_of)
    end
    node("S\1")
    node("S\2")
    add("o", "S\3")
    node("S\4", { ttl_s = 7 })
    node("S\5", { flags = NO_RESULT })
    node("S\6", { flags = HAS_PAST })
    node("Fx")
    assert.same({
      "m", "default", "86400", "2", field(1), "S\1", field(2), "S\2",
      "s", "default", "86400", "1", field(3), "S\3",
      "m", "default", "7", "1", field(4), "S\4",
      "o", field(5), "S\5",
      "o", field(6), "S\6",
      "o", field(7), "Fx",
    }, write())
    r:lose()
    assert.same({ "o", field(1), "S\1" }, { table.unpack(write(), 1, 3) })
  end)

  it("sends a verdict without its letter", function()
    local said = string.pack(">I8Bs4", 5000, 1, "") .. "F\x80"
    add("r", "T" .. said)
    assert.same({ "r", field(1), said }, write())
  end)

  it("sends a delegation without its letter", function()
    add("w", "DProducer0001")
    assert.same({ "w", field(1), "Producer0001" }, write())
  end)

  it("counts what is to run again among what has ended", function()
    add("r", "T" .. string.pack(">I8Bs4", 0, 0, ""))
    add("h")
    assert.same({ 2, 1 }, { r:untold() })
  end)

  it("tells again one by one, however often", function()
    add("o", "S\1")
    add("o", "S\2", { flags = NO_RESULT })
    write()
    r:lose()
    add("o", "S\3")
    local again = {
      "o", field(1), "S\1", "o", field(2), "S\2",
      "s", "default", "86400", "1", field(3), "S\3",
    }
    assert.same(again, write())
    r:lose()
    assert.same({ "o", field(1), "S\1", "o", field(2), "S\2", "o", field(3),
      "S\3" }, write())
    assert.equal(0, (r:confirm()))
    assert.same({}, write())
  end)

  it("takes so many tasks at a time", function()
    for _ = 1, report.TASKS_MAX + 5 do
      add("o", "S\1")
    end
    local args = write()
    assert.equal(4 + 2 * report.TASKS_MAX, #args)
    assert.equal(tostring(report.TASKS_MAX), args[4])
    assert.same({ 5, report.TASKS_MAX }, { r:confirm() })
    assert.equal("5", write()[4])
  end)

  it("takes fewer nodes of flows at a time", function()
    add("o", "S\1")
    for _ = 1, report.COSTLY_MAX + 5 do
      add("o", "S\1", { flow = envelope.id("FlowfGHI0123", 0), node = 1 })
    end
    assert.equal(6 + 4 + 2 * report.COSTLY_MAX, #write())
    assert.same({ 5, report.COSTLY_MAX + 1 }, { r:confirm() })
    assert.equal(4 + 2 * 5, #write())
  end)

  it("takes as few of what fails or is to run again", function()
    local again = "T" .. string.pack(">I8Bs4", 5000, 1, "") .. "F\x80"
    for _, end_of in ipairs {
      { "o", "F\x80" }, { "o", "R\x80" }, { "r", again }, { "l", "F\x80" },
      { "n", "F\x80" }, { "w", "DProducer0001" },
    } do
      r = report.new()
      for _ = 1, report.COSTLY_MAX + 5 do
        add("o", "S\1")
        add(table.unpack(end_of))
      end
      write()
      assert.same({ 10, 2 * report.COSTLY_MAX }, { r:confirm() }, end_of[1])
    end
  end)

  it("takes as many of what goes back as of successes", function()
    for _ = 1, report.TASKS_MAX // 2 do
      add("h")
      add("b")
    end
    assert.equal(2 * report.TASKS_MAX, #write())
  end)

  it("takes so many bytes at a time, but always one task", function()
    local large = "S" .. ("x"):rep(report.BYTES_MAX)
    add("o", large)
    add("o", large)
    assert.equal(6, #write())
    assert.equal(1, (r:confirm()))
    local half = "S" .. ("x"):rep(report.BYTES_MAX // 2)
    for _ = 1, 4 do
      add("o", half)
    end
    assert.equal("1", write()[4]) -- the other large one
    assert.equal(4, (r:confirm()))
    assert.equal("2", write()[4]) -- the second makes it too many
  end)
end)
