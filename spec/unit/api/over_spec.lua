--- One task that calls its function for each element of a list.

local core = require("taskengine.core")
local over = require("taskengine.over")

local NULL <const> = core.codec.null

describe("taskengine.over", function()
  -- Brings the arguments that it was called with.
  local function show(...)
    local parts = {}
    for i = 1, select("#", ...) do
      parts[i] = tostring((select(i, ...)))
    end
    return table.concat(parts, " ")
  end

  local map = over.each(show, "map")
  local starmap = over.each(show, "starmap")

  it("calls it with each element, false and nil among them", function()
    assert.same({ "7", "false", "nil", "x" }, map { 7, false, NULL, "x" })
    assert.same({ "7 false", "nil x nil", "" },
      starmap { { 7, false }, { NULL, "x", NULL }, {} })
  end)

  it("keeps the place of what is nothing", function()
    local echo = over.each(function(value)
      return value
    end, "map")
    assert.same({ 1, false, NULL, 2 }, echo { 1, false, NULL, 2 })
  end)

  it("goes as far as the list says", function()
    assert.same({ "1", "nil", "nil" }, map { n = 3, 1 })
    assert.same({ "1" }, map { n = "all", 1 })
    assert.same({ "1 nil" }, starmap { { n = 2, 1 } })
    assert.same({ "1" }, starmap { { n = 1.5, 1 } })
  end)

  it("puts the arguments ahead of the list in front of each element",
    function()
      assert.same({ "a nil 1", "a nil 2" }, map("a", nil, { 1, 2 }))
      assert.same({ "a 1 2" }, starmap("a", { { 1, 2 } }))
    end)

  local function problem_of(...)
    return select(2, pcall(...))
  end

  it("says which element is no list of arguments", function()
    assert.equal("element 2: a list of arguments expected, got number",
      problem_of(starmap, { { 1 }, 2 }))
  end)

  it("says what it got in place of a list", function()
    assert.equal("map: a list expected, got number", problem_of(map, 7))
    assert.equal("starmap: a list expected, got nil", problem_of(starmap))
  end)

  it("refuses more than one value", function()
    local two = over.each(function(value)
      if value == "b" then
        return 1, nil
      end
    end, "map")
    assert.same({ NULL }, two { "a" })
    assert.equal("element 2: the task returned 2 values, it may return"
      .. " one; put them into a table", problem_of(two, { "a", "b" }))
  end)
end)
