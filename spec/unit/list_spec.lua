local testing = require("taskengine.core").testing

describe("list", function()
  it("is empty at first", function()
    local list = testing.list.new()
    assert.same({ n = 3, nil, nil, true }, table.pack(list:ends()))
    assert.is_nil(list:take_first())
    assert.same({}, list:drop_odd())
  end)

  it("takes items at both ends", function()
    local list = testing.list.new()
    list:add_last(2)
    list:add_last(3)
    list:add_first(1)
    assert.same({ 1, 3, false }, { list:ends() })
    assert.same({ 1, 2, 3 },
      { list:take_first(), list:take_first(), list:take_first() })
    assert.is_nil(list:take_first())
  end)

  it("loses any item, and one that is not there twice", function()
    local list = testing.list.new()
    for i = 2, 8, 2 do
      list:add_last(i)
    end
    for _, i in ipairs { 4, 8, 4, 10 } do
      list:remove(i)
    end
    assert.same({ 2, 6 }, list:drop_odd())
  end)

  it("may lose the item that is visited", function()
    local list = testing.list.new()
    for i = 1, 5 do
      list:add_last(i)
    end
    assert.same({ 1, 2, 3, 4, 5 }, list:drop_odd())
    assert.same({ 2, 4 }, list:drop_odd())
  end)

  it("takes an item again that was taken out", function()
    local list = testing.list.new()
    list:add_last(2)
    list:add_last(4)
    list:add_last(list:take_first())
    assert.same({ 4, 2 }, list:drop_odd())
  end)
end)
