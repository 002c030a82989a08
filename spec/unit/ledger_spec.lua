local core = require("taskengine.core")
local envelope = require("spec.support.envelope")

local testing = core.testing

describe("ledger", function()
  local ledger

  before_each(function()
    ledger = testing.report.new()
  end)

  local function field(n)
    return envelope.field(envelope.id("AbcdefGHI012", n), 1)
  end

  local function add(n, operation, record)
    local id = envelope.id("AbcdefGHI012", n)
    ledger:add(envelope.new { id = id }, operation, record)
  end

  local function held(last)
    local found = {}
    for n = 1, last do
      found[n] = ledger:holds(field(n))
    end
    return found
  end

  it("holds a task until Redis has what became of it", function()
    add(1, "o", "S\1")
    assert.same({ true, false }, held(2))
    ledger:write()
    add(2, "h")
    assert.same({ true, true }, held(2))
    ledger:confirm()
    assert.same({ false, true }, held(2))
  end)

  it("counts what Redis may not know, and the outcomes among it", function()
    add(1, "o", "S\1")
    add(2, "h")
    add(3, "o", "Fx")
    add(4, "b")
    assert.same({ 4, 2 }, { ledger:untold() })
    ledger:write()
    add(5, "o", "S\5")
    assert.same({ 5, 3 }, { ledger:untold() })
    ledger:confirm()
    assert.same({ 1, 1 }, { ledger:untold() })
  end)

  it("tells again what was told, ahead of what ended since", function()
    add(1, "h")
    add(2, "h")
    ledger:write()
    add(3, "h")
    ledger:lose()
    assert.same({ 3, 0 }, { ledger:untold() })
    assert.same({ 6, { "h", field(1), "h", field(2), "h", field(3) } },
      { ledger:write() })
  end)

  it("knows of nothing once the lease is lost, and can go on", function()
    add(1, "o", "S\1")
    ledger:write()
    add(2, "o", "S\2")
    ledger:drop()
    assert.same({ false, false }, held(2))
    assert.same({ 0, 0 }, { ledger:untold() })
    assert.same({ 0, {} }, { ledger:write() })
    add(3, "h")
    assert.same({ 2, { "h", field(3) } }, { ledger:write() })
  end)

  it("leaks nothing", function()
    collectgarbage()
    local live = testing.alloc_live()
    for n = 1, 50 do
      add(n, "o", "S\1")
    end
    ledger:write()
    ledger:confirm()
    for n = 51, 99 do
      add(n, "o", "S\1")
    end
    ledger:write()
    add(100, "h")
    ledger:drop()
    assert.equal(live, testing.alloc_live())
  end)
end)
