--- Function libraries in the in-memory Redis and in a real server.

local dump = require("spec.support.fake_redis.dump")
local fake_redis = require("spec.support.fake_redis")
local function_library = require("spec.support.function_library")
local random = require("spec.support.fake_redis.random")
local redis_server = require("spec.support.redis_server")
local remote = require("spec.support.fake_redis.remote")
local seed = require("spec.support.seed")

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
  local server = redis_server.for_all_specs { tcp = true }

  before_each(function()
    remote.run(server.socket, { { "FLUSHALL" }, { "FUNCTION", "FLUSH" } })
  end)

  describe("with a function library", function()
    it("ends functions as a real server does", function()
      local library =
        assert(function_library.load(endings_text(), fake_redis.new()))
      remote.load_library(server.socket, endings_text())
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
        assert.equal(remote.load_library(server.socket, text), problem)
      end
    end)

    it("keeps a function without writes from writing", function()
      local fake = fake_redis.new()
      local library = assert(function_library.load(RESTRICTED, fake))
      remote.load_library(server.socket, RESTRICTED)
      local _, problem = library:fcall("write", { "k" })
      local there = remote.run(server.socket, { { "FCALL", "write", 1, "k" } })
      assert.equal(there[1], problem)
      assert.is_nil(library:fcall("read", { "k" }))
      fake:call("SET", "k", "v")
      assert.equal("v", library:fcall("read", { "k" }))
    end)

    it("refuses keys that are not of the shard", function()
      local fake = fake_redis.new { tag = "{a.0}" }
      local library = assert(function_library.load(RESTRICTED, fake))
      local _, problem = library:fcall("read", { "k" })
      assert.matches("^CROSSSLOT key 'k'", problem)
      _, problem = library:fcall("sets", { "te:{a.0}:k" })
      assert.matches("^CROSSSLOT key 'other'", problem)
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
      assert.equal("fake_redis_leases",
        remote.load_library(server.socket, clocked))
      local chance, calls, expected = random.new(seed.begin()), {}, {}
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
