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
  end
  rest[1] = "SMISMEMBER"
  local all = {}
  for i = 1, #members do
    all[i] = 1
  end
  return rest, all
end

local BY_CHANCE <const> = { SPOP = true, SRANDMEMBER = true }

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

local function load_library(server, text)
  return remote.run(server.socket, {
    { "FUNCTION", "LOAD", "REPLACE", text },
  })[1]
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

local function announce_seed()
  local seed = math.tointeger(tonumber(os.getenv("TE_SEED"))) or os.time()
  io.write(("TE_SEED=%d "):format(seed))
  return seed
end

local as_printed

local function items_as_printed(items, indent)
  local lines = {}
  for i, item in ipairs(items) do
    local text = as_printed(item, indent .. "   ")
    lines[i] = ("%s%d) %s"):format(i > 1 and indent or "", i, text)
  end
  return #lines > 0 and table.concat(lines, "\n") or "(empty array)"
end

-- A reply as redis-cli prints it for people.
function as_printed(reply, indent)
  local kind = type(reply)
  if kind == "number" then
    return ("(integer) %d"):format(reply)
  elseif kind == "string" then
    return '"' .. reply .. '"'
  elseif kind ~= "table" then
    return "(nil)"
  elseif reply.err then
    return "(error) " .. reply.err
  end
  return reply.ok or items_as_printed(reply, indent or "")
end

local function call_as_printed(library, name, keys, args)
  local reply, problem = library:fcall(name, keys, args)
  return as_printed(problem and { err = problem } or reply)
end

-- Bodies of functions; each value or error that a body can end with.
local ENDINGS <const> = {
  "return 1.9",
  "return -1.9",
  "return true",
  "return false",
  "return",
  "return 'text'",
  "return function() end",
  "return { 1, 2, nil, 4 }",
  "return {}",
  "return { 1.9, true, false, 'x', { ok = 'fine' }, { err = 'bad' }, { 1 } }",
  "return { ok = 'FINE' }",
  "return { err = 'BAD' }",
  "return redis.status_reply('FINE')",
  "return redis.status_reply({})",
  "return redis.error_reply('BAD thing')",
  "return redis.error_reply('-BAD thing')",
  "return redis.error_reply('BAD')",
  "return redis.error_reply({})",
  "return redis.setresp(2)",
  "return nope",
  "nope = 1",
  "string.nope = 1",
  "redis.nope = 1",
  "return redis.nope",
  "return os.time()",
  "return KEYS[1]",
  "error('boom')",
  "error({ err = 'BAD boom' })",
  "local reply = redis.call('HGET', 'a') return reply",
  "return redis.pcall('HGET', 'a')",
  "return { pcall(redis.call, 'HGET', 'a') }",
  "return { pcall(error, 'boom') }",
  "local reply = redis.call() return reply",
  "local reply = redis.call('GET', {}) return reply",
  "local reply = redis.call('GET', nil) return reply",
  "redis.call('SET', 'k', 0.1) return redis.call('GET', 'k')",
  "redis.call('SET', 'k', 2 ^ 60) return redis.call('GET', 'k')",
  "redis.call('SET', 'k', 1700000000000) return redis.call('GET', 'k')",
  "redis.call('RPUSH', 'k', 1) return 1",
  "return tostring(1700000000000)",
  "return tostring(1e15)",
  "return tostring(2 ^ 53)",
  "return { string.pack, table.unpack, math.type }",
  "return #{ unpack({}, 1, 7997) }",
  "return #{ unpack({}, 1, 7998) }",
  "return { #keys, #args, keys[1], args[1], args[2] }",
  "return { cmsgpack.unpack('') }",
  "return { string.byte(cmsgpack.pack(1, cmsgpack.unpack('\\192')), 1, -1) }",
  "local packed = cmsgpack.pack() return packed",
}

local function endings_text()
  local lines = { "#!lua name=fake_redis_endings" }
  for i, body in ipairs(ENDINGS) do
    local line = "redis.register_function('end%d', function(keys, args) %s end)"
    lines[i + 1] = line:format(i, body)
  end
  return table.concat(lines, "\n")
end

local RESTRICTED <const> = [[
#!lua name=fake_redis_restricted
redis.register_function{
  function_name = "write",
  callback = function(keys)
    redis.call("SET", keys[1], "v")
  end,
  flags = { "no-writes" },
}
redis.register_function{
  function_name = "read",
  callback = function(keys)
    return redis.call("GET", keys[1])
  end,
  flags = { "no-writes", "allow-oom" },
}
redis.register_function("keys", function()
  return redis.call("KEYS", "*")
end)
redis.register_function("tables", function()
  error({ 1 })
end)
redis.register_function("sets", function(keys)
  return redis.call("MSET", keys[1], "v", "other", "v")
end)
]]

local REFUSED_TEXTS <const> = {
  "local x = 1",
  "#!lua\nlocal x = 1",
  "#!js name=a\nlocal x = 1",
  "#!lua name=a more=b\nlocal x = 1",
  "#!lua name=a-b\nlocal x = 1",
  "#!lua name=a\nlocal x = 1",
  "#!lua name=a\nlocal call = redis.call",
  "#!lua name=a\nlocal sub = string.sub",
  "#!lua name=a\nerror('no')",
  "#!lua name=a\nx = 1",
  "#!lua name=a\nredis.register_function('f-g', function() end)",
  "#!lua name=a\nredis.register_function('f', 1)",
  "#!lua name=a\nredis.register_function('f')",
  "#!lua name=a\nredis.register_function({}, function() end)",
  "#!lua name=a\nredis.register_function{ function_name = 'f', callback = 1 }",
  "#!lua name=a\nredis.register_function('f', function() end, 1)",
  "#!lua name=a\nredis.register_function{ function_name = 'f' }",
  "#!lua name=a\nredis.register_function{ callback = function() end }",
  "#!lua name=a\nredis.register_function{ function_name = 'f', other = 1,"
    .. " callback = function() end }",
  "#!lua name=a\nredis.register_function{ function_name = 'f',"
    .. " callback = function() end, flags = { 'none' } }",
  "#!lua name=a\nlocal function f() end redis.register_function('f', f)"
    .. " redis.register_function('f', f)",
}

-- A worker's life in small, with leases by the clock.
local LEASES <const> = [[
#!lua name=fake_redis_leases
local function now()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.register_function("lease", function(keys, args)
  local deadline = string.format("%.0f", now() + args[2])
  redis.call("ZADD", keys[1] .. "w", deadline, args[1])
  redis.call("HSET", keys[1] .. "seen", args[1], deadline)
  redis.call("SET", keys[1] .. "last", args[1], "PX", 3600000)
  return { deadline }
end)
redis.register_function("expired", function(keys)
  local late = redis.call("ZRANGE", keys[1] .. "w", "-inf",
    string.format("%.0f", now()), "BYSCORE")
  if #late > 0 then
    redis.call("ZREM", keys[1] .. "w", unpack(late))
    redis.call("RPUSH", keys[1] .. "lost", unpack(late))
  end
  return late
end)
]]

describe("the in-memory Redis", function()
  local server

  setup(function()
    server = redis_server.start { tcp = true }
  end)

  teardown(function()
    server:stop()
  end)

  before_each(function()
    remote.run(server.socket, { { "FLUSHALL" }, { "FUNCTION", "FLUSH" } })
  end)

  it("answers and ends like a real server, command by command", function()
    local seed = announce_seed()
    assert.equal("fake_redis_replay", load_library(server, REPLAY))
    local fake = fake_redis.new { seed = seed, time_ms = now_ms(server) }
    local asked, expected, calls = run_on_fake(fake, random.new(seed))
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
    local chance, calls, expected = random.new(announce_seed()), {}, {}
    local library = assert(function_library.load(REPLAY, fake_redis.new()))
    load_library(server, REPLAY)
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
    local function draw(seed)
      local fake, drawn = fake_redis.new { seed = seed }, {}
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
    local library = assert(function_library.load(RESTRICTED, fake))
    local _, problem = library:fcall("read", { "k" })
    assert.matches("^CROSSSLOT key 'k'", problem)
    _, problem = library:fcall("sets", { "te:{a.0}:k" })
    assert.matches("^CROSSSLOT key 'other'", problem)
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

  describe("with a function library", function()
    it("ends functions as a real server does", function()
      local library =
        assert(function_library.load(endings_text(), fake_redis.new()))
      load_library(server, endings_text())
      local calls, expected = {}, {}
      for i, body in ipairs(ENDINGS) do
        local name = "end" .. i
        calls[i] = { "FCALL", name, 1, "key", "arg", 5 }
        expected[i] = body .. "\n"
          .. call_as_printed(library, name, { "key" }, { "arg", 5 })
      end
      for i, text in ipairs(remote.run(server.socket, calls, "--no-raw")) do
        assert.equal(ENDINGS[i] .. "\n" .. text, expected[i])
      end
    end)

    it("refuses the texts that a real server refuses", function()
      for _, text in ipairs(REFUSED_TEXTS) do
        local library, problem = function_library.load(text, fake_redis.new())
        assert.is_nil(library)
        assert.equal(load_library(server, text), problem)
      end
    end)

    it("keeps a function without writes from writing", function()
      local fake = fake_redis.new()
      local library = assert(function_library.load(RESTRICTED, fake))
      load_library(server, RESTRICTED)
      local _, problem = library:fcall("write", { "k" })
      local there = remote.run(server.socket, { { "FCALL", "write", 1, "k" } })
      assert.equal(there[1], problem)
      assert.is_nil(library:fcall("read", { "k" }))
      fake:call("SET", "k", "v")
      assert.equal("v", library:fcall("read", { "k" }))
    end)

    it("refuses what must not be in a function", function()
      local library =
        assert(function_library.load(RESTRICTED, fake_redis.new()))
      local _, problem = library:fcall("keys")
      assert.matches("^ERR KEYS is for specs", problem)
      assert.error_matches(function()
        library:fcall("tables")
      end, "crashes Redis")
      assert.error_matches(function()
        library:fcall("read", { true })
      end, "keys%[1%] is neither string nor integer")
      _, problem = library:fcall("none")
      assert.equal("ERR Function not found", problem)
    end)

    it("has its history repeated by a real server, key by key", function()
      local fake = fake_redis.new { tag = "{a.0}", time_ms = 1700000000000 }
      local library = assert(function_library.load(LEASES, fake))
      local clocked = function_library.clocked(LEASES, "clock")
      assert.equal("fake_redis_leases", load_library(server, clocked))
      local chance, calls, expected = random.new(announce_seed()), {}, {}
      for i = 1, 300 do
        fake:advance(chance:upto(2000))
        local name = chance:pick { "lease", "lease", "expired" }
        local args = { "w" .. chance:upto(9), chance:upto(9000) }
        calls[2 * i - 1] = { "SET", "clock", fake:time_ms() }
        calls[2 * i] =
          { "FCALL", name, 1, "te:{a.0}:", table.unpack(args) }
        expected[2 * i - 1] = "OK"
        expected[2 * i] =
          call_as_printed(library, name, { "te:{a.0}:" }, args)
      end
      assert.same(expected, remote.run(server.socket, calls, "--no-raw"))
      remote.run(server.socket, { { "DEL", "clock" } })
      local there, here = dump.of_server(server.socket), fake:dump()
      assert.same({}, dump.difference(there, here, math.huge))
      here["te:{a.0}:lost"].value[1] = "other"
      here["te:{a.0}:last"] = nil
      here.more = { type = "string", value = "" }
      assert.same(
        { "more", "te:{a.0}:last", "te:{a.0}:lost" },
        dump.difference(there, here, math.huge)
      )
    end)
  end)
end)
