local args = require("taskengine.cli.args")
local check = require("taskengine.check")
local exit = require("taskengine.cli.exit")

local SPEC <const> = {
  name = "paint",
  operands = { "WALL", "COLOUR", min = 1, max = 2 },
  options = {
    { short = "n", long = "coats", value = "N",
      accepts = check.integer(1, 9) },
    { long = "dry-time", value = "S", accepts = check.seconds(0, 10) },
    { long = "tools", value = "NAMES", read = function(text)
      if text == "" then
        return nil, "a tool"
      end
      return { text }
    end },
    { short = "w", long = "wet" },
    { short = "v", long = "verbose" },
    { long = "secret", is_hidden = true },
  },
  later = { "spray" },
}

describe("taskengine.cli.args", function()
  -- What is raised: text and advice; it always is a matter of usage.
  local function refusal(spec, ...)
    local ok, raised = pcall(args.read, spec, { ... })
    assert(not ok and exit.is(raised), "not refused")
    assert.equal(exit.USAGE, raised.code)
    return raised.text, raised.advice
  end

  it("takes operands and options in any order", function()
    for _, words in ipairs {
      { "north", "-n", "2", "red", "--wet" },
      { "--wet", "-n2", "north", "red" },
      { "-wn2", "north", "--", "red" },
      { "--coats=2", "north", "red", "-w" },
      { "--coats", "2", "-w", "--", "north", "red" },
    } do
      assert.same({ "north", "red", coats = 2, wet = true },
        args.read(SPEC, words))
    end
  end)

  it("reads numbers as what they are", function()
    local given = args.read(SPEC, { "x", "-n", "3.0", "--dry-time", "0.5" })
    assert.equal("integer", math.type(given.coats))
    assert.equal(0.5, given.dry_time)
  end)

  it("takes whatever comes for an option's value", function()
    assert.same({ "x", tools = { "--wet" } },
      args.read(SPEC, { "x", "--tools", "--wet" }))
    assert.same({ "x", tools = { "a=b" } },
      args.read(SPEC, { "x", "--tools=a=b" }))
  end)

  it("says the first of several mistakes, and reads what follows", function()
    local seen
    local spec = { name = "x", options = {
      { long = "how", value = "HOW", read = function(text)
        seen = text
        return text
      end },
    } }
    assert.matches("unknown option '%-%-one'",
      (refusal(spec, "--one", "--two", "--how", "loud")))
    assert.equal("loud", seen)
  end)

  it("lets the last of two win", function()
    assert.equal(4, args.read(SPEC, { "x", "-n", "2", "--coats", "4" }).coats)
  end)

  it("takes a dash and what is behind two of them as operands", function()
    assert.same({ "-" }, args.read(SPEC, { "-" }))
    assert.same({ "-n", "--wet" }, args.read(SPEC, { "--", "-n", "--wet" }))
  end)

  it("leaves everything behind the first operand alone if told to", function()
    local spec = {
      name = "run", operands = { "FILE", min = 1, max = math.huge },
      ends_options = true, options = SPEC.options,
    }
    assert.same({ "f", "-n", "--", "--help", "" , wet = true },
      args.read(spec, { "-w", "f", "-n", "--", "--help", "" }))
  end)

  it("checks nothing else when help is asked for", function()
    for _, words in ipairs { { "-h" }, { "--help" }, { "x", "-wh", "--no" } } do
      assert.is_true(args.read(SPEC, words).help)
    end
  end)

  for message, words in pairs {
    ["paint: WALL is missing"] = {},
    ['paint: one word too many: "c"'] = { "a", "b", "c" },
    ["paint: unknown option '--coat' (did you mean '--coats'?)"] =
      { "x", "--coat", "2" },
    ["paint: unknown option '-z'"] = { "x", "-wz" },
    ["paint: unknown option '-zw'"] = { "x", "-zw" },
    ["paint: unknown option '--secre'"] = { "x", "--secre" },
    ["paint: the option --spray is not built yet"] = { "x", "--spray=1" },
    ["paint: -n needs a value: N"] = { "x", "-n" },
    ["paint: --wet takes no value"] = { "x", "--wet=1" },
    ["paint: -n: an integer from 1 to 9 expected, got 0"] = { "x", "-n0" },
    ["paint: --coats: an integer from 1 to 9 expected, got 1.5"] =
      { "x", "--coats", "1.5" },
    ['paint: --coats: an integer from 1 to 9 expected, got "two"'] =
      { "x", "--coats", "two" },
    ['paint: --coats: an integer from 1 to 9 expected, got ""'] =
      { "x", "--coats=" },
    ['paint: --tools: a tool expected, got ""'] = { "x", "--tools", "" },
  } do
    it("refuses " .. table.concat(words, " "), function()
      assert.same({ message, "try: taskengine paint --help" },
        { refusal(SPEC, table.unpack(words)) })
    end)
  end
end)
