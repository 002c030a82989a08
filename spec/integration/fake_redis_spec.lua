--- The in-memory Redis against a real one: whatever a script can ask of both
-- has the same answer.

local cmsgpack = require("spec.support.fake_redis.cmsgpack")
local dump = require("spec.support.fake_redis.dump")
local fake_redis = require("spec.support.fake_redis")
local function_library = require("spec.support.function_library")
local grammar = require("spec.support.fake_redis.grammar")
local random = require("spec.support.fake_redis.random")
local redis_server = require("spec.support.redis_server")
local remote = require("spec.support.fake_redis.remote")
local seed = require("spec.support.seed")

local COMMANDS <const> = 8000
-- Times to live are at least ten minutes and a run takes seconds.
local SLACK_MS <const> = 120000

local HEX <const> = [[
local function from_hex(text)
  return (string.gsub(text, "%x%x", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end
local function to_hex(text)
  return (string.gsub(text, ".", function(byte)
    return string.format("%02x", string.byte(byte))
  end))
end
]]

-- Run in both, on MessagePack in hexadecimal, in which numbers stay numbers:
-- one command, with its reply; what a message holds, packed again.
local REPLAY <const> = "#!lua name=fake_redis_replay\n" .. HEX .. [[
redis.register_function("replay", function(_, args)
  local reply = redis.pcall(unpack(cmsgpack.unpack(from_hex(args[1]))))
  if type(reply) == "table" and reply.err then
    reply = { err = reply.err }
  end
  return to_hex(cmsgpack.pack(reply))
end)
redis.register_function("repack", function(_, args)
  local packed = from_hex(args[1])
  local ok, result = pcall(function()
    return cmsgpack.pack("", cmsgpack.unpack(packed))
  end)
  return ok and to_hex(result) or string.match(result, "%a+ %a+ in input")
    or "refused"
end)
]]

local function show(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local parts = {}
  for key, item in pairs(value) do
    local name = type(key) == "string" and key .. " = " or ""
    parts[#parts + 1] = name .. show(item)
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local UNORDERED <const> = {
  HGETALL = true,
  HKEYS = true,
  HVALS = true,
  SDIFF = true,
  SINTER = true,
  SMEMBERS = true,
}
local SLACK <const> = { PTTL = SLACK_MS, TTL = SLACK_MS // 1000 }

local function is_same(name, a, b)
  if SLACK[name] and a >= 0 and b >= 0 then
    return math.abs(a - b) <= SLACK[name]
  end
  if UNORDERED[name] and #a > 0 and #b > 0 then
    table.sort(a)
    table.sort(b)
  end
  return show(a) == show(b)
end

-- What a fake took by chance, asked of a real server, and its answer.
local function instead_of_chance(command, reply)
  local members = type(reply) == "table" and reply or { reply or nil }
  if #members == 0 or members.err then
    return command, reply
  end
  local rest = table.move(members, 1, #members, 3, { false, command[2] })
  if command[1] == "SPOP" then
    rest[1] = "SREM"
    return rest, #members
  elseif command[1] == "HRANDFIELD" then
    return { "HEXISTS", command[2], members[1] }, 1
  end
  rest[1] = "SMISMEMBER"
  local all = {}
  for i = 1, #members do
    all[i] = 1
  end
  return rest, all
end

local BY_CHANCE <const> = {
  HRANDFIELD = true, SPOP = true, SRANDMEMBER = true,
}

local function to_hex(text)
  return (text:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end


-- Bytes that begin values of all kinds but nil, which makes a map of an array,
-- and maps of one pair at most, because those of more have no order.
local function random_message(chance)
  local bytes = {}
  for i = 1, chance:upto(24) do
    local byte = chance:upto(256) - 1
    local has_no_order = byte >= 0x82 and byte <= 0x8f
      or byte == 0xc0 or byte == 0xde or byte == 0xdf
    local is_short = chance:upto(3) == 1
    bytes[i] = string.char(has_no_order and 0x81 or is_short and 0 or byte)
  end
  return table.concat(bytes)
end

-- Runs random commands on the fake and collects what a real server is to do.
local function run_on_fake(fake, chance)
  local library = assert(function_library.load(REPLAY, fake))
  local next_command = grammar.source(chance, fake:time_ms())
  local asked, expected, calls = {}, {}, {}
  for i = 1, COMMANDS do
    local command = next_command()
    local packed = to_hex(cmsgpack.pack(command))
    local answer = assert(library:fcall("replay", {}, { packed }))
    local reply = cmsgpack.unpack(remote.from_hex(answer))
    if BY_CHANCE[command[1]] then
      command, reply = instead_of_chance(command, reply)
      packed = to_hex(cmsgpack.pack(command))
    end
    asked[i], expected[i] = command, reply
    calls[i] = { "FCALL", "replay", 0, packed }
  end
  return asked, expected, calls
end

local function now_ms(server)
  local time = remote.run(server.socket, {
    { "EVAL", "return table.concat(redis.call('TIME'), ' ')", 0 },
  })[1]
  local s, us = time:match("(%d+) (%d+)")
  return s * 1000 + us // 1000
end

describe("the in-memory Redis", function()
  local server = redis_server.for_all_specs { tcp = true }

  before_each(function()
    remote.run(server.socket, { { "FLUSHALL" }, { "FUNCTION", "FLUSH" } })
  end)

  it("answers and ends like a real server, command by command", function()
    local number = seed.begin()
    assert.equal("fake_redis_replay",
      remote.load_library(server.socket, REPLAY))
    local fake = fake_redis.new { seed = number, time_ms = now_ms(server) }
    local asked, expected, calls = run_on_fake(fake, random.new(number))
    for i, line in ipairs(remote.run(server.socket, calls)) do
      local reply = cmsgpack.unpack(remote.from_hex(line))
      if not is_same(asked[i][1], reply, expected[i]) then
        local text = "command %d, %s: %s in Redis, %s in the fake"
        error(text:format(i, show(asked[i]), show(reply), show(expected[i])))
      end
    end
    local there = dump.of_server(server.socket)
    assert.same({}, dump.difference(there, fake:dump(), SLACK_MS))
    local size = remote.run(server.socket, { { "DBSIZE" } })[1]
    assert.equal(size, ("%d"):format(fake:call("DBSIZE")))
  end)

  it("packs and unpacks MessagePack as Redis does", function()
    local chance, calls, expected = random.new(seed.begin()), {}, {}
    local library = assert(function_library.load(REPLAY, fake_redis.new()))
    remote.load_library(server.socket, REPLAY)
    for i = 1, 3000 do
      local packed = to_hex(random_message(chance))
      calls[i] = { "FCALL", "repack", 0, packed }
      expected[i] = assert(library:fcall("repack", {}, { packed }))
    end
    for i, line in ipairs(remote.run(server.socket, calls)) do
      assert.equal(line, expected[i], calls[i][4])
    end
  end)

  it("shows keys that expire by its own clock only", function()
    local fake = fake_redis.new { time_ms = 1700000000250 }
    assert.same({ "1700000000", "250000" }, fake:call("TIME"))
    fake:call("SET", "a", "1", "PX", 1500)
    fake:call("HSET", "h", "f", "v")
    assert.equal(1, fake:call("EXPIRE", "h", 3))
    assert.equal(2, fake:call("TTL", "a"))
    fake:advance(1500)
    assert.equal(0, fake:call("PTTL", "a"))
    assert.equal("1", fake:call("GET", "a"))
    fake:advance(1)
    assert.is_false(fake:call("GET", "a"))
    assert.equal(-2, fake:call("PTTL", "a"))
    assert.same({
      h = { type = "hash", ttl_ms = 1499, value = { f = "v" } },
    }, fake:dump())
    fake:set_time_ms(1700000003251)
    assert.same({}, fake:dump())
    assert.equal(0, fake:call("DBSIZE"))
  end)

  it("does the same by chance for the same seed", function()
    local function draw(number)
      local fake, drawn = fake_redis.new { seed = number }, {}
      for i = 1, 50 do
        fake:call("SADD", "s", i)
      end
      for i = 1, 50 do
        drawn[i] = fake:call("SPOP", "s")
      end
      return drawn
    end
    assert.same(draw(7), draw(7))
    assert.is_not.same(draw(7), draw(8))
  end)

  it("gives ids to the entries of a stream by its clock", function()
    local fake = fake_redis.new { time_ms = 1700000000000 }
    local function add()
      return fake:call("XADD", "x", "MAXLEN", "~", 2, "*", "f", "v")
    end
    assert.equal("1700000000000-0", add())
    assert.equal("1700000000000-1", add())
    fake:advance(-5)
    assert.equal("1700000000000-2", add())
    fake:advance(10)
    assert.equal("1700000000005-0", add())
    assert.equal(2, fake:call("XLEN", "x"))
  end)

  it("finds keys by pattern for specs", function()
    local fake = fake_redis.new()
    fake:call("MSET", "te:{a}:x", 1, "te:{a}:y", 2, "te:{b}:x", 3)
    fake:call("SADD", "te:{a}:s", 1)
    local of_a = { "te:{a}:s", "te:{a}:x", "te:{a}:y" }
    assert.same(of_a, fake:call("KEYS", "te:{a}:*"))
    assert.same({ "te:{a}:x", "te:{b}:x" }, fake:call("KEYS", "*:x"))
    local sets = fake:call("SCAN", 0, "MATCH", "te:*", "TYPE", "set")
    assert.same({ "0", { "te:{a}:s" } }, sets)
  end)

  it("refuses keys that are not of the shard", function()
    local fake = fake_redis.new { tag = "{a.0}" }
    assert.same({ ok = "OK" }, fake:call("SET", "te:{a.0}:k", "v"))
    for _, key in ipairs { "k", "te:{a.1}:k", "te:{b}:{a.0}", "te:a.0:k" } do
      assert.error_matches(function()
        fake:call("MGET", "te:{a.0}:k", key)
      end, "^CROSSSLOT key '" .. key:gsub("%p", "%%%0") .. "'")
    end
  end)

  it("refuses what it does not have, and unknown options", function()
    local fake = fake_redis.new()
    assert.error_matches(function()
      fake:call("SORT", "k")
    end, "the fake has no SORT")
    assert.error_matches(function()
      fake_redis.new { sede = 1 }
    end, 'unknown option "sede"')
  end)
end)
