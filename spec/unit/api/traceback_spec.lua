local failure = require("taskengine.failure")
local traceback = require("taskengine.traceback")

-- Calls a function some levels deeper; its own call is on that line.
local LINE <const> = 10
local function descend(levels, fn)
  if levels == 0 then
    return (fn())
  end
  return (descend(levels - 1, fn))
end

local function endless(n)
  return 1 + endless(n + 1)
end

describe("taskengine.traceback", function()
  local DESCENDS <const> = ("%d: in upvalue 'descend'"):format(LINE)

  -- In a coroutine, so that nothing of the specs' is below.
  local function lines_of(levels)
    local text = select(2, coroutine.resume(coroutine.create(function()
      local found = descend(levels, function()
        return (traceback.user(1))
      end)
      return found
    end)))
    local lines = {}
    for line in text:gmatch("[^\n]+") do
      lines[#lines + 1] = line:gsub("^\t[^:]*:", "")
    end
    return lines
  end

  it("shows all of a stack that is not deep", function()
    for levels = 0, 27 do
      local lines = lines_of(levels)
      assert.equal(levels + 4, #lines)
      assert.matches("^%d+: in %a+ 'fn'$", lines[2])
      for i = 2, levels do
        assert.equal(DESCENDS, lines[2 + i])
      end
      assert.matches("^%d+: in upvalue 'descend'$", lines[#lines - 1])
      assert.matches("^%d+: in function <", lines[#lines])
    end
  end)

  it("shows both ends of one that is deep", function()
    for _, levels in ipairs { 28, 29, 1000 } do
      local lines = lines_of(levels)
      assert.equal(32, #lines)
      assert.matches("^%d+: in %a+ 'fn'$", lines[2])
      assert.equal(DESCENDS, lines[16])
      assert.equal(("\t...\t(skipping %d levels)"):format(levels + 3 - 30),
        lines[17])
      assert.equal(DESCENDS, lines[18])
      assert.matches("^%d+: in function <", lines[32])
    end
  end)

  it("shows the near end of one that is very deep", function()
    local lines = lines_of(20000)
    assert.equal(17, #lines)
    assert.matches("^%d+: in %a+ 'fn'$", lines[2])
    assert.equal(DESCENDS, lines[16])
    assert.equal("\t...\t(skipping more than 9985 levels)", lines[17])
  end)

  it("costs little beside the stack overflow that it describes", function()
    local entered, left
    local began = os.clock()
    local _, description = xpcall(endless, function(problem)
      entered = os.clock()
      local described = failure.describe(problem)
      left = os.clock()
      return described
    end, 1)
    assert.matches("stack overflow", description.message)
    assert.matches("in upvalue 'endless'", description.traceback)
    assert.matches("skipping more than %d+ levels", description.traceback)
    assert.is_true(left - entered < entered - began,
      ("%g s after %g s"):format(left - entered, entered - began))
  end)
end)
