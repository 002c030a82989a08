local core = require("taskengine.core")
local reference = require("spec.support.envelope")

local envelope = core.envelope

local PRODUCER <const> = "AbcdefGHI012"
local HEADER_BYTES <const> = 102

-- With a value of its own in every field that the engine reads.
local function full()
  return {
    id = reference.id(PRODUCER, 62), version = 1, flags = 7, attempt = 3,
    deaths = 2, reaps = 9, priority = 5, delivery = 0xfffffffe,
    expiry_ms = 1795342350123, sent_ms = 1795342350000,
    time_limit_ms = 0xfffffffd, soft_time_limit_ms = 250, ttl_s = 86401,
    flow = reference.id(PRODUCER, 0), node = 0xfffffffc,
    digest = "\0unique digest\0\1",
    queue = "mail", name = "send.it", limit_key = "per-user",
    alias = "order-7", body = "\x91\x93\x01\xc0\xa1x",
  }
end

local function read_by_engine(bytes)
  local got = assert(envelope.read(bytes))
  got.ttl_s, got.result_ttl_s = got.result_ttl_s, nil
  got.digest, got.unique = got.unique, nil
  return got
end

local function assert_malformed(bytes)
  local got, why, code = envelope.read(bytes)
  assert.is_nil(got)
  assert.equal("EMALFORMED", code)
  assert.matches("^EMALFORMED: ", why)
end

describe("taskengine.core.envelope", function()
  it("reads every field of the header, and the names", function()
    local parts = full()
    assert.same(parts, read_by_engine(reference.new(parts)))
  end)

  it("reads names of the greatest length", function()
    local parts = full()
    for _, name in ipairs { "queue", "name", "limit_key", "alias" } do
      parts[name] = name:sub(1, 1):rep(255)
    end
    assert.same(parts, read_by_engine(reference.new(parts)))
  end)

  it("says nothing of a flow and a digest that are not there", function()
    local parts = full()
    parts.flow, parts.digest, parts.node = nil, nil, nil
    local got = read_by_engine(reference.new(parts))
    assert.same({ "", "", 0 }, { got.flow, got.digest, got.node })
  end)

  it("refuses every truncation, whatever stands behind it", function()
    local bytes = reference.new(full())
    local body_at = #bytes - #full().body
    for size = 0, body_at do
      -- The string ends there, so that a sanitizer sees a read behind it.
      assert_malformed(bytes:sub(1, size))
    end
    assert.is_table(envelope.read(bytes:sub(1, body_at + 1)))
  end)

  it("refuses one without a queue or a name", function()
    for _, name in ipairs { "queue", "name" } do
      local parts = full()
      parts[name] = ""
      assert_malformed(reference.new(parts))
    end
  end)

  it("refuses to open every truncation of the body", function()
    local parts = full()
    parts.body = "\x92\x93\x01\xc0\xa1x\x81\xa1r\xa1y"
    local bytes = reference.new(parts)
    assert.same({ parts.id, parts.name, { r = "y" }, 1, nil, "x", n = 6 },
      table.pack(envelope.open(bytes)))
    for size = 0, #bytes - 1 do
      local got, why, code = envelope.open(bytes:sub(1, size))
      assert.is_nil(got)
      assert.is_string(why)
      assert.is_string(code)
    end
    assert.is_nil((envelope.open(bytes .. "\0")))
  end)

  it("passes over what is in front of a body", function()
    local parts = full()
    parts.body = "in front\x91\x91\x07"
    local bytes = reference.new(parts)
    assert.same({ parts.id, parts.name, nil, 7, n = 4 },
      table.pack(envelope.open(bytes, 8)))
    for ahead = 9, #parts.body + 1 do
      local got, _, code = envelope.open(bytes, ahead)
      assert.is_nil(got)
      assert.is_string(code)
    end
    assert.has_error(function()
      envelope.open(bytes, -1)
    end)
  end)

  it("opens arguments with and without more", function()
    local parts = full()
    parts.body = "\x91\x90"
    assert.same({ parts.id, parts.name, nil, n = 3 },
      table.pack(envelope.open(reference.new(parts))))
    for _, body in ipairs { "\x90", "\x93\x90\x80\x80", "\x91\x01", "\x92\x90",
      "\x91\x90\x80", "\x92\x90\x01", "\xc0", "\x80" } do
      parts.body = body
      assert.is_nil((envelope.open(reference.new(parts))))
    end
  end)

  it("packs what the protocol says", function()
    local parts = full()
    local template = envelope.template {
      queue = parts.queue, name = parts.name, limit_key = parts.limit_key,
      alias = parts.alias, priority = parts.priority, flags = parts.flags,
      attempt = parts.attempt, time_limit_ms = parts.time_limit_ms,
      soft_time_limit_ms = parts.soft_time_limit_ms,
      result_ttl_s = parts.ttl_s, flow = parts.flow, node = parts.node,
      unique = parts.digest,
    }
    local before = os.time()
    local bytes = assert(envelope.pack(template, parts.id, { 1, nil, "x",
      n = 3 }))
    local got = reference.read(bytes)
    assert.is_true(got.sent_ms >= before * 1000)
    assert.is_true(got.sent_ms < (os.time() + 2) * 1000)
    -- What only Redis sets.
    parts.deaths, parts.reaps, parts.delivery, parts.expiry_ms = 0, 0, 0, 0
    parts.sent_ms = got.sent_ms
    assert.equal(reference.new(parts), bytes)
    assert.equal(HEADER_BYTES - 20 + 4 + 7 + 8 + 7, #template)
  end)

  it("packs many, each with the next id", function()
    local template = envelope.template { queue = "default", name = "add" }
    local list, bytes = envelope.pack_many(template, PRODUCER, 62,
      { { 1 }, { 2 }, { 3 } }, 2, 3, { r = "root" })
    local sum = 0
    for i, one in ipairs(list) do
      sum = sum + #one
      assert.same({ reference.id(PRODUCER, 61 + i), "add", { r = "root" },
        i + 1, n = 4 }, table.pack(envelope.open(one)))
    end
    assert.same({ 2, sum }, { #list, bytes })
    assert.same({ {}, 0 }, { envelope.pack_many(template, PRODUCER, 1, {}, 1,
      0) })
  end)

  it("says which of many cannot travel", function()
    local template = envelope.template { queue = "default", name = "add" }
    local got, why, code = envelope.pack_many(template, PRODUCER, 1,
      { { 1 }, { print } }, 1, 2)
    assert.same({ nil, "ECANNOT" }, { got, code })
    assert.matches("call 2: args%[1%]: a function cannot be sent", why)
  end)

  it("refuses fields that are none", function()
    local function refused(fields, message)
      fields.queue = fields.queue or "default"
      fields.name = fields.name or "add"
      local ok, why = pcall(envelope.template, fields)
      assert.is_false(ok)
      assert.matches(message, why, 1, true)
    end
    refused({ queue = "" }, "queue: not a valid name")
    refused({ queue = ("q"):rep(129) }, "queue: not a valid name")
    refused({ name = "a\nb" }, "name: not a valid name")
    refused({ name = 7 }, "name: no string")
    refused({ alias = "a b" }, "alias: not a valid name")
    refused({ priority = 10 }, "priority: not an integer from 0 to 9")
    refused({ priority = -1 }, "priority: not an integer from 0 to 9")
    refused({ attempt = 256 }, "attempt: not an integer from 0 to 255")
    refused({ flags = 1.5 }, "flags: not an integer from 0 to 255")
    refused({ result_ttl_s = 2 ^ 32 | 0 }, "result_ttl_s: not an integer")
  end)

  describe("with other arguments", function()
    local EXTRA <const> = { h = { trace = "t" } }

    -- The envelope with the body that it would have.
    local function with(parts, ...)
      parts.id = reference.id(PRODUCER, 1)
      local body = assert(envelope.body(reference.new(parts), ...))
      parts.body = body
      return reference.new(parts), body
    end

    it("has the same form", function()
      for _, flags in ipairs { 0, envelope.JSON } do
        local bytes = with({ flags = flags }, { 7, nil, n = 2 }, EXTRA)
        assert.same({ reference.id(PRODUCER, 1), "add", EXTRA, 7, nil, n = 5 },
          table.pack(envelope.open(bytes)))
      end
      local _, body = with({}, {})
      assert.equal("\x91\x90", body)
    end)

    it("has no inputs of its flow among them", function()
      local _, body = with({ flow = reference.id(PRODUCER, 0), node = 7 },
        { 7 })
      assert.equal("\0\0\0\0\x91\x91\7", body)
    end)

    it("is not larger than the limit, nor with what cannot travel", function()
      local bytes = reference.new { id = reference.id(PRODUCER, 1) }
      for code, args in pairs { ELIMIT = { ("x"):rep(100) },
        ECANNOT = { print } } do
        local body, why, got = envelope.body(bytes, args, nil, 50)
        assert.same({ nil, code }, { body, got })
        assert.matches("args", why, 1, true)
      end
      assert.error_matches(function()
        envelope.body("x", {})
      end, "not an envelope", 1, true)
    end)
  end)

  it("takes no field that a metatable makes up", function()
    local made_up = setmetatable({}, { __index = function(_, name)
      return name == "queue" and ("q"):rep(64) or nil
    end })
    assert.error_matches(function()
      envelope.template(made_up)
    end, "queue: not a valid name", 1, true)
  end)

  it("refuses a template that is none", function()
    local template = envelope.template { queue = "default", name = "add" }
    local id = reference.id(PRODUCER, 1)
    for size = 0, #template - 1 do
      assert.is_false((pcall(envelope.pack, template:sub(1, size), id, {})))
    end
    assert.is_false((pcall(envelope.pack, template .. "x", id, {})))
    assert.is_false((pcall(envelope.pack, "\2" .. template:sub(2), id, {})))
    assert.is_false((pcall(envelope.pack, template, id .. "x", {})))
  end)

  describe("with a body of JSON", function()
    local template = envelope.template { queue = "default", name = "add",
      flags = envelope.JSON }
    local id = reference.id(PRODUCER, 1)

    local function body_of(bytes)
      return envelope.read(bytes).body
    end

    it("is plain to read", function()
      assert.equal('[[4,6.0,"h\u{e9}"]]',
        body_of(envelope.pack(template, id, { 4, 6.0, "h\u{e9}" })))
      assert.equal('[[null,{"a":[]},null],{"h":{"trace":"t"},"r":"x"}]',
        body_of(envelope.pack(template, id, { n = 3, nil, { a = {} } },
          { h = { trace = "t" }, r = "x" })))
      local many = assert(envelope.pack_many(template, PRODUCER, 1,
        { { 1 }, {}, { "x" } }, 1, 3))
      assert.same({ "[[1]]", "[[]]", '[["x"]]' },
        { body_of(many[1]), body_of(many[2]), body_of(many[3]) })
    end)

    it("brings each argument back to its place", function()
      local opened = table.pack(envelope.open(assert(envelope.pack(template,
        id, { n = 4, nil, 1.0, { core.codec.null, 2 } }, { p = "y" }))))
      assert.same({ n = 7, id, "add", { p = "y" }, nil, 1.0,
        { core.codec.null, 2 }, nil }, opened)
      assert.equal("float", math.type(opened[5]))
      opened = table.pack(envelope.open(assert(envelope.pack(template, id,
        {}))))
      assert.same({ n = 3, id, "add", nil }, opened)
    end)

    it("takes arguments as deep as MessagePack does", function()
      local deep = {}
      for _ = 2, 100 do
        deep = { deep }
      end
      local bytes = assert(envelope.pack(template, id, { deep }))
      assert.same(deep, (select(4, envelope.open(bytes))))
      local _, why, code = envelope.pack(template, id, { { deep } })
      assert.matches("^EDEPTH: args%[1%]%[1%].*: nested deeper than 100$", why)
      assert.equal("EDEPTH", code)
    end)

    it("says where something is that JSON cannot hold", function()
      for path, args in pairs {
        ["args[2].on_done: a function cannot be sent"] =
          { 1, { on_done = print } },
        ["args[1].x[2]: nan cannot be written as JSON"] =
          { { x = { 1, 0 / 0 } } },
        ["args[1]: bytes that are not UTF-8 cannot be written as JSON"] =
          { "\xff" },
        ["args[3][1]: a key that is a number cannot be written as JSON"] =
          { 1, 2, { "mixed", x = 1 } },
      } do
        local bytes, why, code = envelope.pack(template, id, args)
        assert.is_nil(bytes)
        assert.equal("ECANNOT: " .. path, why)
        assert.equal("ECANNOT", code)
      end
      local _, why = envelope.pack(template, id, {}, { h = { x = 1 / 0 } })
      assert.equal("ECANNOT: options.h.x: inf cannot be written as JSON", why)
      _, why = envelope.pack_many(template, PRODUCER, 1, { {}, { 0 / 0 } }, 1,
        2)
      assert.equal("ECANNOT: call 2: args[1]: nan cannot be written as JSON",
        why)
    end)

    it("is not larger than the limit", function()
      assert.is_string(envelope.pack(template, id, { "xxxxxx" }, nil, 10))
      local bytes, why, code = envelope.pack(template, id, { "xxxxxxx" }, nil,
        10)
      assert.is_nil(bytes)
      assert.equal("ELIMIT: args: larger than 10 bytes (pass a path or a key"
        .. " instead)", why)
      assert.equal("ELIMIT", code)
    end)

    it("is malformed when it is anything else", function()
      local head = assert(envelope.pack(template, id, {})):sub(1, -5)
      for _, body in ipairs { "[]", "[1]", "[{}]", "{}", "[[1]", "1",
        "[[1]]x", "[[],{},{}]", "[[],1]", '[[],"x"]', "\x91\x90", "[[],",
        '[["\xff"]]' } do
        local opened, why, code = envelope.open(head .. body)
        assert.is_nil(opened, body)
        assert.equal("EMALFORMED: malformed data", why)
        assert.equal("EMALFORMED", code)
      end
    end)
  end)

  it("counts ids in base 62", function()
    for _, number in ipairs { 0, 1, 61, 62, 3843, 3844, 62 ^ 8 - 1 | 0 } do
      local id = reference.id(PRODUCER, number)
      assert.equal(id, envelope.id(PRODUCER, number))
      assert.equal(number, envelope.seq(id))
    end
    assert.is_nil(envelope.seq("order-7"))
    assert.is_nil(envelope.seq(PRODUCER .. "0000000_"))
  end)

  it("refuses numbers that are none", function()
    local template = envelope.template { queue = "default", name = "add" }
    local last <const> = 62 ^ 8 - 1 | 0
    for _, case in ipairs {
      { "sequence number", envelope.id, PRODUCER, -1 },
      { "sequence number", envelope.id, PRODUCER, last + 1 },
      { "sequence number", envelope.pack_many, template, PRODUCER, last + 1,
        { {} }, 1, 1 },
      { "no sequence numbers are left", envelope.pack_many, template, PRODUCER,
        last, { {}, {} }, 1, 2 },
      { "below 1", envelope.pack_many, template, PRODUCER, 1, {},
        math.mininteger, math.maxinteger },
      { "too many", envelope.pack_many, template, PRODUCER, 1, {}, 1,
        math.maxinteger },
      { "a limit is", envelope.pack_many, template, PRODUCER, 1, {}, 1, 0, nil,
        -1 },
      { "a limit is", envelope.pack, template, ("x"):rep(20), {}, nil, 0 },
    } do
      local ok, why = pcall(table.unpack(case, 2, 10))
      assert.is_false(ok)
      assert.matches(case[1], why, 1, true)
    end
  end)

  it("draws producers that are names of their own", function()
    local seen = {}
    for _ = 1, 100 do
      local producer = envelope.new_producer()
      assert.matches("^%a%w%w%w%w%w%w%w%w%w%w%w$", producer)
      assert.is_nil(seen[producer])
      seen[producer] = true
    end
  end)
end)
