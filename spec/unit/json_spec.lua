local core = require("taskengine.core")
local seed = require("spec.support.seed")
local values = require("spec.support.values")

local json = core.json
local null = core.codec.null
local text = values.text

local function decoded(input, expected)
  local value, err = json.decode(input)
  assert.is_nil(err)
  assert.equal(text(expected), text(value))
end

local function decode_refused(message, input)
  local value, err, name = json.decode(input)
  assert.is_nil(value)
  assert.equal(message, err)
  assert.equal(message:match("^%u+"), name)
end

local function encode_refused(message, ...)
  local out, err, name = json.encode(...)
  assert.is_nil(out)
  assert.equal(message, err)
  assert.equal(message:match("^%u+"), name)
end

local function nested(depth)
  return ("["):rep(depth) .. ("]"):rep(depth)
end

describe("taskengine.core.json", function()
  describe("decode", function()
    it("keeps integers and floats apart", function()
      decoded("10", 10)
      decoded("10.0", 10.0)
      decoded("1e1", 10.0)
      decoded("-0.0", -0.0)
      decoded("0.1", 0.1)
      decoded("9007199254740993", 9007199254740993)
      decoded("9223372036854775807", math.maxinteger)
      decoded("-9223372036854775808", math.mininteger)
      decoded("5e-324", 5e-324)
    end)

    it("reads every kind of value", function()
      decoded(" [4, 6] ", { 4, 6 })
      decoded("{}", {})
      decoded("true", true)
      decoded('[null, {"x": null}]', { null, { x = null } })
      decoded('{"a": {"b": [[]]}, "": false}',
        { a = { b = { {} } }, [""] = false })
      decoded([["h\u00e9\ud83d\ude00\u0000\"\\\/\b\f\n\r\t"]],
        "h\u{e9}\u{1f600}\0\"\\/\b\f\n\r\t")
      assert.same({ n = 1 }, table.pack(json.decode("null")))
    end)

    it("says where it stumbled", function()
      decode_refused("EMALFORMED: line 1, column 4: ']' expected near '2'",
        "[1 2]")
      decode_refused("EMALFORMED: line 3, column 4: invalid token near 'tru'",
        '{"a":\n\n tru}')
      decode_refused("EMALFORMED: line 1, column 4: end of file expected near "
        .. "'x'", "[1]x")
      decode_refused("EMALFORMED: line 1, column 0: unexpected token near end "
        .. "of file", "")
      decode_refused("EMALFORMED: line 1, column 10: duplicate object key "
        .. [[near '"a"']], '{"a":1,"a":2}')
    end)

    it("refuses what is not JSON", function()
      for _, input in ipairs { "01", "+1", ".5", "1.", "0x10", "NaN",
        "Infinity", "'a'", "[1,]", "{1:2}", "{a:1}", '"\n"', '"\\ud800"',
        '"\xff"', '"\xc0\x80"', "nul", "[1]\0", "\xef\xbb\xbf1",
        '{"\\u0000":1}' } do
        local value, err, name = json.decode(input)
        assert.is_nil(value)
        assert.matches("^EMALFORMED: line %d+, column %d+: ", err)
        assert.equal("EMALFORMED", name)
      end
    end)

    it("refuses numbers beyond 64 bits", function()
      decode_refused("ECANNOT: line 1, column 19: too big integer near "
        .. "'9223372036854775808' (numbers have 64 bits)",
        "9223372036854775808")
      decode_refused("ECANNOT: line 2, column 20: too big negative integer "
        .. "near '-9223372036854775809' (numbers have 64 bits)",
        "[\n-9223372036854775809]")
      decode_refused("ECANNOT: line 1, column 5: real number overflow near "
        .. "'1e999' (numbers have 64 bits)", "1e999")
    end)

    it("goes 100 levels deep and no further", function()
      assert.is_table(json.decode(nested(100)))
      decode_refused("EDEPTH: nested deeper than 100", nested(101))
      decode_refused("EDEPTH: nested deeper than 100", nested(2000))
      decode_refused("EDEPTH: nested deeper than 100", nested(100000))
      local objects = ('{"k":'):rep(100) .. "{}" .. ("}"):rep(100)
      decode_refused("EDEPTH: nested deeper than 100", objects)
    end)
  end)

  describe("encode", function()
    it("keeps integers and floats apart", function()
      for expected, value in pairs {
        ["10"] = 10, ["10.0"] = 10.0, ["-0.0"] = -0.0, ["0.1"] = 0.1,
        ["0.30000000000000004"] = 0.1 + 0.2, ["1e+300"] = 1e300,
        ["9223372036854775807"] = math.maxinteger,
        ["-9223372036854775808"] = math.mininteger,
        ["9007199254740993"] = 9007199254740993,
        ["1.7976931348623157e+308"] = 1.7976931348623157e308,
      } do
        assert.equal(expected, (json.encode(value)))
      end
    end)

    it("writes objects in the order of their keys", function()
      assert.equal('{"":0,"B":1,"a":2,"aa":3,"b":4}',
        (json.encode({ b = 4, aa = 3, a = 2, B = 1, [""] = 0 })))
      assert.equal('{"-1":"x","1":"y","1.5":"z","a":1,"true":2}',
        (json.encode({ [1] = "y", [-1] = "x", [1.5] = "z", a = 1,
          [true] = 2 })))
    end)

    it("writes every kind of value", function()
      assert.equal("null", (json.encode(nil)))
      assert.equal("[]", (json.encode({})))
      assert.equal('[true,false,null,[4,6],{"a":{"b":[]}}]',
        (json.encode({ true, false, null, { 4, 6 }, { a = { b = {} } } })))
      assert.equal('"h\u{e9}\u{1f600}'
        .. [[\u0000\"\\/\b\f\n\r\t\u001b\u007f"]],
        (json.encode("h\u{e9}\u{1f600}\0\"\\/\b\f\n\r\t\27\127")))
    end)

    it("writes a table that says how many there are as a list", function()
      for expected, value in pairs {
        ["[4,8]"] = { 4, 8, n = 2 },
        ["[null,8,null]"] = { nil, 8, n = 3 },
        ["[1,null]"] = { 1, null, n = 2 },
        ['[[1],{"a":[null,2]}]'] = { { 1, n = 1 }, { a = { nil, 2, n = 2 } },
          n = 2 },
        -- Without an element it may as well be a count of something else.
        ['{"n":0}'] = { n = 0 },
        ['{"n":5}'] = { n = 5 },
      } do
        assert.equal(expected, (json.encode(value)))
        assert.equal(expected, (json.encode(value, { exact = true })))
      end
      local list = { n = 300 }
      for i = 1, 300 do
        list[i] = i
      end
      assert.same("[1," .. table.concat(list, ",", 2) .. "]",
        (json.encode(list)))
    end)

    it("takes nothing else for a list", function()
      for expected, value in pairs {
        ['{"1":4,"2":8,"n":1}'] = { 4, 8, n = 1 },
        ['{"1":4,"n":1.0}'] = { 4, n = 1.0 },
        ['{"1":4,"n":"1"}'] = { 4, n = "1" },
        ['{"1":4,"m":1}'] = { 4, m = 1 },
        ['{"1":4,"a":0,"n":1}'] = { 4, n = 1, a = 0 },
        ['{"0":4,"1":5,"n":2}'] = { [0] = 4, 5, n = 2 },
        ['{"1":4,"n":9223372036854775807}'] = { 4, n = math.maxinteger },
      } do
        assert.equal(expected, (json.encode(value)))
        encode_refused("ECANNOT: value[" .. expected:match("%d")
          .. "]: a key that is a number cannot be written as JSON", value,
          { exact = true })
      end
    end)

    it("indents", function()
      assert.equal('{\n  "a": [\n    1,\n    2\n  ],\n  "b": [],\n  "c": {\n'
        .. '    "d": null\n  }\n}',
        (json.encode({ a = { 1, 2 }, b = {}, c = { d = null } },
          { indent = 2 })))
      assert.equal("1.5", (json.encode(1.5, { indent = 2 })))
    end)

    it("refuses what JSON cannot say, and says where", function()
      encode_refused("ECANNOT: result.x[3]: nan cannot be written as JSON",
        { x = { 1, 2, 0 / 0 } }, { root = "result" })
      encode_refused("ECANNOT: value: -inf cannot be written as JSON", -1 / 0)
      encode_refused("ECANNOT: value.a: bytes that are not UTF-8 cannot be "
        .. "written as JSON", { a = "ok\xff" })
      -- The [] looks like the missing byte where values are packed.
      encode_refused("ECANNOT: value[1]: bytes that are not UTF-8 cannot be "
        .. "written as JSON", { "\xc3", {} })
      encode_refused([[ECANNOT: value["k\255"]: bytes that are not UTF-8 ]]
        .. "cannot be written as JSON", { ["k\xff"] = 1 })
      encode_refused('ECANNOT: value.x["1"]: another key has the same name in '
        .. "JSON", { x = { [1] = "a", ["1"] = "b" } })
      encode_refused("ECANNOT: value.f: a function cannot be sent",
        { f = print })
    end)

    it("replaces bytes that are no text when asked to", function()
      local lossy = { lossy = true }
      assert.equal('"a\u{fffd}b\u{fffd}\u{fffd}\u{20ac}\u{fffd}"',
        (json.encode("a\xffb\xe2\x82\u{20ac}\xc0", lossy)))
      assert.equal('{"\u{fffd}":"plain"}',
        (json.encode({ ["\xff"] = "plain" }, lossy)))
      assert.equal('{"\u{fffd}":1,"\u{fffd}":1}',
        (json.encode({ ["\xfe"] = 1, ["\xff"] = 1 }, lossy)))
    end)

    it("refuses keys that would not come back, when asked to", function()
      local function refused(what, value)
        encode_refused("ECANNOT: value" .. what .. " cannot be written as JSON",
          value, { exact = true })
      end
      refused(".x[2]: a key that is a number", { x = { nil, "hole" } })
      refused("[-1]: a key that is a number", { [-1] = 1 })
      refused("[1.5]: a key that is a number", { [1.5] = 1 })
      refused("[1]: a key that is a number", { "mixed", x = 1 })
      refused("[true]: a key that is a boolean", { [true] = 1 })
      refused('["a\\000"]: a key that has a zero byte', { ["a\0"] = 1 })
      assert.equal('{"":[1,{}],"a":1}', (json.encode(
        { a = 1, [""] = { 1, setmetatable({}, {}) } }, { exact = true }))
        :gsub("%[%]", "{}"))
    end)

    it("refuses a byte more than the limit", function()
      local limits <const> = { root = "result", limit = 20 }
      local too_large = "ELIMIT: result: larger than 20 bytes (pass a path or"
        .. " a key instead)"
      assert.equal(20, #json.encode(("x"):rep(18), limits))
      encode_refused(too_large, ("x"):rep(19), limits)
      encode_refused(too_large, ("x"):rep(1000), limits)
      encode_refused(too_large, ("\n"):rep(10), limits)
      -- 46 bytes as MessagePack
      assert.equal("[0.5,0.5,0.5,0.5]",
        (json.encode({ 0.5, 0.5, 0.5, 0.5 }, limits)))
      assert.equal(20, #json.encode({ 0.5, 0.5, 0.5, 0.5, 10 }, limits))
      encode_refused(too_large, { 0.5, 0.5, 0.5, 0.5, 100 }, limits)
      encode_refused(too_large, { a = ("x"):rep(9), b = { {} } }, limits)
    end)

    it("refuses what cannot fit before it is written", function()
      local many = { [""] = 0 / 0 }
      for i = 1, 4 do
        many[i] = i
      end
      local too_large = "ELIMIT: value: larger than %d bytes (pass a path or a"
        .. " key instead)"
      encode_refused(too_large:format(24), many, { limit = 24 })
      encode_refused("ECANNOT: value.a: nan cannot be written as JSON",
        { a = 0 / 0, b = { {}, {} } }, { limit = 20 })
      encode_refused(too_large:format(19), { { 0 / 0 }, 1, 2, 3, 4, 5, 6, 7, 8,
        9 }, { limit = 19 })
      -- Each of the smallest that there are.
      for size, value in pairs {
        [2] = {}, [3] = { 0 }, [5] = { 0, 0 }, [6] = { [""] = 0 },
        [8] = { [""] = { 0 } },
      } do
        assert.equal(size, #json.encode(value, { limit = size }))
        encode_refused(too_large:format(size - 1), value, { limit = size - 1 })
      end
    end)

    it("goes 100 levels deep and no further", function()
      local deepest = json.decode(nested(100))
      assert.equal(nested(100), (json.encode(deepest)))
      local _, err, name = json.encode({ deepest })
      assert.matches("^EDEPTH: value.*: nested deeper than 100$", err)
      assert.equal("EDEPTH", name)
    end)

    it("raises on misuse", function()
      for message, options in pairs {
        ["unknown option 'indnt'"] = { indnt = 2 },
        ["indent is an integer from 0 to 16"] = { indent = 17 },
        ["lossy is true or false"] = { lossy = 1 },
        ["exact is true or false"] = { exact = "yes" },
        ["limit is an integer from 1 to 1 GiB"] = { limit = 0 },
        ["root is a string"] = { root = 1 },
        ["options have names"] = { 2 },
        ["table expected"] = 2,
      } do
        assert.error_matches(function()
          json.encode({}, options)
        end, message)
      end
      assert.error_matches(json.encode, "value expected")
      assert.error_matches(json.decode, "string expected")
    end)
  end)

  it("brings 3,000 random values back exactly, however written", function()
    seed.begin()
    for _ = 1, 3000 do
      local value = values.random_json(4, null)
      local whole = value == null and "nil" or text(value)
      local line = assert(json.encode(value))
      assert.equal(whole, text((json.decode(line))))
      local indented = assert(json.encode(value, { indent = 3 }))
      assert.equal(whole, text((json.decode(indented))))
    end
  end)

  it("survives mutated text", function()
    seed.begin()
    local outcomes = { ok = 0, refused = 0 }
    for _ = 1, 3000 do
      local line = assert(json.encode(values.random_json(3, null)))
      local at = math.random(0, #line)
      local junk = ('[]{}",:e.-1\\\0\xff'):sub(math.random(14))
      local _, _, name = json.decode(line:sub(1, at) .. junk:sub(1, 1)
        .. line:sub(at + math.random(0, 2)))
      local outcome = name and "refused" or "ok"
      outcomes[outcome] = outcomes[outcome] + 1
    end
    assert.is_true(outcomes.ok > 100)
    assert.is_true(outcomes.refused > 100)
  end)

  it("keeps no memory, whatever the outcome", function()
    local function all_outcomes()
      for _ = 1, 20 do
        json.encode({ a = { b = 1 } })
        json.encode({ a = { b = 0 / 0 } })
        json.encode({ [1] = 1, ["1"] = 2 })
        json.encode({ [1.5] = 1 }, { exact = true })
        json.encode({ "long" }, { limit = 1 })
        json.encode(print)
        json.decode('{"a":[1,2]}')
        json.decode('{"a":[1,2}')
        json.decode(nested(101))
      end
      collectgarbage()
    end
    all_outcomes()
    local before = core.testing.alloc_live()
    all_outcomes()
    assert.equal(before, core.testing.alloc_live())
  end)
end)
