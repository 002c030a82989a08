local seed = require("spec.support.seed")
local testing = require("taskengine.core").testing

describe("buf", function()
  it("is empty at first, without memory", function()
    local b <close> = testing.buf.new()
    assert.same({ "", 0 }, { b:bytes() })
    assert.equal(0, b:cap())
  end)

  it("gives back what was appended, less what was eaten", function()
    local b <close> = testing.buf.new()
    b:add("hello ")
    b:add("")
    b:add_reserved("wor\0ld", 50)
    b:consume(4)
    assert.same({ "o wor\0ld", 8 }, { b:bytes() })
    b:consume(8)
    assert.same({ "", 0 }, { b:bytes() })
  end)

  it("writes numbers big-endian", function()
    local b <close> = testing.buf.new()
    b:add_int(1, 0xfe)
    b:add_int(4, 0x01020304)
    b:add_int(8, 0x0102030405060708)
    b:add_int(8, -1)
    assert.equal(string.pack(">I1I4i8i8", 0xfe, 0x01020304,
      0x0102030405060708, -1), (b:bytes()))
  end)

  it("formats text of any length", function()
    local b <close> = testing.buf.new()
    local long = ("x"):rep(5000)
    b:addf("a", 1)
    b:addf(long, -2)
    assert.equal("<a>=1;<" .. long .. ">=-2;", (b:bytes()))
  end)

  it("keeps its memory when cleared and gives it back when freed", function()
    local before = testing.alloc_live()
    local b <close> = testing.buf.new()
    b:add(("x"):rep(1000))
    local cap = b:cap()
    b:clear()
    assert.equal("", (b:bytes()))
    assert.equal(cap, b:cap())
    b:free()
    assert.equal(0, b:cap())
    assert.equal(before, testing.alloc_live())
    b:add("usable")
    assert.equal("usable", (b:bytes()))
  end)

  it("holds the same as a string under any order of operations", function()
    seed.begin()
    local b <close> = testing.buf.new()
    local model = ""
    for step = 1, 5000 do
      if math.random() < 0.55 then
        local size = math.random(0, 300)
        local bytes = string.char(math.random(0, 255)):rep(size)
        if step % 2 == 0 then
          b:add(bytes)
        else
          b:add_reserved(bytes, math.random(0, 300))
        end
        model = model .. bytes
      else
        local size = math.random(0, math.min(#model, 600))
        b:consume(size)
        model = model:sub(size + 1)
      end
      assert.equal(model, (b:bytes()))
    end
  end)

  it("does not grow when as much is eaten as is appended", function()
    local b <close> = testing.buf.new()
    b:add(("x"):rep(1000))
    for _ = 1, 10000 do
      b:add(("y"):rep(100))
      b:consume(100)
    end
    assert.is_true(b:cap() <= 4096, "cap is " .. b:cap())
  end)

  it("does not keep the memory of one large message for ever", function()
    local b <close> = testing.buf.new()
    b:add(("x"):rep(10 * 1024 * 1024))
    b:consume(10 * 1024 * 1024)
    b:add("small")
    assert.equal("small", (b:bytes()))
    assert.is_true(b:cap() < 1024)
  end)

  it("gives back what is large when it is asked to, and empty", function()
    local b <close> = testing.buf.new()
    b:shrink()
    b:add(("x"):rep(2 * 1024 * 1024))
    b:shrink()
    assert.equal(2 * 1024 * 1024, #b:bytes())
    b:consume(2 * 1024 * 1024)
    b:shrink()
    assert.equal(0, b:cap())
    b:add("small")
    b:consume(5)
    b:shrink()
    assert.is_true(b:cap() > 0)
  end)
end)
