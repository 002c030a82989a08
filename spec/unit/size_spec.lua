local check = require("taskengine.check")
local size = require("taskengine.size")

describe("A size", function()
  for _, case in ipairs {
    { 0, 0 }, { 500, 500 }, { "500", 500 }, { "1K", 1024 }, { "1k", 1024 },
    { "200M", 200 << 20 }, { "200MB", 200 << 20 }, { "200MiB", 200 << 20 },
    { "1.5G", 3 << 29 }, { "2T", 2 << 40 }, { "0.5K", 512 },
  } do
    it(("of %s is %d bytes"):format(case[1], case[2]), function()
      assert.equal(case[2], size.bytes(case[1]))
      assert.equal("integer", math.type(size.bytes(case[1])))
    end)
  end

  for _, value in ipairs { -1, 1.5, "", "M", "-1M", "1 M", "1X", "1MM", "1e3",
    "0x10", "1.5.5G", "1,5G", " 1M", "1M ", "1\n", {}, true } do
    it("is not " .. check.describe(value), function()
      assert.is_nil(size.bytes(value))
    end)
  end

  it("is checked with its bounds, which are part of the message", function()
    local accepts = check.size(1 << 20, 1 << 30, "1M to 1G")
    assert.is_true(accepts("1M"))
    assert.is_true(accepts(1 << 30))
    assert.is_false(accepts("1023K"))
    assert.is_false(accepts((1 << 30) + 1))
    assert.is_false(accepts("much"))
    assert.equal("x: an amount of memory such as 64M, from 1M to 1G expected,"
      .. ' got "much"', check.problem("x", accepts, "much"))
  end)
end)
