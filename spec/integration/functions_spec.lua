--- The functions on a real Redis: the same text, the same answers.

local core = require("taskengine.core")
local crowd = require("spec.support.crowd")
local dump = require("spec.support.fake_redis.dump")
local envelope = require("spec.support.envelope")
local function_library = require("spec.support.function_library")
local library = require("taskengine.library")
local model_keys = require("spec.support.model_keys")
local redis_server = require("spec.support.redis_server")
local seed = require("spec.support.seed")
local shard = require("spec.support.shard")
local wait_until = require("spec.support.wait").wait_until

local P <const> = shard.PREFIX
local CALLS <const> = 2000
-- Times to live pass in real time on the server, and are an hour at least.
local TTL_SLACK_MS <const> = 3000000
local CLOCK_KEY <const> = "clock"
local W <const>, OTHER <const> = "workerAAAAAA", "workerBBBBBB"
local PRODUCER <const> = "producerAAAA"

describe("The functions on a real Redis", function()
  local server, redis

  local function connect(to)
    local c = assert(core.redis.connect(to.url))
    wait_until(function()
      return c:is_up()
    end, 10, "a connection")
    return c
  end

  setup(function()
    server = redis_server.start()
    redis = connect(server)
  end)

  teardown(function()
    redis:close()
    server:stop()
  end)

  before_each(function()
    server:cli("CONFIG", "SET", "maxmemory", "0")
    server:cli("FLUSHALL")
    server:cli("FUNCTION", "FLUSH")
  end)

  -- Sends commands, and waits for what each is answered: a reply, or false
  -- and the error.
  local function ask_all(commands)
    local replies, problems, left = {}, {}, #commands
    for i, command in ipairs(commands) do
      redis:call_list(function(reply, problem)
        replies[i], problems[i] = problem == nil and reply, problem
        left = left - 1
      end, command)
    end
    wait_until(function()
      return left == 0
    end, 60, "replies")
    return replies, problems
  end

  local function ask(...)
    local replies, problems = ask_all({ { ... } })
    return replies[1], problems[1]
  end

  local function fcall(name, ...)
    return ask("FCALL", library.PREFIX .. name, 1, P, ...)
  end

  local function load_library(text)
    assert.equal("taskengine_1", ask("FUNCTION", "LOAD", text))
  end

  local function add(numbers, parts)
    parts = parts or {}
    parts.id = envelope.id(PRODUCER, numbers)
    return fcall("enqueue", PRODUCER, numbers, numbers, "r", "default", 1,
      envelope.new(parts))
  end

  local function take(number)
    local reply = fcall("fetch", W, 15000, 10, number, "0", "default")
    local fields = {}
    for i = 3, #reply do
      fields[i - 2] = envelope.field(reply[i], number)
    end
    return fields
  end

  it("load, and say their build", function()
    load_library(library.text())
    assert.equal(library.BUILD, fcall("build"))
  end)

  it("let a full Redis refuse tasks that come, and nothing else", function()
    load_library(library.text())
    local listed = ask("FUNCTION", "LIST", "LIBRARYNAME", "taskengine_1")
    local flags = {}
    for _, entry in ipairs(listed[1][6]) do
      flags[entry[2]] = table.concat(entry[6], " ")
    end
    for _, name in ipairs {
      "te1_enqueue", "te1_requeue", "te1_flow", "te1_flow_retry",
      "te1_flow_add",
    } do
      assert.equal("", flags[name])
      flags[name] = nil
    end
    for name, flag in pairs(flags) do
      assert.truthy(flag:find("allow-oom", 1, true)
        or flag:find("no-writes", 1, true), name)
    end
  end)

  it("go by the clock of the server", function()
    load_library(library.text())
    local function now()
      local time = ask("TIME")
      return time[1] * 1000 + time[2] // 1000
    end
    local before = now()
    local at = fcall("register", W, 15000, "", "default")[1]
    assert.is_true(before <= at and at <= now())
    local deadline = tonumber(ask("ZSCORE", P .. "w", W))
    assert.equal(at + 15000, deadline)
  end)

  describe("that is full", function()
    before_each(function()
      load_library(library.text())
      fcall("register", W, 15000, "", "default")
      fcall("register", OTHER, 15000, "", "default")
      for i = 1, 6 do
        assert.equal(0, add(i)[2])
      end
      assert.equal("OK", ask("CONFIG", "SET", "maxmemory", "1"))
    end)

    it("accept no task, and do nothing", function()
      local reply, problem = add(7)
      assert.is_false(reply)
      assert.truthy(problem:find("OOM command not allowed", 1, true))
      assert.equal(6, ask("LLEN", P .. "r:default"))
      assert.equal("6", ask("GET", P .. "i:" .. PRODUCER))
    end)

    it("hand out and end what was accepted", function()
      local fields = take(1)
      assert.equal(6, #fields)
      local id = fields[1]:sub(1, 20)
      assert.same({ "=" .. id }, fcall("await", "a:client", id))
      assert.same({ 5 }, fcall("finish", W, 15000,
        "s", "default", 60, 1, fields[1], "S" .. ("x"):rep(1000),
        "d", "default", 1, fields[2], "o", fields[3], "F\x80",
        "n", fields[4], "F\x80", "l", fields[5], "F\x80"))
      assert.equal(id .. "S" .. ("x"):rep(1000), ask("LPOP", P .. "a:client"))
      assert.equal(1, fcall("reap", W, "1", "F\x80", "-"))
    end)

    it("do all the rest", function()
      local ids = { envelope.id(PRODUCER, 1), envelope.id(PRODUCER, 2) }
      assert.equal(7, #fcall("heartbeat", W, 15000, "default"))
      assert.equal(6, #fcall("register", "workerCCCCCC", 15000, "", "mail"))
      assert.equal(1, fcall("leave", "workerCCCCCC"))
      assert.same({ "0" }, fcall("holds", W, 1))
      assert.equal(2, #fcall("promote", 100))
      assert.equal(1, #fcall("await", "a:client", ids[1]))
      assert.equal(1, fcall("unwait", "a:client", ids[1]))
      assert.same({ "revoked" }, fcall("cancel", "R\x80", 60, ids[1]))
      assert.same({ "R\x80", "=" .. ids[2] }, fcall("outcome", ids[1], ids[2]))
      assert.same({ "asked" },
        fcall("revoke", "R\x80", 60, "t", take(2)[1]:sub(1, 20)))
      assert.equal(1, fcall("forget", ids[1]))
      assert.equal(8, #fcall("status"))
      assert.equal(library.BUILD, fcall("build"))
    end)
  end)

  it("remember no more than a million revoked tasks that may be ready",
    function()
      load_library(library.text())
      add(1)
      local fill = [[
        local first, members = tonumber(ARGV[1]), {}
        for i = first, first + 3999 do
          members[#members + 1] = 1
          members[#members + 1] = i
        end
        return redis.call("ZADD", KEYS[1], unpack(members, 1, 4000))
          + redis.call("ZADD", KEYS[1], unpack(members, 4001))]]
      for first = 1, 1000000, 4000 do
        assert.equal(4000, ask("EVAL", fill, 1, P .. "cx", first))
      end
      assert.same({ "revoked" },
        fcall("cancel", "R\x80", 60, envelope.id(PRODUCER, 1)))
      assert.equal(1000000, ask("ZCARD", P .. "cx"))
      assert.truthy(ask("ZSCORE", P .. "cx", envelope.id(PRODUCER, 1)))
    end)

  it("work on one node of a cluster", function()
    local node <close> = redis_server.start {
      config = { "cluster-enabled yes" },
    }
    node:cli("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    wait_until(function()
      return node:cli("CLUSTER", "INFO"):find("cluster_state:ok", 1, true)
    end, 10, "a cluster")
    local alone = redis
    redis = connect(node)
    finally(function()
      redis:close()
      redis = alone
    end)
    load_library(library.text())
    fcall("register", W, 15000, "", "default")
    add(1)
    local fields = take(1)
    assert.same({ 1 }, fcall("finish", W, 15000, "o", fields[1], "S\x01"))
    assert.same({ "S\x01" }, fcall("outcome", fields[1]:sub(1, 20)))
  end)

  describe("repeat a history", function()
    local c, asked, answered

    -- What the server is to do for a call: its clock is a key.
    local function commands_of(name, args)
      if name == "RPUSH" then
        return { "RPUSH", P .. args[1], args[2] }
      end
      return { "FCALL", library.PREFIX .. name, 1, P, table.unpack(args) }
    end

    local function record(name, args, reply, problem)
      asked[#asked + 1] = { "SET", CLOCK_KEY, c.shard:now() }
      asked[#asked + 1] = commands_of(name, args)
      answered[#asked] = { name = name, reply = reply, problem = problem }
    end

    setup(function()
      asked, answered = {}, {}
      c = crowd.new {
        seed = seed.begin(),
        workers = 3,
        clients = 2,
        forgets = false,
        record = record,
      }
      while #asked < 2 * CALLS do
        c:step()
      end
    end)

    -- As text; what a hash lists has no order.
    local function normal(name, reply)
      if type(reply) ~= "table" then
        return tostring(reply)
      end
      local parts = {}
      for i, item in ipairs(reply) do
        parts[i] = normal(name == "heartbeat" and "holds" or nil, item)
      end
      if name == "holds" then
        table.sort(parts)
      end
      return "{" .. table.concat(parts, ", ") .. "}"
    end

    -- Who of several sleepers was woken is chance, and so is whether that
    -- was for a timer.
    local function without_chance(keys)
      local result = {}
      for key, entry in pairs(keys) do
        local name, value = key:sub(#P + 1), entry.value
        if name:find("^b:") then
          value = {}
          for _, item in ipairs(entry.value) do
            value[#value + 1] = item ~= "" and item or nil
          end
        elseif name == "n" then
          value = { head = value.head, seq = value.seq }
        end
        local is_chance = name:find("^sl:") or type(value) == "table"
          and not next(value)
        result[key] = not is_chance and key ~= CLOCK_KEY
          and { type = entry.type, ttl_ms = entry.ttl_ms, value = value }
          or nil
      end
      return result
    end

    it("with the same replies, and the same keys in the end", function()
      load_library(function_library.clocked(library.text(), CLOCK_KEY))
      local replies, problems = ask_all(asked)
      for i, due in pairs(answered) do
        if due.problem then
          local text = due.problem:gsub("^%u+ ", "")
          assert.truthy(problems[i]
            and problems[i]:find(text, 1, true), due.name)
        elseif due.reply ~= nil then
          assert.equal(normal(due.name, due.reply),
            normal(due.name, replies[i]),
            ("call %d, %s"):format(i // 2, due.name))
        end
      end
      local keys = dump.of_server(server.socket)
      assert.same({}, dump.difference(without_chance(c.shard.fake:dump()),
        without_chance(keys), TTL_SLACK_MS))
      keys[CLOCK_KEY] = nil
      assert.same({}, model_keys.difference(c.model, keys, TTL_SLACK_MS))
    end)
  end)
end)
