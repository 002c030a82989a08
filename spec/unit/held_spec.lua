local envelope = require("spec.support.envelope")
local held = require("taskengine.core").testing.held

local ONE <const> = envelope.new { id = envelope.id("AbcdefGHI012", 1) }

describe("held", function()
  local h

  -- Tasks of these orders.
  local function add(...)
    for _, order in ipairs { ... } do
      h:add(ONE, order)
    end
  end

  -- Tasks of these orders come back, one after the other.
  local function add_back(...)
    local near
    for _, order in ipairs { ... } do
      h:add_back(ONE, order, near)
      near = order
    end
  end

  local function orders()
    return (h:list())
  end

  before_each(function()
    h = held.new()
  end)

  it("has the tasks in the order in which they came", function()
    assert.same({ {}, 0, 0, 0 }, { h:list() })
    assert.is_nil((h:first()))
    add(1, 2, 3)
    assert.equal(1, h:first())
    assert.same({ { 1, 2, 3 }, 3, 3 * #ONE, 0 }, { h:list() })
  end)

  it("counts what is left, and forgets since when with the last", function()
    add(1, 2)
    h:set_since(5)
    h:remove(1)
    assert.same({ { 2 }, 1, #ONE, 5 }, { h:list() })
    h:remove(2)
    assert.same({ {}, 0, 0, 0 }, { h:list() })
  end)

  it("takes those that come back to their places", function()
    add(2, 5, 8)
    add_back(9, 7, 6, 1)
    assert.same({ 1, 2, 5, 6, 7, 8, 9 }, orders())
    add_back(4)
    assert.same({ 1, 2, 4, 5, 6, 7, 8, 9 }, orders())
  end)

  it("takes those that come back out of their order, too", function()
    add_back(3, 5, 1, 4, 2)
    assert.same({ 1, 2, 3, 4, 5 }, orders())
  end)

  it("finds the first of the last ones", function()
    assert.is_nil((h:near_end(2)))
    add(1, 2, 3)
    assert.same({ 3, 2, 1, 1 },
      { h:near_end(1), h:near_end(2), h:near_end(3), h:near_end(9) })
  end)
end)
