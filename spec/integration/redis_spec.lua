local core = require("taskengine.core")
local redis_server = require("spec.support.redis_server")
local scripted_redis = require("spec.support.scripted_redis")
local wait = require("spec.support.wait")

local wait_until, wait_until_idle = wait.wait_until, wait.wait_until_idle

local redis, loop = core.redis, core.loop

describe("taskengine.core.redis", function()
  local server, open

  setup(function()
    server = redis_server.start { tcp = true }
  end)

  teardown(function()
    server:stop()
  end)

  before_each(function()
    open = {}
    server:cli("FLUSHALL")
    server:cli("FUNCTION", "FLUSH")
  end)

  after_each(function()
    for _, c in ipairs(open) do
      c:close()
    end
    wait_until_idle()
  end)

  local function connect(url, opts)
    local c = assert(redis.connect(url or server.url, opts))
    open[#open + 1] = c
    return c
  end

  local function connected(url, opts)
    local c = connect(url, opts)
    wait_until(function()
      return c:is_up()
    end, 10, "a connection")
    return c
  end

  -- Sends a command and waits for what its function is called with.
  local function ask(c, ...)
    local got
    c:call(function(...)
      got = table.pack(...)
    end, ...)
    wait_until(function()
      return got
    end, 10, "a reply")
    return table.unpack(got, 1, got.n)
  end

  describe("connecting", function()
    it("works over a Unix socket, TCP and a name", function()
      local by_name = server.tcp_url:gsub("127%.0%.0%.1", "localhost")
      for _, url in ipairs { server.url, server.tcp_url, by_name } do
        assert.equal("PONG", ask(connected(url), "PING"))
      end
    end)

    it("is up only once the loop has run", function()
      local ups = 0
      local c = connect(nil, {
        on_up = function()
          ups = ups + 1
        end,
      })
      assert.is_false(c:is_up())
      local message, name = c:why()
      assert.equal("EDOWN", name)
      assert.equal("EDOWN: not connected to Redis at " .. server.socket
        .. " yet", message)
      wait_until(function()
        return c:is_up()
      end)
      assert.is_nil(c:why())
      assert.equal(1, ups)
    end)

    it("names itself and selects its database", function()
      local c = connected(server.url .. "?db=7", { name = "a-spec" })
      assert.equal("a-spec", ask(c, "CLIENT", "GETNAME"))
      assert.truthy(ask(c, "CLIENT", "INFO"):find(" db=7 ", 1, true))
      assert.equal("OK", ask(connected(server.tcp_url .. "/7"), "SET", "k", 7))
      assert.equal("7", ask(c, "GET", "k"))
    end)

    it("says which database is missing", function()
      local c = connect(server.url .. "?db=99")
      wait_until(function()
        return select(2, c:why()) == "EVERSION"
      end)
      assert.truthy(c:why():find("SELECT with: ERR DB index is out of range",
        1, true))
    end)

    it("goes on to the next address of a name", function()
      local addresses = os.tmpname()
      finally(function()
        os.remove(addresses)
      end)
      assert(os.execute(("${CC:-cc} -shared -fPIC -o %s "
        .. "spec/support/two_addresses.c"):format(addresses)))
      local script = ([[
        local core = require("taskengine.core")
        local c = core.redis.connect("redis://two-addresses:%d", {
          on_down = function(message) print(message) os.exit(1) end,
        })
        c:call(function(_, _, name) assert(name == "EDOWN") end, "PING")
        local wait_until = require("spec.support.wait").wait_until
        wait_until(function() return c:is_up() end)
        c:call(function(reply) print(reply) c:close() end, "PING")
        core.loop.run()
      ]]):format(server.port)
      local out <close> = io.popen(("LD_PRELOAD=%s lua5.4 -e '%s' 2>&1")
        :format(addresses, script))
      assert.equal("PONG\n", out:read("a"))
    end)

    it("is not held back by a name server that does not answer", function()
      local silence = os.tmpname()
      finally(function()
        os.remove(silence)
      end)
      assert(os.execute(("${CC:-cc} -shared -fPIC -o %s "
        .. "spec/support/silent_names.c"):format(silence)))
      local began = core.sys.monotonic()
      local out <close> = io.popen(("LD_PRELOAD=%s lua5.4 -e '%s' 2>&1")
        :format(silence, [[
          local core = require("taskengine.core")
          local tries, c = 0
          c = core.redis.connect("redis://a-name", {
            timeout_ms = 50,
            on_down = function(message)
              print(message)
              tries = tries + 1
              if tries == 2 then c:close() end
            end,
          })
          core.loop.run()
        ]]))
      assert.equal(("ETIMEDOUT: cannot connect to Redis at a-name:6379: "
        .. "connection timed out\n"):rep(2), out:read("a"))
      assert.is_true(core.sys.monotonic() - began < 20)
    end)

    it("refuses a URL that is none, and options that it does not know",
      function()
        local c, message, name = redis.connect("redis://")
        assert.same({ nil, "EBADURL: no host", "EBADURL" },
          { c, message, name })
        assert.equal("EBADURL", select(3, redis.connect("embedded://x")))
        local wrong = {
          [{ nam = "x" }] = "unknown option 'nam'",
          [{ name = 1 }] = "name: not a string",
          [{ timeout_ms = 0 }] = "timeout_ms: out of range",
          [{ timeout_ms = "5" }] = "timeout_ms: not an integer",
          [{ on_up = 1 }] = "on_up: not a function",
          [{ library = "x" }] = "needs its probe",
        }
        for opts, expected in pairs(wrong) do
          assert.error_matches(function()
            redis.connect(server.url, opts)
          end, expected, 1, true)
        end
      end)
  end)

  describe("login", function()
    local guarded

    setup(function()
      guarded = redis_server.start {
        password = "p@ss/wörd",
        config = { "user worker on >w%rk ~* &* +@all" },
      }
      guarded.plain_url = "redis+unix://%s" .. guarded.socket
    end)

    teardown(function()
      guarded:stop()
    end)

    it("takes a password, or a user with one", function()
      local as_default = guarded.plain_url:format(":p%40ss%2fw%c3%b6rd@")
      assert.equal("default", ask(connected(as_default), "ACL", "WHOAMI"))
      local as_worker = guarded.plain_url:format("worker:w%25rk@")
      assert.equal("worker", ask(connected(as_worker), "ACL", "WHOAMI"))
    end)
  end)

  describe("replies", function()
    local c

    before_each(function()
      c = connected()
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
      local c = connected()
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

    it("refuse what is neither, and send nothing of it", function()
      local c = connected()
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
      refuses("no command", "call_list", nil, {})
      refuses("not a time", "call_blocking", -1, nil, "PING")
      assert.equal("PONG", ask(c, "PING"))
    end)

    it("of one turn go out together", function()
      local scripted <close> = scripted_redis.listen(function(words)
        return words[1] == "PING" and "+PONG\r\n"
      end)
      local c = connected(scripted.url)
      local before = #scripted.arrivals
      for _ = 1, 10 do
        c:call(nil, "PING")
      end
      ask(c, "PING")
      assert.equal(before + 1, #scripted.arrivals)
    end)

    it("fail when there is no connection, and not before they return",
      function()
        local c = connect("redis+unix:///nowhere/at/all")
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
      local c = connected()
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
      local c = connected()
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
      local c = connected()
      c:call(function()
        error("in a reply")
      end, "PING")
      assert.equal("PONG", ask(c, "PING"))
      assert.equal(1, #errors)
      assert.truthy(errors[1]:find("in a reply", 1, true))
    end)

    it("that block may take longer than the timeout", function()
      local c = connected(nil, { timeout_ms = 100 })
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
      local c = connected(nil, { timeout_ms = 100 })
      local _, message, name = ask(c, "BLPOP", "nothing", 5)
      assert.equal("ELOST", name)
      assert.truthy(message:find("has not answered for", 1, true))
    end)
  end)

  describe("the loop", function()
    it("is kept alive by a connection until that is closed", function()
      local c = connected()
      assert.is_true(loop.run("nowait"))
      c:close()
      wait_until_idle()
    end)

    it("finds a reply in time after a program has computed for long",
      function()
        local c = connected(nil, { timeout_ms = 200 })
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

  describe("prepare", function()
    it("runs before each attempt and may put it off", function()
      local readies, downs = {}, {}
      local c = connect(nil, {
        prepare = function(ready)
          readies[#readies + 1] = ready
        end,
        on_down = function(...)
          downs[#downs + 1] = { ... }
        end,
      })
      wait_until(function()
        return #readies == 1
      end)
      readies[1](nil, "ENOSERVER: no redis-server, install it", "ENOSERVER")
      assert.same({ { "ENOSERVER: no redis-server, install it", "ENOSERVER",
        true } }, downs)
      wait_until(function()
        return #readies == 2
      end)
      readies[2](nil, "odd", "ESURPRISE")
      assert.same({ "EDOWN: odd", "EDOWN", false }, downs[2])
      wait_until(function()
        return #readies == 3
      end)
      readies[3](nil, "EACCES: not your folder", "EACCES")
      assert.same({ "EACCES: not your folder", "EACCES", true }, downs[3])
      wait_until(function()
        return #readies == 4
      end)
      readies[4](true)
      wait_until(function()
        return c:is_up()
      end)
    end)

    it("names the socket of an embedded broker", function()
      local c = connected("embedded://somewhere", {
        prepare = function(ready)
          ready(server.socket)
        end,
      })
      assert.equal("PONG", ask(c, "PING"))
    end)

    it("that fails is an attempt that failed", function()
      local errors = {}
      loop.on_error(function(e)
        errors[#errors + 1] = tostring(e)
      end)
      finally(function()
        loop.on_error(nil)
      end)
      local c = connect(nil, {
        prepare = function()
          error("badly prepared")
        end,
      })
      wait_until(function()
        return #errors >= 2 -- it is tried again
      end)
      assert.truthy(errors[1]:find("badly prepared", 1, true))
      assert.equal("EDOWN: the broker's preparation failed", (c:why()))
    end)

    it("answered after the end changes nothing", function()
      local ready
      local c = connect(nil, {
        prepare = function(fn)
          ready = fn
        end,
      })
      wait_until(function()
        return ready
      end)
      c:close()
      ready(true)
      wait_until_idle()
      ready(nil, "EDOWN: late", "EDOWN")
    end)
  end)

  describe("the function library", function()
    local SOURCE <const> = [[#!lua name=te_spec
redis.register_function { function_name = "te_spec_build",
  callback = function() return %d end, flags = { "no-writes" } }
redis.register_function("te_spec_push", function(keys, args)
  return redis.call("RPUSH", keys[1], unpack(args))
end)
]]

    local function with_release(release, digest, opts)
      opts = opts or {}
      opts.build = release << 32 | (digest or 7)
      opts.library = SOURCE:format(opts.build)
      opts.probe = "te_spec_build"
      return opts
    end

    -- Release and digest.
    local function loaded_build()
      local build = assert(
        tonumber(server:cli("FCALL", "te_spec_build", 0)))
      return build >> 32, build & 0xffffffff
    end

    it("is declared where it is missing", function()
      connected(nil, with_release(3, 0xfedcba98))
      assert.same({ 3, 0xfedcba98 }, { loaded_build() })
    end)

    it("replaces a lower release and never a higher", function()
      connected(nil, with_release(3, 9))
      connected(nil, with_release(5, 4))
      assert.same({ 5, 4 }, { loaded_build() })
      connected(nil, with_release(4, 9))
      assert.same({ 5, 4 }, { loaded_build() })
      assert.equal("", server:cli("KEYS", "*"):gsub("te:declare:te_spec_build",
        ""))
    end)

    it("replaces another text of its release", function()
      connected(nil, with_release(3, 9))
      connected(nil, with_release(3, 8))
      assert.same({ 3, 8 }, { loaded_build() })
    end)

    it("replaces what counted its builds from 1 on", function()
      server:cli("FUNCTION", "LOAD", SOURCE:format(1))
      connected(nil, with_release(2))
      assert.equal(2, (loaded_build()))
    end)

    it("is the highest of many that are declared at once", function()
      for _ = 1, 5 do
        server:cli("FUNCTION", "FLUSH")
        local all = {}
        for i = 1, 8 do
          all[i] = connect(nil, with_release((i * 5) % 8 + 1))
        end
        wait_until(function()
          for _, c in ipairs(all) do
            if not c:is_up() then
              return false
            end
          end
          return true
        end)
        assert.equal(8, (loaded_build()))
      end
    end)

    it("is declared anew when it is lost, and the calls repeated in order",
      function()
        local c = connected(server.url .. "?db=2", with_release(1))
        local order, lengths = {}, {}
        c:call(nil, "FUNCTION", "FLUSH")
        for i = 1, 5 do
          c:call(function(n)
            order[#order + 1] = i
            lengths[i] = n
          end, "FCALL", "te_spec_push", 1, "l", i, "x")
        end
        c:call(function()
          -- Made while the library is being declared.
          c:call(function(n)
            order[#order + 1] = 6
            lengths[6] = n
          end, "fcall", "te_spec_push", 1, "l", 6)
        end, "PING")
        wait_until(function()
          return lengths[6]
        end)
        assert.same({ 1, 2, 3, 4, 5, 6 }, order)
        assert.same({ 2, 4, 6, 8, 10, 11 }, lengths)
        assert.same({ "1", "x", "2", "x", "3", "x", "4", "x", "5", "x", "6" },
          ask(c, "LRANGE", "l", 0, -1))
        assert.truthy(ask(c, "CLIENT", "INFO"):find(" db=2 ", 1, true))
      end)

    it("is declared anew over a lower release that turns up", function()
      local c = connected(server.url .. "?db=2", with_release(3))
      server:cli("FUNCTION", "LOAD", "REPLACE", "#!lua name=te_spec\n"
        .. "redis.register_function('te_spec_build', "
        .. "function() return 2 end)")
      assert.equal(1, ask(c, "FCALL", "te_spec_push", 1, "l", "x"))
      assert.equal(3, (loaded_build()))
      -- What makes replacing safe lies where everybody looks.
      assert.equal("1", server:cli("EXISTS", "te:declare:te_spec_build"))
      assert.equal(1, ask(c, "LLEN", "l"))
    end)

    it("survives one flush after the other", function()
      local c = connected(nil, with_release(1))
      local sum = 0
      for i = 1, 200 do
        if i % 20 == 1 then
          c:call(nil, "FUNCTION", "FLUSH")
        end
        c:call(function(n)
          sum = sum + (n and 1 or 0)
        end, "FCALL", "te_spec_push", 1, "l", i)
        if i % 7 == 0 then
          loop.run("nowait")
        end
      end
      wait_until(function()
        return sum == 200
      end)
      assert.equal(200, ask(c, "LLEN", "l"))
    end)

    it("does not hide that a function is not even in it", function()
      local c = connected(nil, with_release(1))
      local _, message, name = ask(c, "FCALL", "te_spec_missing", 0)
      assert.same({ "EREPLY: ERR Function not found", "EREPLY" },
        { message, name })
      assert.equal(1, ask(c, "FCALL", "te_spec_push", 1, "l", "x"))
    end)

    it("that does not compile is hopeless", function()
      local downs = {}
      connect(nil, {
        library = "#!lua name=te_spec\nthis is no Lua",
        probe = "te_spec_build",
        build = 1,
        on_down = function(...)
          downs[#downs + 1] = { ... }
        end,
      })
      wait_until(function()
        return downs[1]
      end)
      assert.equal("EVERSION", downs[1][2])
      assert.is_true(downs[1][3])
      assert.truthy(downs[1][1]:find("FUNCTION LOAD with: ERR Error compiling",
        1, true))
    end)
  end)

  it("gives all its memory back", function()
    local function round()
      for _, url in ipairs { server.url, server.tcp_url,
        "redis+unix:///nowhere/at/all", "redis://localhost:1" } do
        local c = redis.connect(url, {
          name = "x",
          library = "#!lua name=t\nredis.register_function('t', function() "
            .. "return 1 end)",
          probe = "t",
          build = 1,
        })
        local left = 3
        for _ = 1, 3 do
          c:call(function()
            left = left - 1
          end, "FCALL", "t", 0)
        end
        wait_until(function()
          return left == 0
        end)
        c:call_list(nil, { "SET", "k", ("x"):rep(100000) })
        c:close()
        wait_until_idle()
      end
      return core.testing.alloc_live()
    end
    local live = round()
    assert.equal(live, round())
  end)
end)
