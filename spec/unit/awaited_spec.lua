local testing = require("taskengine.core").testing

local function id(n)
  return ("%020d"):format(n)
end

describe("awaited", function()
  local awaited

  before_each(function()
    awaited = testing.awaited.new()
  end)

  after_each(function()
    awaited:close()
  end)

  it("tells once who waits for an outcome, in the order they asked", function()
    awaited:add(id(1), 2, 20)
    awaited:add(id(1), 0, 10)
    awaited:add(id(2), 1, 11)
    assert.same({ "2/20", "0/10" }, awaited:finish(id(1)))
    assert.same({}, awaited:finish(id(1)))
    assert.same({ "1/11" }, awaited:finish(id(2)))
  end)

  it("has a child that asks twice only once", function()
    assert.is_true(awaited:add(id(1), 0, 1))
    assert.is_false(awaited:add(id(1), 0, 1))
    assert.same({ "0/1" }, awaited:finish(id(1)))
    assert.is_true(awaited:add(id(1), 0, 1))
  end)

  it("says whether others wait when one does not any more", function()
    awaited:add(id(1), 0, 1)
    awaited:add(id(1), 1, 2)
    assert.is_true(awaited:remove(id(1), 0, 1))
    assert.is_true(awaited:remove(id(1), 0, 1))
    assert.is_false(awaited:remove(id(1), 1, 2))
    assert.is_false(awaited:remove(id(1), 1, 2))
    assert.same({}, awaited:finish(id(1)))
  end)

  it("forgets a child that has died, and not its successor", function()
    for n = 1, 100 do
      awaited:add(id(n), 0, 1)
      if n % 2 == 0 then
        awaited:add(id(n), 1, 2)
      end
    end
    awaited:add(id(7), 0, 3)
    awaited:remove_child(0, 1)
    assert.same({ "0/3" }, awaited:finish(id(7)))
    for n = 1, 100 do
      assert.same(n % 2 == 0 and { "1/2" } or {}, awaited:finish(id(n)))
    end
  end)

  it("keeps nothing of an outcome that nobody waits for any more", function()
    awaited:add(id(1), 0, 1)
    awaited:remove(id(1), 0, 1)
    local live = testing.alloc_live()
    awaited:add(id(1), 0, 1)
    awaited:add(id(1), 1, 2)
    awaited:add(id(2), 1, 2)
    assert.is_true(testing.alloc_live() > live)
    awaited:remove(id(1), 0, 1)
    awaited:remove_child(1, 2)
    assert.equal(live, testing.alloc_live())
  end)

  it("can forget all", function()
    for n = 1, 100 do
      awaited:add(id(n), n % 3, 1)
    end
    awaited:clear()
    for n = 1, 100 do
      assert.same({}, awaited:finish(id(n)))
    end
    assert.is_true(awaited:add(id(1), 1, 1))
  end)

  it("leaks nothing", function()
    collectgarbage()
    local live = testing.alloc_live()
    local other = testing.awaited.new()
    for n = 1, 100 do
      other:add(id(n), 0, 1)
      other:add(id(n), 1, 2)
    end
    other:finish(id(1))
    other:remove(id(2), 0, 1)
    other:remove_child(0, 1)
    other:close()
    assert.equal(live, testing.alloc_live())
  end)
end)
