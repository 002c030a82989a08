local core = require("taskengine.core")
local record = require("taskengine.record")
local te = require("taskengine")

local ID <const> = "Producer0001" .. "00000001"

describe("taskengine.record", function()
  it("reads values, nil too", function()
    local outcome = record.read("S" .. core.codec.encode({ 1, { a = "b" } }),
      ID)
    assert.equal("SUCCESS", outcome.state)
    assert.same({ 1, { a = "b" } }, outcome.value)
    outcome = record.read('J[1,{"a":"b"}]', ID)
    assert.same({ state = "SUCCESS", value = { 1, { a = "b" } } }, outcome)
    assert.same({ state = "SUCCESS" }, record.read("Jnull", ID))
    outcome = record.read("S\xc0", ID)
    assert.equal("SUCCESS", outcome.state)
    assert.is_nil(outcome.value)
  end)

  it("writes failures that it can read", function()
    local fields = { kind = "Mine", message = "no", traceback = "tb",
      value = { 1, te.null } }
    local outcome = record.read(record.failure(fields), ID, "add")
    assert.equal("FAILURE", outcome.state)
    assert.equal(te.TaskError, getmetatable(outcome.error))
    assert.same({ "Mine", "no", "tb", { 1, te.null }, ID, "add" }, {
      outcome.error.kind, outcome.error.message, outcome.error.traceback,
      outcome.error.value, outcome.error.id, outcome.error.name })
    outcome = record.read(record.revocation { kind = "Revoked",
      message = "m" }, ID)
    assert.same({ "REVOKED", "Revoked" }, { outcome.state, outcome.error.kind })
  end)

  it("leaves out a raised value that cannot travel, and says why", function()
    local circle = {}
    circle.again = circle
    for why, value in pairs {
      ["error.value: a function cannot be sent"] = print,
      ["error.value.cb: a function cannot be sent"] = { cb = print },
      ["error.value.again"] = circle,
      ["larger than 1048576 bytes"] = ("x"):rep(1024 * 1024),
    } do
      local bytes = record.failure { kind = "Mine", message = "no",
        value = value }
      local e = record.read(bytes, ID).error
      assert.same({ "Mine", nil }, { e.kind, e.value })
      assert.matches("^no %(what was raised cannot travel: ", e.message)
      assert.matches(why, e.message, 1, true)
    end
  end)

  it("says of what never ran why that is, once", function()
    local function error_of(message, cause)
      return record.read(record.failure {
        kind = "DependencyFailed",
        message = message,
        value = { id = ID, error = cause },
      }, ID).error
    end
    local e = error_of("it needs x", { kind = "Mine", message = "no" })
    assert.same({ "it needs x: Mine: no", "Mine", "no", ID },
      { e.message, e.cause.kind, e.cause.message, e.cause.id })
    assert.equal(e.message, error_of(e.message, e.cause).message)
    assert.equal("it needs x", error_of("it needs x").message)
  end)

  it("says what is not known", function()
    for bytes, message in pairs {
      ["-"] = "its result is gone: it has expired, was forgotten or never kept",
      ["?"] = "no such task was ever enqueued, or nothing is remembered of it",
    } do
      local outcome = record.read(bytes, ID)
      assert.is_nil(outcome.state)
      assert.same({ "Forgotten", message },
        { outcome.error.kind, outcome.error.message })
    end
  end)

  it("survives every malformed record", function()
    local good = record.failure { kind = "K", message = "m", traceback = "t",
      value = { { 1 }, "x", 2.5 } }
    for cut = 0, #good do
      for flip = 0, 255, 5 do
        local bytes = good:sub(1, cut) .. string.char(flip) .. good:sub(cut + 2)
        local outcome = record.read(bytes, ID)
        if outcome.error then
          assert.equal("string", type(outcome.error.kind))
          assert.equal("string", type(outcome.error.message))
          assert.equal("string", type(tostring(outcome.error)))
        end
      end
    end
    for _, bytes in ipairs { "", "S", "X\xc0", "S\xc0\xc0", "F\xc1" } do
      assert.equal("Malformed", record.read(bytes, ID).error.kind)
    end
    assert.same({ "Error", "no message" }, {
      record.read("F\x07", ID).error.kind,
      record.read("F\x81\xa4kind\x07", ID).error.message })
  end)
end)
