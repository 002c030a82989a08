local seed = require("spec.support.seed")
local testing = require("taskengine.core").testing

describe("heap", function()
  -- The items of `keys` that are there, in the order of the heap.
  local function sorted(keys)
    local names = {}
    for name in pairs(keys) do
      names[#names + 1] = name
    end
    table.sort(names, function(a, b)
      if keys[a] ~= keys[b] then
        return keys[a] < keys[b]
      end
      return a < b
    end)
    return names
  end

  local function drain(heap)
    local names = {}
    for name in heap.take_first, heap do
      names[#names + 1] = name
    end
    return names
  end

  it("is empty at first", function()
    local heap <close> = testing.heap.new()
    assert.is_nil(heap:first())
    assert.is_nil(heap:take_first())
  end)

  it("gives its items in order", function()
    local heap <close> = testing.heap.new()
    for _, key in ipairs { 5, 3, 8, 3, 1, 9, 1 } do
      heap:add(key)
    end
    assert.same({ 5, 1 }, { heap:first() })
    assert.same({ 5, 7, 2, 4, 1, 3, 6 }, drain(heap))
  end)

  it("loses any item, wherever it is", function()
    for gone = 1, 7 do
      local heap <close> = testing.heap.new()
      local expected = {}
      for name = 1, 7 do
        heap:add(name * 10)
        if name ~= gone then
          expected[#expected + 1] = name
        end
      end
      assert.is_true(heap:holds(gone))
      heap:remove(gone)
      assert.is_false(heap:holds(gone))
      assert.same(expected, drain(heap))
    end
  end)

  it("keeps the order under any order of operations", function()
    seed.begin()
    local heap <close> = testing.heap.new()
    local keys = {}
    local function any()
      local names = sorted(keys)
      return names[math.random(#names)]
    end
    for _ = 1, 3000 do
      local chance = math.random()
      if chance < 0.4 or next(keys) == nil then
        local key = math.random(50)
        keys[heap:add(key)] = key
      elseif chance < 0.6 then
        local name = any()
        heap:remove(name)
        keys[name] = nil
      elseif chance < 0.8 then
        local name = any()
        keys[name] = math.random(50)
        heap:update(name, keys[name])
      else
        local name = heap:take_first()
        assert.equal(sorted(keys)[1], name)
        keys[name] = nil
      end
    end
    assert.same(sorted(keys), drain(heap))
  end)

  it("gives its memory back", function()
    local before = testing.alloc_live()
    local heap <close> = testing.heap.new()
    heap:add(1)
    assert.equal(before + 1, testing.alloc_live())
    heap:free()
    assert.equal(before, testing.alloc_live())
  end)
end)
