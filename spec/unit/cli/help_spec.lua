local commands = require("taskengine.cli.commands")
local help = require("taskengine.cli.help")

describe("taskengine.cli.help", function()
  it("puts a text beside a name, on as many lines as needed", function()
    assert.equal("  run       what it does\n",
      help.entry("run", "what it does", 12))
    assert.equal("  a-long-name\n            what it does\n",
      help.entry("a-long-name", "what it does", 12))
    local text = help.entry("run", ("word "):rep(30), 12)
    assert.matches("^  run       word word .*\n            word", text)
  end)

  local names = table.move(commands.HIDDEN, 1, #commands.HIDDEN, 1, {})
  table.move(commands.names(), 1, #commands.LIST, #names + 1, names)

  for _, name in ipairs(names) do
    it("explains " .. name .. ", with examples, in 80 columns", function()
      local spec = commands.find(name).spec
      local text = help.of(spec)
      assert.equal(name, spec.name)
      assert.matches("^usage: taskengine " .. name .. "[ \n]", text)
      local examples = text:match("\n\nexamples:\n(  [^\n]+\n.*)$")
      assert.equal("", (examples:gsub("  [^\n]*taskengine[^\n]*\n", "")))
      assert.matches("taskengine " .. name, examples, 1, true)
      for line in text:gmatch("[^\n]+") do
        assert.is_true(#line <= 80, line)
      end
      for _, option in ipairs(spec.options or {}) do
        assert.equal(not option.is_hidden,
          text:find("--" .. option.long, 1, true) ~= nil, option.long)
      end
    end)
  end
end)
