local strings = require("taskengine.strings")

describe("taskengine.strings", function()
  local metatable = getmetatable("")
  local methods = metatable.__index

  after_each(function()
    metatable.__index = methods
    strings.keep()
  end)

  it("gives strings back what they had", function()
    metatable.__index = {}
    local missing = ("x").rep
    strings.restore()
    assert.is_nil(missing)
    assert.equal("xx", ("x"):rep(2))
  end)

  it("takes what a file that is loaded gives them", function()
    metatable.__index = function(text, key)
      return methods[key] or string.sub(text, key, key)
    end
    strings.keep()
    metatable.__index = methods
    strings.restore()
    local found = { ("abc")[2], ("x"):rep(2) }
    metatable.__index = methods
    assert.same({ "b", "xx" }, found)
  end)
end)
