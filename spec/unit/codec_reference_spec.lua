local core = require("taskengine.core")
local seed = require("spec.support.seed")
local values = require("spec.support.values")

local codec = core.codec
local testing = core.testing.codec
local null = codec.null
local text = values.text

-- libmsgpack reserves what a count claims, 24 bytes for each.
local function claims_much(input)
  return input:find("[\xdd\xdf][^\0]") or input:find("[\xdd\xdf]\0[^\0]")
end

local function mutate(input)
  local at = math.random(0, #input)
  local kind = math.random(5)
  local tag = math.random(2) == 1 and math.random(0x80, 0xdf)
    or math.random(0, 255)
  if kind == 1 then
    return input:sub(1, at)
  elseif kind == 2 then
    return input:sub(1, at) .. input:sub(at + 2)
  elseif kind == 3 then
    return input:sub(1, at) .. string.char(tag) .. input:sub(at + 1)
  end
  return input:sub(1, at) .. string.char(tag) .. input:sub(at + 2)
end

local function compare(input)
  local result = table.pack(codec.decode(input))
  local refused_by_us = result[3] ~= nil
  local skipped = testing.skip(input)
  assert.equal(refused_by_us, skipped == nil)
  if claims_much(input) then
    return "alone"
  end
  local ok, reference, used = testing.reference_decode(input)
  assert.equal(ok, not refused_by_us)
  if not ok then
    return "refused"
  end
  local value = result[1] == nil and null or result[1]
  assert.equal(text(reference), text(value))
  assert.equal(used, result[2] - 1)
  assert.equal(used, skipped)
  return "accepted"
end

describe("taskengine.core.codec beside libmsgpack", function()
  it("writes and reads the same of 10,000 random values", function()
    seed.begin()
    for _ = 1, 10000 do
      local value = values.random(6, null)
      local encoded = assert(codec.encode(value))
      local back, next_at = codec.decode(encoded)
      assert.equal(#encoded + 1, next_at)
      assert.equal(#encoded, testing.skip(encoded))
      local ok, reference, used = testing.reference_decode(encoded)
      assert.is_true(ok)
      assert.equal(#encoded, used)
      -- A nil as a whole is a nil here, and null in the reference.
      local expected = text(value)
      assert.equal(expected, text(back == nil and null or back))
      assert.equal(expected, text(reference))
      -- libmsgpack would have written the same bytes.
      assert.equal(testing.reference_repack(encoded), encoded)
    end
  end)

  it("accepts and refuses the same mutated bytes", function()
    seed.begin()
    local counts = { accepted = 0, refused = 0, alone = 0 }
    for _ = 1, 4000 do
      local input = assert(codec.encode(values.random(4, null)))
      for _ = 1, 5 do
        input = mutate(input)
        local outcome = compare(input)
        counts[outcome] = counts[outcome] + 1
      end
    end
    assert.is_true(counts.accepted > 2000)
    assert.is_true(counts.refused > 2000)
  end)

  it("accepts and refuses the same mere noise", function()
    seed.begin()
    for _ = 1, 20000 do
      local noise = {}
      for i = 1, math.random(0, 24) do
        noise[i] = string.char(math.random(4) > 1 and math.random(0x80, 0xdf)
          or math.random(0, 255))
      end
      compare(table.concat(noise))
    end
  end)
end)
