local core = require("taskengine.core")

local wire = core.testing.wire

-- A message of each kind, and its bytes by what engine/wire.h says.
local MESSAGES <const> = {
  { { kind = "C", payload = "config" }, "Cconfig" },
  { { kind = "T", token = 7 << 32 | 5, payload = "env" },
    "T\0\0\0\5\0\0\0\7env" },
  { { kind = "R", request = 258, number = 0xffffec6c, payload = "why" },
    "R\0\0\1\2\xff\xff\xec\x6cwhy" },
  { { kind = "O", payload = "item" }, "Oitem" },
  { { kind = "U", byte = 1 }, "U\1" },
  { { kind = "X", token = 1 << 32, byte = 1 }, "X\0\0\0\0\0\0\0\1\1" },
  { { kind = "Q" }, "Q" },
  { { kind = "F", payload = "tasks.lua" }, "Ftasks.lua" },
  { { kind = "H", byte = 1, payload = "what" }, "H\1what" },
  { { kind = "D", token = 1 << 32 | 2, number = 3, payload = "S\xc0" },
    "D\0\0\0\2\0\0\0\1\0\0\0\3S\xc0" },
  { { kind = "W", token = 1 << 32 | 2, byte = 1 }, "W\0\0\0\2\0\0\0\1\1" },
  { { kind = "S", token = 1 << 32 | 2, payload = "word" },
    "S\0\0\0\2\0\0\0\1word" },
  { { kind = "A", request = 9, payload = "call" }, "A\0\0\0\9call" },
  { { kind = "L", token = 1 << 32 | 2, byte = 3, payload = "line" },
    "L\0\0\0\2\0\0\0\1\3line" },
}

local NO_PAYLOAD <const> = { U = true, X = true, Q = true, W = true }

local function filled(message)
  local all = { token = 0, request = 0, number = 0, byte = 0, payload = "" }
  for name, value in pairs(message) do
    all[name] = value
  end
  return all
end

describe("wire", function()
  it("writes every kind as it is documented", function()
    for _, pair in ipairs(MESSAGES) do
      assert.equal(string.pack(">s4", pair[2]), wire.frame(pair[1]))
    end
  end)

  it("reads what it has written", function()
    for _, pair in ipairs(MESSAGES) do
      assert.same(filled(pair[1]), wire.read(pair[2]))
    end
  end)

  it("refuses what is cut short", function()
    for _, pair in ipairs(MESSAGES) do
      local message, bytes = pair[1], pair[2]
      local head = #bytes - #(message.payload or "")
      for size = 0, head - 1 do
        assert.equal("EPROTO", select(3, wire.read(bytes:sub(1, size))))
      end
    end
    assert.equal("EPROTO", select(3, wire.read(("D"):rep(13))))
    assert.equal("EPROTO", select(3, wire.read(("S"):rep(9))))
  end)

  it("refuses more than there is to say", function()
    for _, pair in ipairs(MESSAGES) do
      local ok = wire.read(pair[2] .. "x") ~= nil
      assert.equal(not NO_PAYLOAD[pair[1].kind], ok)
    end
    assert.truthy(wire.read("S" .. ("x"):rep(8 + 16384)))
    assert.equal("EPROTO", select(3, wire.read("S" .. ("x"):rep(9 + 16384))))
  end)

  it("refuses kinds that there are not", function()
    local known = {}
    for _, pair in ipairs(MESSAGES) do
      known[pair[1].kind] = true
    end
    for byte = 0, 255 do
      local kind = string.char(byte)
      local got = wire.read(kind .. ("\0"):rep(40))
      assert.is_true(got == nil or known[kind] == true)
    end
  end)

  it("sends nothing that is too large for a frame", function()
    local got, _, code = wire.frame { kind = "O",
      payload = ("x"):rep(64 * 1024 * 1024) }
    assert.is_nil(got)
    assert.equal("ELIMIT", code)
  end)
end)
