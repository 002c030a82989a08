local testing = require("taskengine.core").testing

describe("te", function()
  it("names and explains its own error codes", function()
    for name, code in pairs(testing.errors()) do
      assert.is_true(code < -5000, name)
      assert.equal(name, testing.errname(code))
    end
    assert.equal("a size limit was exceeded", testing.strerror(-5001))
  end)

  it("gives each of its errors a code and a text of its own", function()
    local seen = {}
    for name, code in pairs(testing.errors()) do
      local text = testing.strerror(code)
      assert.is_nil(seen[code], name)
      assert.is_nil(seen[text], name)
      seen[code], seen[text] = name, name
    end
  end)

  it("knows the codes of libuv", function()
    assert.equal("ENOENT", testing.errname(-2))
    assert.equal("no such file or directory", testing.strerror(-2))
    assert.equal("EOF", testing.errname(-4095))
    assert.equal("end of file", testing.strerror(-4095))
  end)

  it("has a word for what it does not know", function()
    assert.equal("UNKNOWN", testing.errname(-123456))
    assert.equal("unknown error", testing.strerror(-123456))
    assert.equal("OK", testing.errname(0))
    assert.equal("no error", testing.strerror(0))
  end)

  it("copies and moves bytes, zeros among them", function()
    for _, bytes in ipairs { "", "a", "a\0b\0", ("x"):rep(100000) } do
      assert.equal(bytes, (testing.alloc_round(bytes)))
    end
  end)

  it("counts the blocks that are live", function()
    local before = testing.alloc_live()
    local _, live = testing.alloc_round("bytes")
    assert.equal(3, live)
    assert.equal(before, testing.alloc_live())
  end)

  it("compares slices by their bytes, and NULL as empty", function()
    assert.is_true(testing.slice_equal("a\0b", "a\0b"))
    assert.is_false(testing.slice_equal("a\0b", "a\0c"))
    assert.is_false(testing.slice_equal("a", "ab"))
    assert.is_true(testing.slice_equal(nil, ""))
    assert.is_true(testing.slice_equal(nil, nil))
    assert.is_false(testing.slice_equal(nil, "a"))
  end)
end)
