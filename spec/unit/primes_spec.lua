local native = require("native.primes")
local seed = require("spec.support.seed")
local trial_division = require("recipes.trial_division")

-- What both say of a range; the spec fails where they differ.
local function search(start, stop)
  local text = ("%d to %d"):format(start, stop)
  local packed = trial_division.pack(start, stop)
  assert.equal(packed, native.pack(start, stop), text)
  local primes = trial_division.unpack(packed, start)
  assert.same(primes, native.unpack(packed, start), text)
  assert.equal(#primes, trial_division.count(start, stop), text)
  assert.equal(#primes, native.count(start, stop), text)
  return primes
end

-- What a way of writing leaves in a file, and what it returns.
local function written(way, packed, start)
  local file <close> = assert(io.tmpfile())
  local count = assert(way.write(file, packed, start))
  file:seek("set")
  return file:read("a"), count
end

describe("the prime search of recipes", function()
  it("finds what is known", function()
    assert.same({ 2, 3, 5, 7, 11, 13, 17, 19, 23, 29 }, search(0, 30))
    assert.equal(1229, #search(0, 10000))
    assert.equal(664579, native.count(0, 10000000))
    assert.same({ 9999999929, 9999999943, 9999999967 },
      search(9999999900, 10000000000))
  end)

  it("has both ends of a range in it", function()
    assert.same({}, search(0, 0))
    assert.same({}, search(0, 1))
    assert.same({ 2 }, search(0, 2))
    assert.same({ 2 }, search(2, 2))
    assert.same({ 2, 3 }, search(2, 3))
    assert.same({ 3, 5 }, search(3, 5))
    assert.same({}, search(4, 4))
    assert.same({}, search(24, 28))
    assert.same({ 113, 127 }, search(113, 127))
    assert.same({}, search(114, 126))
    assert.same({}, search(5, 4))
    assert.same({}, search(1000, 0))
  end)

  it("takes no square of a prime for one", function()
    for _, prime in ipairs { 2, 3, 5, 7, 97, 101, 65521, 99991 } do
      assert.same({}, search(prime * prime, prime * prime))
    end
  end)

  it("finds the same by libprimesieve and by trial division", function()
    seed.begin()
    for _ = 1, 100 do
      local start = math.random(0, 10 ^ math.random(2, 7) // 1 | 0)
      search(start, start + math.random(0, 1000))
    end
  end)

  it("finds in parts what it finds as a whole", function()
    local whole = native.unpack(native.pack(2, 20000), 2)
    for _, size in ipairs { 1, 7, 30, 1000, 19990 } do
      local primes = {}
      for start = 2, 20000, size do
        local packed = native.pack(start, math.min(start + size - 1, 20000))
        table.move(native.unpack(packed, start), 1, #packed, #primes + 1,
          primes)
      end
      assert.same(whole, primes)
    end
  end)
end)

describe("a packed list of primes", function()
  it("has a byte a prime: its distance from the one before", function()
    assert.equal("\0\1\2\2\4", native.pack(2, 11))
    assert.equal("\2\1\2\2\4", native.pack(0, 11))
    assert.equal("", native.pack(24, 28))
  end)

  it("carries distances over 254 in more bytes", function()
    -- The first two neighbours that are 282 apart.
    local low, high = 436273009, 436273291
    assert.equal("\0\255\27", native.pack(low, high))
    for _, distance in ipairs { 253, 254, 255, 256, 281 } do
      assert.same({ high }, search(high - distance, high))
    end
    assert.equal("\254", native.pack(high - 254, high))
    assert.equal("\255\0", native.pack(high - 255, high))
    -- The first two that are 804 apart.
    low, high = 90874329411493, 90874329412297
    assert.equal("\0\255\255\255\39", native.pack(low, high))
    assert.same({ low, high },
      native.unpack(native.pack(low, high), low))
  end)

  it("is written one prime a line", function()
    local packed = native.pack(0, 100000)
    local primes = native.unpack(packed, 0)
    local lines = table.concat(primes, "\n") .. "\n"
    for _, way in ipairs { native, trial_division } do
      assert.same({ lines, 9592 }, { written(way, packed, 0) })
      assert.same({ "", 0 }, { written(way, "", 10) })
      assert.same({ "0\n", 1 }, { written(way, "\0", 0) })
    end
    local last = math.maxinteger
    assert.same({ last .. "\n", 1 }, { written(native, "\0", last) })
  end)

  it("says why it cannot be written", function()
    for _, way in ipairs { native, trial_division } do
      for _, packed in ipairs { "\2", native.pack(0, 1000000) } do
        local file <close> = assert(io.open("/dev/full", "w"))
        assert.same({ nil, "No space left on device", 28 },
          { way.write(file, packed, 0) })
      end
    end
  end)

  it("has a limit", function()
    assert.equal(664579, #native.pack(0, 10000000))
    assert.error_matches(function()
      native.pack(0, 1000000000)
    end, "0 to 1000000000: too many primes for one list", nil, true)
  end)
end)

describe("native.primes", function()
  it("raises when it is misused", function()
    local closed = assert(io.tmpfile())
    closed:close()
    local below = "number below 0"
    local whole = "number has no integer representation"
    for _, case in ipairs {
      { below, native.count, -1, 10 },
      { below, native.count, 1, -10 },
      { below, native.pack, -1, 10 },
      { below, native.unpack, "", -1 },
      { below, native.write, io.stdout, "", -1 },
      { whole, native.count, 1, 10.5 },
      { whole, native.pack, 0 / 0, 10 },
      { "number expected, got nil", native.pack, 1 },
      { "string expected, got nil", native.unpack, nil, 1 },
      { "FILE%* expected, got string", native.write, "stdout", "", 1 },
      { "a closed file", native.write, closed, "", 1 },
    } do
      assert.error_matches(function()
        case[2](table.unpack(case, 3, 5))
      end, "bad argument #%d .*" .. case[1])
    end
  end)
end)
