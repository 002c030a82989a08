local client = require("taskengine.client")
local core = require("taskengine.core")
local loop = require("taskengine.core").loop
local message = require("taskengine.message")
local result = require("taskengine.result")
local shard = require("spec.support.shard")
local shard_transport = require("spec.support.shard_transport")
local te = require("taskengine")

local SETTINGS <const> = { result_expires = 60, serializer = "msgpack" }

describe("Who waits at once for what was sent", function()
  local s, transport, way

  before_each(function()
    s = shard.new()
    transport = shard_transport.new(s)
    transport.asks_ahead = true
    way = client.new(transport, {
      broker_timeout = 5,
      message_bytes_max = 1000000,
      result_expires = 3600,
    })
    s:register("w1")
  end)

  local function send(value, opts)
    local m = message.new("add", {}, opts or {}, SETTINGS)
    local id = way:send(m, { value })
    return result.new(way, id, {
      name = "add",
      engine_id = id,
      keeps_result = m.keeps_result,
    })
  end

  local function finish(value)
    local field = s:take("w1", 1)[1]
    s:finish("w1", "o", field, "S" .. core.codec.encode(value))
  end

  local function later(fn, ...)
    local args = table.pack(...)
    loop.timer(1, function()
      fn(table.unpack(args, 1, args.n))
      transport:deliver()
    end)
  end

  local function calls(name)
    local count = 0
    for _, call in ipairs(transport.calls) do
      count = count + (call.name == name and 1 or 0)
    end
    return count
  end

  local function send_and_get(value)
    local r = send(value)
    later(finish, value)
    assert.equal(value, r:get())
  end

  it("asks the first time only", function()
    for i = 1, 5 do
      send_and_get(i)
    end
    assert.equal(1, calls("te1_await"))
    assert.equal(5, calls("te1_enqueue"))
    assert.equal(0, s:redis("EXISTS", "y", shard.PREFIX .. "yt"))
  end)

  it("asks again for what it did not wait for at once", function()
    send_and_get(1)
    local old = send(2)
    local new = send(3)
    finish(2)
    finish(3)
    assert.equal(3, new:get())
    assert.equal(2, old:get())
    -- Nobody waited for the one before this at once.
    local count = calls("te1_await")
    send(4)
    later(finish, 4)
    local r = send(5)
    assert.equal(count, calls("te1_await"))
    later(finish, 5)
    assert.equal(5, r:get())
    assert.equal(count + 1, calls("te1_await"))
  end)

  it("gets an outcome that came before it waited", function()
    send_and_get(1)
    local slow = te.spawn(function()
      return send(2):get()
    end)
    te.sleep(0)
    local r = send(3)
    local stays = s:take("w1", 1)[1] -- the slow one's
    finish(3)
    transport:deliver()
    assert.equal(3, r:get())
    s:finish("w1", "o", stays, "S" .. core.codec.encode(2))
    transport:deliver()
    assert.equal(2, slow:get())
  end)

  it("asks when it is not certain that Redis was told", function()
    send_and_get(1)
    local count = calls("te1_await")
    local lost = false
    function transport.decide(name)
      if name == "te1_enqueue" and not lost then
        lost = true
        loop.timer(1, function()
          transport:restore()
        end)
        return "answer lost"
      end
      return "done"
    end
    local r = send(2)
    assert.is_true(lost)
    later(finish, 2)
    assert.equal(2, r:get())
    assert.equal(count + 1, calls("te1_await"))
  end)

  it("is told nothing ahead of what leaves no result", function()
    send_and_get(1)
    send(2, { ignore_result = true })
    assert.equal(0, s:redis("EXISTS", "y"))
  end)

  it("tells Redis of the very task when that gets another number", function()
    send_and_get(1)
    -- As if Redis had forgotten the producer.
    for _, key in ipairs(s:keys()) do
      if key:sub(1, 2) == "i:" then
        s:redis("DEL", key)
      end
    end
    local r = send(2)
    assert.same({ r.id }, s:redis("HKEYS", "y"))
    later(finish, 2)
    assert.equal(2, r:get())
  end)
end)
