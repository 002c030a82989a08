local connections = require("spec.support.connections")
local core = require("taskengine.core")
local redis_server = require("spec.support.redis_server")
local scripted_redis = require("spec.support.scripted_redis")
local wait = require("spec.support.wait")

local wait_until, wait_until_idle = wait.wait_until, wait.wait_until_idle
local redis, loop = core.redis, core.loop
local ask = connections.ask

describe("taskengine.core.redis", function()
  local server = redis_server.for_all_specs { tcp = true }
  local open = connections.for_each_spec()

  before_each(function()
    server:cli("FLUSHALL")
  end)

  describe("replies", function()
    local c

    before_each(function()
      c = open:connected(server.url)
    end)

    it("are strings, integers and arrays, with false for nil", function()
      assert.equal("OK", ask(c, "SET", "k", "v\0\r\n"))
      assert.equal("v\0\r\n", ask(c, "GET", "k"))
      assert.equal(false, ask(c, "GET", "missing"))
      assert.equal(5, ask(c, "INCRBY", "n", 5))
      assert.same({ "v\0\r\n", false, "5" },
        ask(c, "MGET", "k", "missing", "n"))
      assert.same({}, ask(c, "LRANGE", "l", 0, -1))
      assert.same({ 1, { "a", { false } } },
        ask(c, "EVAL", "return { 1, { 'a', { false } } }", 0))
      assert.equal(1, select("#", ask(c, "GET", "missing")))
    end)

    it("tell an error by nil, a message and a name", function()
      local value, message, name = ask(c, "INCR")
      assert.is_nil(value)
      assert.equal("EREPLY: ERR wrong number of arguments for 'incr' command",
        message)
      assert.equal("EREPLY", name)
    end)

    it("keep an error inside an array", function()
      ask(c, "SET", "k", "v")
      for _, word in ipairs { "MULTI", "INCR k", "GET k" } do
        c:call_list(nil, { word:match("%a+"), word:match(" (%a)") })
      end
      assert.same({
        { err = "ERR value is not an integer or out of range" }, "v",
      }, ask(c, "EXEC"))
    end)

    it("come in the order of the calls", function()
      local got = {}
      for i = 1, 1000 do
        c:call(function(n)
          got[i] = n
        end, "INCR", "n")
      end
      wait_until(function()
        return #got == 1000
      end)
      for i = 1, 1000 do
        assert.equal(i, got[i])
      end
    end)

    it("carry megabytes in both directions", function()
      local text = ("0123456789abcdef"):rep(5 * 65536)
      assert.equal("OK", ask(c, "SET", "k", text))
      assert.is_true(text == ask(c, "GET", "k"))
    end)
  end)

  describe("calls", function()
    it("take strings and numbers, exactly", function()
      local c = open:connected(server.url)
      assert.same({ "9223372036854775807", "0.10000000000000001", "" },
        ask(c, "EVAL", "return ARGV", 0, math.maxinteger, 0.1, ""))
      local got
      c:call_list(function(reply)
        got = reply
      end, { "EVAL", "return ARGV", 0, math.mininteger, 1e100, "x" })
      wait_until(function()
        return got
      end)
      assert.same({ "-9223372036854775808", "1e+100", "x" }, got)
    end)

    it("take a list with something in front of it", function()
      local c = open:connected(server.url)
      local got = {}
      local function add(reply, why)
        got[#got + 1] = why or reply
      end
      c:call_list(add, { 7, "x" }, "EVAL", "return ARGV", 0)
      c:call_list(add, {}, "ECHO", "y")
      wait_until(function()
        return #got == 2
      end)
      assert.same({ { "7", "x" }, "y" }, got)
    end)

    it("refuse what is neither, and send nothing of it", function()
      local c = open:connected(server.url)
      local function refuses(expected, method, ...)
        local args = table.pack(...)
        assert.error_matches(function()
          c[method](c, table.unpack(args, 1, args.n))
        end, expected, 1, true)
      end
      refuses("string or number expected, got nil", "call", nil, "SET", nil)
      refuses("no command", "call", nil)
      refuses("function expected", "call", "PING")
      refuses("element 3 of a command is a table", "call_list", nil,
        { "SET", "k", {} })
      refuses("string or number expected, got boolean", "call_list", nil,
        { "k" }, "GET", true)
      refuses("no command", "call_list", nil, {})
      refuses("not a time", "call_blocking", -1, nil, "PING")
      assert.equal("PONG", ask(c, "PING"))
    end)

    it("of one turn go out together", function()
      local scripted <close> = scripted_redis.listen(function(words)
        return words[1] == "PING" and "+PONG\r\n"
      end)
      local c = open:connected(scripted.url)
      local before = #scripted.arrivals
      for _ = 1, 10 do
        c:call(nil, "PING")
      end
      ask(c, "PING")
      assert.equal(before + 1, #scripted.arrivals)
    end)

    it("fail when there is no connection, and not before they return",
      function()
        local c = open:connect("redis+unix:///nowhere/at/all")
        local got
        c:call(function(...)
          got = { ... }
        end, "PING")
        assert.is_nil(got)
        wait_until(function()
          return got
        end)
        assert.is_nil(got[1])
        assert.equal("EDOWN", got[3])
        local answer = table.pack(ask(c, "PING"))
        assert.equal("EDOWN: cannot connect to Redis at /nowhere/at/all: "
          .. "no such file or directory", answer[2])
      end)

    it("may be made, and the connection closed, in a reply", function()
      local c = open:connected(server.url)
      local words = {}
      c:call(function(first)
        words[1] = first
        c:call(function(second)
          words[2] = second
          c:call(function(_, _, name)
            words[3] = name
          end, "ECHO", "never")
          c:close(function()
            words[4] = "closed"
          end)
          c:close()
        end, "ECHO", "second")
      end, "ECHO", "first")
      wait_until_idle()
      assert.same({ "first", "second", "ECLOSED", "closed" }, words)
    end)

    it("that are under way when it is closed end with ECLOSED", function()
      local c = open:connected(server.url)
      local names = {}
      for i = 1, 3 do
        c:call(function(_, _, name)
          names[i] = name
        end, "PING")
      end
      c:close()
      wait_until_idle()
      assert.same({ "ECLOSED", "ECLOSED", "ECLOSED" }, names)
      assert.error_matches(function()
        c:call(nil, "PING")
      end, "closed")
    end)

    it("go on when the function of one raises", function()
      local errors = {}
      loop.on_error(function(e)
        errors[#errors + 1] = e
      end)
      finally(function()
        loop.on_error(nil)
      end)
      local c = open:connected(server.url)
      c:call(function()
        error("in a reply")
      end, "PING")
      assert.equal("PONG", ask(c, "PING"))
      assert.equal(1, #errors)
      assert.truthy(errors[1]:find("in a reply", 1, true))
    end)

    it("that block may take longer than the timeout", function()
      local c = open:connected(server.url, { timeout_ms = 100 })
      local got = {}
      c:call_blocking(5000, function(...)
        got = { ... }
      end, "BLPOP", "nothing", 0.4)
      wait_until(function()
        return #got > 0
      end)
      assert.same({ false }, got)
    end)

    it("that block unannounced end the connection", function()
      local c = open:connected(server.url, { timeout_ms = 100 })
      local _, message, name = ask(c, "BLPOP", "nothing", 5)
      assert.equal("ELOST", name)
      assert.truthy(message:find("has not answered for", 1, true))
    end)
  end)

  describe("the loop", function()
    it("is kept alive by a connection until that is closed", function()
      local c = open:connected(server.url)
      assert.is_true(loop.run("nowait"))
      c:close()
      wait_until_idle()
    end)

    it("finds a reply in time after a program has computed for long",
      function()
        local c = open:connected(server.url, { timeout_ms = 200 })
        local got
        c:call(function(reply)
          got = reply
        end, "PING")
        loop.run("nowait")
        local ends = os.clock() + 0.4
        repeat until os.clock() > ends
        wait_until(function()
          return got
        end)
        assert.equal("PONG", got)
        assert.is_true(c:is_up())
      end)

    it("does not need the handle to be kept", function()
      local got
      local weak = setmetatable({}, { __mode = "v" })
      weak.c = redis.connect(server.url, {
        on_up = function()
          got = true
        end,
      })
      collectgarbage()
      wait_until(function()
        return got
      end)
      weak.c:close()
      wait_until_idle()
      collectgarbage()
      assert.is_nil(weak.c)
    end)
  end)
end)
