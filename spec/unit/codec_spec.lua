local core = require("taskengine.core")
local values = require("spec.support.values")

local codec = core.codec
local testing = core.testing
local null = codec.null
local text = values.text

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function same(expected, got)
  assert.equal(text(expected), text(got))
end

local function nested(depth, last)
  local value = last
  for _ = 1, depth do
    value = { value }
  end
  return value
end

-- Checks that encode refuses, and how; the third result names the kind.
local function refused(message, ...)
  local out, err, name = codec.encode(...)
  assert.is_nil(out)
  assert.equal(message, err)
  assert.equal(message:match("^%u+"), name)
end

local function args_refused(message, ...)
  local out, err, name = codec.encode_args(...)
  assert.is_nil(out)
  assert.equal(message, err)
  assert.equal(message:match("^%u+"), name)
end

local function decode_refused(name, input)
  local value, _, got = codec.decode(input)
  assert.is_nil(value)
  assert.equal(name, got)
end

local function round_trip(value)
  local encoded = assert(codec.encode(value))
  local back, next_at = codec.decode(encoded)
  same(value, back)
  assert.equal(#encoded + 1, next_at)
end

describe("taskengine.core.codec", function()
  it("brings every kind of value back exactly", function()
    for _, value in ipairs {
      true, false, 0, 1, -1, 31, -32, -33, 127, 128, 255, 256, 65535, 65536,
      1 << 32, (1 << 32) - 1, (1 << 53) + 1, math.maxinteger, math.mininteger,
      -128, -129, -32768, -32769, -(1 << 31), -(1 << 31) - 1,
      10, 10.0, 0.0, -0.0, 0.1, 1 / 0, -1 / 0, 0 / 0, -(0 / 0), 2.0 ^ 63,
      5e-324, "", "text", "h\u{e9}", "\0", "\xff\xfe", ("x"):rep(70000),
      {}, { 1, 2, 3 }, { { { {} } } }, { a = 1, b = { c = "d" } },
      { [1] = "one", [3] = "three" }, { [0] = 0 }, { 4, 8, n = 2 },
      { [1.5] = true, [true] = 1.5, [false] = "", [math.mininteger] = 0 },
      { null, { x = null } }, { ["\xff"] = "\xff" },
      1.0, "\0\xff", { "mixed", x = 1 }, { [1] = 1, [1000000] = 2 },
      { [math.maxinteger] = 1, [1 / 0] = 2 }, { [1] = 1, ["1"] = 2 },
    } do
      round_trip(value)
    end
  end)

  it("keeps nil as a whole value, and null inside of tables", function()
    assert.same({ n = 2, nil, 2 }, table.pack(codec.decode(codec.encode(nil))))
    assert.is_nil((codec.decode(codec.encode(null))))
    assert.equal("userdata", type(null))
    assert.equal(null, codec.decode(codec.encode({ null }))[1])
  end)

  it("writes what the format says", function()
    for hex, value in pairs {
      ["92 04 06"] = { 4, 6 },
      ["90"] = {},
      ["cb 4024000000000000"] = 10.0,
      ["cf 7fffffffffffffff"] = math.maxinteger,
      ["d3 8000000000000000"] = math.mininteger,
      ["a3 e2 82 ac"] = "\u{20ac}",
      ["c4 03 ed a0 80"] = "\xed\xa0\x80", -- a surrogate is no text
      ["c4 02 c0 80"] = "\xc0\x80", -- nor is an overlong form
      ["c4 03 e0 9f bf"] = "\xe0\x9f\xbf",
      ["c4 04 f0 8f bf bf"] = "\xf0\x8f\xbf\xbf",
      ["c4 04 f4 90 80 80"] = "\xf4\x90\x80\x80", -- nor beyond U+10FFFF
      ["c4 02 e2 82"] = "\xe2\x82", -- nor half of a character
      ["c4 09 6161616161616161 80"] = "aaaaaaaa\x80",
      ["a4 f4 8f bf bf"] = "\u{10ffff}",
      ["81 a1 6e 01"] = { n = 1 },
      ["91 c0"] = { null },
      ["82 01 c3 03 c3"] = { true, nil, true },
    } do
      assert.equal(bytes(hex), (codec.encode(value)))
    end
  end)

  it("sends what a table holds and runs no code of its metatable", function()
    local function never()
      error("called")
    end
    local hostile = { __index = never, __len = never, __pairs = never,
      __name = never, __metatable = never, __eq = never }
    local value = setmetatable({ 1, { a = 2 } }, hostile)
    setmetatable(value[2], hostile)
    assert.same({ 1, { a = 2 } }, (codec.decode(codec.encode(value))))
  end)

  it("refuses a table whose metatable says that it cannot be sent", function()
    local own = setmetatable({}, { __cannot_travel = "it is mine; keep off" })
    refused("ECANNOT: value.x[1]: it is mine; keep off", { x = { own } })
    for _, other in ipairs { true, 1, {}, print } do
      assert.same({ 1 }, (codec.decode(codec.encode(setmetatable({ 1 },
        { __cannot_travel = other })))))
    end
    assert.same({ 1 }, (codec.decode(codec.encode(setmetatable({ 1 },
      setmetatable({}, { __index = { __cannot_travel = "no" } }))))))
  end)

  it("takes a table that stands in two places for no cycle", function()
    local shared = { 1 }
    round_trip({ shared, shared, { shared } })
  end)

  describe("refuses", function()
    it("what cannot be sent, and says where", function()
      local thread = coroutine.create(print)
      refused("ECANNOT: value: a function cannot be sent", print)
      refused("ECANNOT: result: a coroutine cannot be sent", thread, "result")
      refused("ECANNOT: value: a light userdata cannot be sent",
        debug.upvalueid(refused, 1))
      refused("ECANNOT: result.x[3]: a userdata cannot be sent",
        { x = { 1, 2, io.stdout } }, "result")
      refused("ECANNOT: value.a.b_2[-1][1.5][true]: a function cannot be sent",
        { a = { b_2 = { [-1] = { [1.5] = { [true] = print } } } } })
      refused('ECANNOT: value["odd key"][""]["2nd"]: a function cannot be sent',
        { ["odd key"] = { [""] = { ["2nd"] = print } } })
      refused([[ECANNOT: value["\"\\\010\255"]: a function cannot be sent]],
        { ['"\\\n\xff'] = print })
      refused('ECANNOT: value["h\u{e9}"]: a function cannot be sent',
        { ["h\u{e9}"] = print })
    end)

    it("keys that are no scalars, and says of which table", function()
      refused("ECANNOT: value.x: a key that is a table cannot be sent",
        { x = { [{}] = 1 } })
      refused("ECANNOT: value: a key that is a function cannot be sent",
        { [print] = 1 })
      refused("ECANNOT: value: a key that is a light userdata cannot be sent",
        { [null] = 1 })
    end)

    it("cycles, at the place where one closes", function()
      local own = {}
      own.self = own
      refused("ECANNOT: value.self: a cycle cannot be sent", own)

      local a, b = {}, {}
      a.b, b.list = b, { 1, a }
      refused("ECANNOT: value[1].b.list[2]: a cycle cannot be sent", { a })

      local wide = { ("x"):rep(1000) }
      wide[2] = wide
      refused("ECANNOT: value[2]: a cycle cannot be sent", wide, "value", 5000)

      local args = { 1 }
      args[2] = { args }
      args_refused("ECANNOT: args[2][1]: a cycle cannot be sent", args)
    end)

    it("more than 100 tables in one another", function()
      round_trip(nested(100))
      round_trip(nested(99, { a = 1 }))
      local out, err, name = codec.encode(nested(101), "result")
      assert.is_nil(out)
      assert.matches("^EDEPTH: result[[1%]]+%.%.%.: nested deeper than 100$",
        err)
      assert.equal("EDEPTH", name)
    end)

    it("one byte more than the limit", function()
      for _, value in ipairs { { 4, 6 }, "text", 70000, { a = { b = 1.5 } },
        ("x"):rep(300), {} } do
        local size = #codec.encode(value)
        assert.equal(size, #codec.encode(value, "value", size))
        if size > 1 then
          refused(("ELIMIT: value: larger than %d bytes (pass a path or a key "
            .. "instead)"):format(size - 1), value, "value", size - 1)
        end
      end
    end)

    it("what would grow without end before it is too large", function()
      local doubled = { 1 }
      for _ = 1, 90 do
        doubled = { doubled, doubled }
      end
      refused("ELIMIT: value: larger than 100000 bytes (pass a path or a key "
        .. "instead)", doubled, "value", 100000)
    end)

    it("misuse, by raising", function()
      assert.error_matches(codec.encode, "value expected")
      assert.error_matches(function() codec.encode(1, "x", 0) end, "a limit is")
      assert.error_matches(function() codec.encode_args(1) end,
        "table expected")
      assert.error_matches(function() codec.decode("x", 3) end,
        "outside the string")
      assert.error_matches(function() codec.decode("x", 0) end,
        "outside the string")
    end)

    it("with a message that ends, however long the path", function()
      local value = { print }
      for _ = 1, 40 do
        value = { [("k"):rep(500)] = value }
      end
      local _, err = codec.encode(value, ("r"):rep(50))
      assert.matches('^ECANNOT: r+%["k+%.%.%."%].*k%.%.%."%]%.%.%.: a '
        .. "function cannot be sent$", err)
      assert.is_true(#err < 250)
      _, err = codec.encode(print, ("r"):rep(5000))
      assert.equal("ECANNOT: ...: a function cannot be sent", err)
    end)
  end)

  describe("arguments", function()
    local function arguments(...)
      return codec.decode_args(assert(codec.encode_args(...)))
    end

    it("keep their places, nil among them", function()
      assert.same({ 0, n = 1 }, table.pack(arguments({})))
      assert.same({ 2, 4, 6, n = 3 }, table.pack(arguments({ 4, 6 })))
      assert.same({ 3, nil, "b", nil, n = 4 },
        table.pack(arguments({ nil, "b", n = 3 })))
      assert.same({ 2, nil, nil, n = 3 }, table.pack(arguments({ n = 2 })))
      assert.same({ 2, nil, 1, n = 3 }, table.pack(arguments({ null, 1 })))
      assert.same({ 1, { null }, n = 2 }, table.pack(arguments({ { null } })))
    end)

    it("travel as one array", function()
      assert.equal(bytes("93 c0 01 c0"), (codec.encode_args({ nil, 1, n = 3 })))
    end)

    it("may be 100 tables deep each, as a result may", function()
      local n, value = arguments({ nested(100) })
      assert.equal(1, n)
      same(nested(100), value)
      local _, err, name = codec.encode_args({ nested(101) })
      assert.matches("^EDEPTH: args", err)
      assert.equal("EDEPTH", name)
    end)

    it("are named in what is refused", function()
      args_refused("ECANNOT: args[2].on_done: a function cannot be sent",
        { 1, { on_done = print } })
      args_refused("ECANNOT: args: a key that is a table cannot be sent",
        { [{}] = 1 })
      args_refused("ELIMIT: args: larger than 10 bytes (pass a path or a key "
        .. "instead)", { ("x"):rep(20) }, 10)
      args_refused("ELIMIT: args: larger than 1048576 bytes (pass a path or a "
        .. "key instead)", { n = math.maxinteger })
    end)

    it("are refused rather than lost", function()
      args_refused("ECANNOT: args.countdown: not an argument: they are "
        .. "numbered from 1", { 1, countdown = 5 })
      args_refused("ECANNOT: args[0]: not an argument: they are numbered "
        .. "from 1", { [0] = 1 })
      args_refused("ECANNOT: args[3]: beyond the count (a list with holes "
        .. "needs its n)", { [3] = 1 })
      args_refused("ECANNOT: args[3]: beyond the count (a list with holes "
        .. "needs its n)", { 1, 2, 3, n = 2 })
      for _, n in ipairs { -1, 1.5, "2", false } do
        args_refused("ECANNOT: args.n: not a count of arguments", { n = n })
      end
    end)

    it("are not decoded from anything but one list", function()
      for _, hex in ipairs { "01", "80", "c0", "", "92 01", "91 01 01",
        "91 c1" } do
        local n, _, name = codec.decode_args(bytes(hex))
        assert.is_nil(n)
        assert.equal("EMALFORMED", name)
      end
      local n, _, name = codec.decode_args(
        "\xdd" .. string.pack(">I4", 2000000) .. ("\x01"):rep(2000000))
      assert.is_nil(n)
      assert.equal("ELIMIT", name)
    end)
  end)

  describe("decoding", function()
    it("finds values one after the other", function()
      local stream = bytes("01 a1 78 c0 91 02")
      local found, at = {}, 1
      while at <= #stream do
        local value
        value, at = codec.decode(stream, at)
        found[#found + 1] = text(value)
      end
      assert.same({ "1", '"x"', "nil", "{1=2}" }, found)
    end)

    it("reads the longer forms that others write", function()
      for hex, value in pairs {
        ["cc 05"] = 5, ["cf 0000000000000005"] = 5, ["d0 05"] = 5,
        ["d3 ffffffffffffffff"] = -1, ["ca 3fc00000"] = 1.5,
        ["d9 01 78"] = "x", ["da 0001 78"] = "x", ["db 00000001 78"] = "x",
        ["c6 00000001 78"] = "x", ["dc 0001 01"] = { 1 },
        ["dd 00000001 01"] = { 1 }, ["de 0001 01 02"] = { 2 },
        ["df 00000001 01 02"] = { 2 }, ["81 cb 3ff0000000000000 02"] = { 2 },
        ["82 a1 78 01 a1 78 02"] = { x = 2 }, ["81 c4 01 78 01"] = { x = 1 },
      } do
        same(value, (codec.decode(bytes(hex))))
      end
    end)

    it("refuses what has no place in Lua, and extension types", function()
      for _, hex in ipairs {
        "cf 8000000000000000", "cf ffffffffffffffff", "c1",
        "81 c0 01", "81 cb 7ff8000000000000 01", "81 90 01", "81 80 01",
        "d4 00 00", "d5 00 0000", "d6 ff 00000000", "d7 ff 0000000000000000",
        "d8 00 00000000000000000000000000000000", "c7 00 00", "c8 0000 00",
        "c9 00000000 00",
      } do
        decode_refused("EMALFORMED", bytes(hex))
        assert.is_nil((testing.codec.skip(bytes(hex))))
      end
    end)

    it("refuses every truncation", function()
      local sample = assert(codec.encode({
        1, -200, 70000, math.mininteger, 1.5, true, "text", "\xff\xfe",
        ("x"):rep(300), ("\xff"):rep(300), { a = { b = { null } } },
        { [1.5] = "", [-7] = {} },
      }))
      for size = 0, #sample - 1 do
        decode_refused("EMALFORMED", sample:sub(1, size))
        assert.is_nil((testing.codec.skip(sample:sub(1, size))))
      end
    end)

    it("goes 100 tables deep and no further", function()
      for _, open in ipairs { "\x91", "\x81\xa1k", "\xdc\0\1" } do
        for _, last in ipairs { "\x90", "\x80" } do
          local deepest = open:rep(99) .. last
          assert.is_table((codec.decode(deepest)))
          assert.equal(#deepest, testing.codec.skip(deepest))
          decode_refused("EDEPTH", open .. deepest)
          local _, _, name = testing.codec.skip(open .. deepest)
          assert.equal("EDEPTH", name)
        end
        decode_refused("EDEPTH", open:rep(100000) .. "\x90")
      end
    end)

    it("reserves no memory for what cannot follow", function()
      decode_refused("EMALFORMED", "\xdd\xff\xff\xff\xff" .. ("\x01"):rep(99))
      decode_refused("EMALFORMED", "\xdf\x7f\xff\xff\xff" .. ("\x01"):rep(99))
      -- Each array by itself could still be filled; all of them could not.
      local size = 200000
      local claims = {}
      for i = 1, 90 do
        claims[i] = "\xdd" .. string.pack(">I4", size - 500)
      end
      local input = table.concat(claims) .. ("\x01"):rep(size - 450)
      collectgarbage()
      collectgarbage("stop")
      local before = collectgarbage("count")
      local value, _, name = codec.decode(input)
      local grown = (collectgarbage("count") - before) * 1024
      collectgarbage("restart")
      assert.is_nil(value)
      assert.equal("EMALFORMED", name)
      assert.is_true(grown < 100 * size, ("grew by %d bytes"):format(grown))
    end)
  end)

  it("leaves nothing on the Lua stack when it refuses bytes", function()
    for _, hex in ipairs { "", "c1", "92 01", "93 01 81 a1 78", "91 01 01" } do
      assert.equal(0, testing.codec.left_behind(bytes(hex)))
    end
    assert.equal(0, testing.codec.left_behind(("\x91"):rep(102)))
  end)

  it("leaves the buffer and the Lua stack as they were when it refuses",
    function()
      local append = testing.codec.append
      assert.same({ "before\x92\4\6", 0 }, { append("before", { 4, 6 }, 9) })
      assert.same({ "before", 0 }, { append("before", { 4, 6 }, 2) })
      assert.same({ "before", 0 },
        { append("before", { 1, { a = { print } } }, 99) })
      assert.same({ "before", 0 }, { append("before", nested(101), 999) })
      assert.same({ "", 0 }, { append("", { "x", print }, 99) })
    end)

  it("keeps no memory, whatever the outcome", function()
    local function all_outcomes()
      local encoded = codec.encode({ 4, 6, { x = "y" } })
      for _ = 1, 100 do
        codec.encode({ 4, 6 })
        codec.encode({ 4, print })
        codec.encode(nested(101))
        codec.encode({ 1 }, "value", 1)
        codec.encode_args({ 1, { print } })
        codec.encode_args({ 1, nil, n = 3 })
        codec.decode(encoded)
        codec.decode(encoded:sub(1, -2))
        codec.decode_args(encoded)
      end
    end
    -- What other specs left for the collector is not ours to count.
    local function live()
      collectgarbage()
      collectgarbage() -- a second round: finalizers ran in the first
      return testing.alloc_live()
    end
    all_outcomes() -- the buffers that are kept for the next call
    local before = live()
    all_outcomes()
    codec.encode(("x"):rep(5000000))
    codec.encode(1)
    assert.equal(before, live())
  end)
end)
