local id = require("taskengine.core").testing.id

describe("id", function()
  local producer = "Zy0123456789"

  it("makes producers of 12 characters that start with a letter", function()
    for _ = 1, 1000 do
      assert.truthy(id.producer():find("^%a%w+$"))
      assert.equal(12, #id.producer())
    end
  end)

  it("makes every producer anew, with every character", function()
    local seen, characters, count = {}, {}, 0
    for _ = 1, 2000 do
      local name = id.producer()
      assert.is_nil(seen[name])
      seen[name] = true
      for character in name:gmatch(".") do
        count = count + (characters[character] and 0 or 1)
        characters[character] = true
      end
    end
    assert.equal(62, count)
  end)

  it("writes the sequence number as eight base62 digits", function()
    assert.equal(producer .. "00000000", id.format(producer, 0))
    assert.equal(producer .. "0000000A", id.format(producer, 10))
    assert.equal(producer .. "0000000z", id.format(producer, 61))
    assert.equal(producer .. "00000010", id.format(producer, 62))
    assert.equal(producer .. "zzzzzzzz", id.format(producer, 62 ^ 8 // 1 - 1))
  end)

  it("sorts ids as they were made", function()
    local last = id.format(producer, 0)
    for seq = 1, 10000 do
      local now = id.format(producer, seq)
      assert.is_true(last < now)
      last = now
    end
  end)

  it("reads its own numbers", function()
    for _, seq in ipairs { 0, 1, 61, 62, 3843, 3844, 62 ^ 8 // 1 - 1 } do
      assert.equal(seq, id.seq(id.format(producer, seq)))
    end
  end)

  it("tells the ids of others from its own", function()
    local own = id.format(producer, 1)
    for _, other in ipairs {
      "", own:sub(1, 19), own .. "0", "1" .. own:sub(2),
      own:sub(1, 19) .. "-", own:sub(1, 5) .. "_" .. own:sub(7),
      own:sub(1, 19) .. "\0", own:sub(1, 19) .. "\xe9",
      "550e8400-e29b-41d4-a716-446655440000",
    } do
      assert.same({ n = 3, nil, "EMALFORMED: malformed data", "EMALFORMED" },
        table.pack(id.seq(other)))
    end
  end)
end)
