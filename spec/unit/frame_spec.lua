local testing = require("taskengine.core").testing
local frame = testing.frame

describe("frame", function()
  local stream = string.pack(">s4s4s4", "hello", "", ("x"):rep(300))
  local frames = { "hello", "", ("x"):rep(300) }

  local function decode(bytes, size)
    local decoder <close> = frame.decoder()
    local got = {}
    for at = 1, #bytes, size do
      decoder:feed(bytes:sub(at, at + size - 1))
      for one in decoder.next, decoder do
        got[#got + 1] = one
      end
    end
    return got
  end

  it("finds the same frames however the stream is split", function()
    for size = 1, #stream do
      assert.same(frames, decode(stream, size))
    end
  end)

  it("writes frames behind what a buffer holds", function()
    assert.equal("before" .. stream,
      frame.encode("before", table.unpack(frames)))
    assert.equal(stream, frame.encode("", table.unpack(frames)))
  end)

  it("refuses an oversized frame as soon as it is announced", function()
    local decoder <close> = frame.decoder()
    decoder:feed(string.pack(">s4I4", "fine", frame.BYTES_MAX + 1))
    assert.equal("fine", decoder:next())
    for _ = 1, 2 do
      local got, message, name = decoder:next()
      assert.is_nil(got)
      assert.equal("ELIMIT: a size limit was exceeded", message)
      assert.equal("ELIMIT", name)
    end
  end)

  it("waits for a frame of the largest size", function()
    local decoder <close> = frame.decoder()
    decoder:feed(string.pack(">I4", frame.BYTES_MAX))
    assert.same({ n = 0 }, table.pack(decoder:next()))
  end)

  it("writes nothing of a frame that grew too large", function()
    assert.equal(3 + 4 + frame.BYTES_MAX, frame.encode_blank(frame.BYTES_MAX))
    local got, _, name, left = frame.encode_blank(frame.BYTES_MAX + 1)
    assert.same({ nil, "ELIMIT", 3 }, { got, name, left })
  end)

  it("gives its memory back", function()
    local before = testing.alloc_live()
    local decoder = frame.decoder()
    decoder:feed(stream)
    decoder:close()
    decoder:close()
    assert.equal(before, testing.alloc_live())
    assert.error_matches(function()
      decoder:next()
    end, "closed")
  end)
end)
