local core = require("taskengine.core")
local header = require("taskengine.header")

describe("taskengine.header", function()
  local id = "Producer0009" .. "00000003"
  local fields = {
    queue = "a-queue", name = "the-name", limit_key = "key", alias = "by-me",
    flags = 0x15, attempt = 7, soft_time_limit_ms = 12345678,
    flow = "Producer0008" .. "00000000", node = 0x01020304,
  }
  local envelope = core.envelope.pack(core.envelope.template(fields), id, {})

  it("knows where the fields of an envelope stand", function()
    assert.equal(id, header.id(envelope))
    assert.same({ 0x15, 7 },
      { envelope:byte(header.FLAGS_AT, header.ATTEMPT_AT) })
    assert.equal(12345678,
      (string.unpack(">I4", envelope, header.SOFT_TIME_LIMIT_AT)))
    assert.equal(fields.flow,
      envelope:sub(header.FLOW_AT, header.FLOW_AT + header.ID_BYTES - 1))
    assert.equal(0x01020304, (string.unpack(">I4", envelope, header.NODE_AT)))
    assert.same({ #"a-queue", #"the-name", #"key", #"by-me" },
      { envelope:byte(header.LENGTHS_AT, header.ALIAS_LENGTH_AT) })
    assert.equal("a-queuethe-namekeyby-me", envelope:sub(header.NAMES_AT,
      header.NAMES_AT + #"a-queuethe-namekeyby-me" - 1))
  end)

  it("knows where its expiry stands", function()
    local at = header.EXPIRY_AT
    local late = envelope:sub(1, at - 1) .. string.pack(">I8", 77)
      .. envelope:sub(at + 8)
    assert.equal(77, core.envelope.read(late).expiry_ms)
    assert.equal(0, core.envelope.read(envelope).expiry_ms)
  end)

  it("knows who has made an id", function()
    assert.equal("Producer0009", header.producer(id))
    assert.equal(id, core.envelope.id(header.producer(id), 3))
  end)
end)
