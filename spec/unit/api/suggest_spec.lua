local suggest = require("taskengine.suggest")

describe("taskengine.suggest", function()
  local known = { "countdown", "eta", "expires", "priority", "queue" }

  it("finds the name that was meant", function()
    for wrong, meant in pairs {
      prioritty = "priority",
      priorty = "priority",
      pirority = "priority",
      Queue = "queue",
      quue = "queue",
      count_down = "countdown",
      et = "eta",
    } do
      assert.equal(meant, suggest.nearest(wrong, known), wrong)
    end
  end)

  it("finds nothing where nothing is near", function()
    assert.is_nil(suggest.nearest("colour", known))
    assert.is_nil(suggest.nearest("", known))
    assert.is_nil(suggest.nearest("eta", {}))
  end)

  it("prefers the first of the alphabet among equals", function()
    assert.equal("bat", suggest.nearest("at", { "cat", "bat", "hat" }))
  end)

  it("writes the end of a sentence", function()
    assert.equal(" (did you mean 'eta'?)", suggest.hint("eat", known))
    assert.equal("", suggest.hint("colour", known))
    assert.equal(" (did you mean '--eta'?)", suggest.hint("eat", known, "--"))
  end)
end)
