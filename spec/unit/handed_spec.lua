local testing = require("taskengine.core").testing

local FIRST <const> = 1 << 31
local LAST <const> = (1 << 32) - 1

describe("handed", function()
  local handed

  before_each(function()
    handed = testing.handed.new()
  end)

  local function came(...)
    local verdicts = {}
    for i, number in ipairs { ... } do
      verdicts[i] = handed:came(FIRST + number)
    end
    return verdicts
  end

  it("takes one after the other", function()
    assert.same({ "next", "next", "next" }, came(1, 2, 3))
  end)

  it("takes one behind a gap, and says so", function()
    assert.same({ "next", "later", "next" }, came(1, 3, 4))
  end)

  it("takes none that is not new", function()
    assert.same({ "next", "next", "old", "old", "old" }, came(1, 2, 2, 1, 0))
    assert.same({ "next" }, came(3))
  end)

  it("counts to the last number that there is", function()
    handed:answered(tostring(LAST - 1))
    assert.equal("next", handed:came(LAST))
    assert.equal("old", handed:came(LAST))
    assert.is_true(handed:heard(LAST))
  end)

  it("gives one that Redis knows of until it hears of it again", function()
    came(1)
    assert.is_true(handed:heard(FIRST + 1))
    assert.is_true(handed:heard(FIRST + 2))
    assert.is_false(handed:heard(FIRST + 2))
  end)

  it("misses none that came between", function()
    assert.is_true(handed:heard(FIRST + 1))
    came(1)
    assert.is_true(handed:heard(FIRST + 2))
    came(2)
    assert.is_true(handed:heard(FIRST + 2))
  end)

  it("misses none of a Redis that hands none over", function()
    assert.is_true(handed:heard(0))
    assert.is_true(handed:heard(0))
  end)

  it("goes on behind what Redis had handed over when it was asked", function()
    came(1)
    handed:heard(FIRST + 3)
    handed:ask()
    handed:answered(tostring(FIRST + 3))
    assert.is_true(handed:heard(FIRST + 3))
    assert.same({ "old", "next" }, came(3, 4))
  end)

  it("does not go back behind what came while Redis was asked", function()
    came(1)
    handed:ask()
    came(2)
    handed:answered(tostring(FIRST + 1))
    assert.same({ "old", "next" }, came(2, 3))
  end)

  for what, text in pairs {
    ["a lower number"] = tostring(FIRST + 2),
    ["none"] = "0",
    ["nothing"] = "",
    ["no number"] = "nonsense that is longer than any number is",
  } do
    it("goes back with a Redis that has lost count: " .. what, function()
      came(1, 2, 3, 4)
      handed:ask()
      handed:answered(text)
      local number = text == tostring(FIRST + 2) and 3 or 1
      assert.same({ "next" }, came(number))
    end)
  end
end)
