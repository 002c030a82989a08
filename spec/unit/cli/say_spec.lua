local say = require("taskengine.cli.say")

describe("taskengine.cli.say", function()
  it("lets no control character reach a terminal", function()
    assert.equal("a\\x1b[2Jb\\x00\\x7f\\x0d", say.clean("a\27[2Jb\0\127\r"))
    assert.equal("\\xc2\\x9b1m", say.clean("\u{9b}1m"))
  end)

  it("leaves lines, tabs and letters of all kinds", function()
    local text = "one\n\ttwo\nÄ é 日本 \u{a0}"
    assert.equal(text, say.clean(text))
  end)
end)
