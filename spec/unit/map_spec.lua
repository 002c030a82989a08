local seed = require("spec.support.seed")
local testing = require("taskengine.core").testing

describe("map", function()
  it("is empty at first", function()
    local map <close> = testing.map.new()
    assert.is_nil(map:find("a"))
    assert.is_nil(map:take("a"))
    assert.same({ {}, 0, 0 }, { map:entries() })
  end)

  it("finds what was set, and only that", function()
    local map <close> = testing.map.new()
    assert.is_nil(map:set("a", 1))
    assert.is_nil(map:set("a\0", 2))
    assert.is_nil(map:set("", 3))
    assert.same({ 1, 2, 3 }, { map:find("a"), map:find("a\0"), map:find("") })
    assert.is_nil(map:find("b"))
  end)

  it("says what a new value replaced", function()
    local map <close> = testing.map.new()
    map:set("a", 1)
    assert.equal(1, map:set("a", 2))
    assert.equal(2, map:find("a"))
    assert.same({ { a = 2 }, 1, 1 }, { map:entries() })
  end)

  it("holds keys of every length around a word", function()
    local map <close> = testing.map.new()
    local model = {}
    for size = 0, 40 do
      model[("k"):rep(size)] = size
      map:set(("k"):rep(size), size)
    end
    assert.same({ model, 41, 41 }, { map:entries() })
  end)

  it("agrees with a Lua table under any order of operations", function()
    seed.begin()
    local map <close> = testing.map.new()
    local model, count = {}, 0
    for step = 1, 20000 do
      -- Few enough keys that most come back, and that chains get long.
      local key = ("%020d"):format(math.random(700))
      local chance = math.random()
      if chance < 0.5 then
        assert.equal(model[key], (map:set(key, step)))
        count = count + (model[key] == nil and 1 or 0)
        model[key] = step
      elseif chance < 0.9 then
        assert.equal(model[key], (map:take(key)))
        count = count - (model[key] ~= nil and 1 or 0)
        model[key] = nil
      else
        assert.equal(model[key], (map:find(key)))
      end
    end
    assert.same({ model, count, count }, { map:entries() })
    for key, value in pairs(model) do
      assert.equal(value, map:find(key))
    end
  end)

  it("gives its memory back and is usable again", function()
    local before = testing.alloc_live()
    local map <close> = testing.map.new()
    map:set("a", 1)
    map:free()
    assert.equal(before, testing.alloc_live())
    assert.is_nil(map:find("a"))
    map:set("a", 2)
    assert.equal(2, map:find("a"))
  end)
end)
