local core = require("taskengine.core")
local redis_server = require("spec.support.redis_server")
local scripted_redis = require("spec.support.scripted_redis")
local wait = require("spec.support.wait")

local redis, loop = core.redis, core.loop
local wait_until, wait_until_idle = wait.wait_until, wait.wait_until_idle

local CANARY <const> = "c4n4ry-in-the-c0al-m1ne"

describe("a connection to Redis, when", function()
  local open

  before_each(function()
    open = {}
  end)

  after_each(function()
    for _, c in ipairs(open) do
      c:close()
    end
    wait_until_idle()
  end)

  -- A connection, and what is told of it: { "up" }, { message, name, fatal }.
  local function connect(url, opts)
    local told = {}
    opts = opts or {}
    opts.on_up = function()
      told[#told + 1] = { "up" }
    end
    opts.on_down = function(...)
      told[#told + 1] = { ... }
    end
    local c = assert(redis.connect(url, opts))
    open[#open + 1] = c
    return c, told
  end

  local function connected(url, opts)
    local c, told = connect(url, opts)
    wait_until(function()
      return c:is_up()
    end, 10, "a connection")
    -- What comes next is news, however long it took to come up.
    for i = #told, 1, -1 do
      told[i] = nil
    end
    return c, told
  end

  -- Waits until something was told for the n-th time.
  local function nth(told, n)
    return wait_until(function()
      return told[n]
    end, 10, "news of the connection")
  end

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

  -- One that may fail: until it does not.
  local function ask_until_up(c, ...)
    wait_until(function()
      return c:is_up()
    end, 10, "a connection that came back")
    return ask(c, ...)
  end

  describe("the server", function()
    local server

    before_each(function()
      server = redis_server.start { tcp = true }
    end)

    after_each(function()
      server:stop()
    end)

    it("is killed: what is under way is lost, and it comes back", function()
      local c, told = connected(server.url)
      local got
      c:call_blocking(60000, function(...)
        got = { ... }
      end, "BLPOP", "nothing", 60)
      c:call(nil, "ECHO", "behind it")
      loop.run("nowait")
      server:kill("KILL")
      local down = nth(told, 1)
      -- "end of file", or "connection reset by peer".
      local sentence = ": lost the connection to Redis at " .. server.socket
      assert.equal("ELOST", got[3])
      assert.equal(1, got[2]:find("ELOST" .. sentence, 1, true))
      assert.equal(1, down[1]:find(down[2] .. sentence, 1, true))
      assert.is_false(down[3])
      assert.equal("EDOWN", select(3, ask(c, "PING")))
      server:restart()
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("is away for a while: it is tried again, not in a frenzy", function()
      local c, told = connected(server.tcp_url)
      server:kill("KILL")
      local ends = loop.now() + 400
      wait_until(function()
        return loop.now() > ends
      end)
      -- At least 5 ms lie between two attempts; with luck it is only one.
      assert.is_true(#told >= 2 and #told <= 81, #told)
      assert.equal("ECONNREFUSED", told[2][2])
      assert.equal("ECONNREFUSED: cannot connect to Redis at 127.0.0.1:"
        .. server.port .. ": connection refused", told[2][1])
      assert.equal(told[#told][1], (c:why()))
      server:restart()
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("stands still: a PING finds out", function()
      local c, told = connected(server.url, { timeout_ms = 100 })
      local stopped = loop.now()
      server:kill("STOP")
      local down = nth(told, 1)
      local took = loop.now() - stopped
      assert.equal("ETIMEDOUT", down[2])
      assert.truthy(down[1]:find("has not answered for", 1, true))
      -- Silence for one timeout, then the PING for another.
      assert.is_true(took >= 100, took)
      server:kill("CONT")
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("stands still with a call under way", function()
      local c = connected(server.url, { timeout_ms = 100 })
      server:kill("STOP")
      assert.equal("ELOST", select(3, ask(c, "PING")))
      server:kill("CONT")
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("stands still while it is being greeted", function()
      server:kill("STOP")
      local c, told = connect(server.url, { timeout_ms = 100 })
      assert.equal("ETIMEDOUT", nth(told, 1)[2])
      server:kill("CONT")
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("does not even take a connection", function()
      server:stop()
      server = redis_server.start { tcp = true, config = { "tcp-backlog 1" } }
      server:kill("STOP")
      -- The first ones fill its backlog.
      local all, first, last = {}, nil, nil
      for i = 1, 6 do
        all[i], last = connect(server.tcp_url, { timeout_ms = 100 })
        first = first or last
      end
      assert.equal("ETIMEDOUT: cannot connect to Redis at 127.0.0.1:"
        .. server.port .. ": connection timed out", nth(last, 1)[1])
      assert.equal("ETIMEDOUT", nth(first, 1)[2])
      server:kill("CONT")
      assert.equal("PONG", ask_until_up(all[6], "PING"))
    end)

    it("becomes a replica: it is left until it is a master again", function()
      local c, told = connected(server.url)
      server:cli("REPLICAOF", "127.0.0.1", "1")
      local _, message = ask(c, "SET", "k", "v")
      assert.truthy(message:find("READONLY", 1, true))
      local down = nth(told, 1)
      assert.equal("EDOWN: Redis at " .. server.socket
        .. " has become a read-only replica", down[1])
      assert.is_false(down[3])
      assert.equal("EDOWN: Redis at " .. server.socket
        .. " is a read-only replica: name its master", nth(told, 2)[1])
      server:cli("REPLICAOF", "NO", "ONE")
      assert.equal("OK", ask_until_up(c, "SET", "k", "v"))
    end)

    it("evicts keys: the message says what to change", function()
      server:cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
      local c, told = connect(server.url)
      local down = nth(told, 1)
      assert.same({ "EVERSION: Redis at " .. server.socket
        .. " may throw tasks away (maxmemory-policy allkeys-lru): set "
        .. "maxmemory-policy noeviction (CONFIG SET maxmemory-policy "
        .. "noeviction, and in redis.conf)", "EVERSION", true }, down)
      server:cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("takes no more clients: it is tried again", function()
      server:cli("CONFIG", "SET", "maxclients", "1")
      local first = connected(server.url)
      local c, told = connect(server.url)
      assert.same({ "EDOWN: Redis at " .. server.socket
        .. " takes no more clients (maxclients)", "EDOWN", false },
        nth(told, 1))
      first:close()
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("is busy with a script: it is tried again", function()
      server:cli("CONFIG", "SET", "busy-reply-threshold", "10")
      local busy = connected(server.url)
      busy:call_blocking(60000, nil, "EVAL", "while true do end", 0)
      -- Once it refuses redis-cli, it refuses everybody.
      wait_until(function()
        return server:cli("PING"):find("BUSY", 1, true)
      end)
      local c, told = connect(server.url)
      assert.same({ "EDOWN: Redis at " .. server.socket
        .. " is busy with a script", "EDOWN", false }, nth(told, 1))
      server:cli("SCRIPT", "KILL")
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)
  end)

  describe("the credentials", function()
    local server

    setup(function()
      server = redis_server.start {
        password = CANARY,
        config = {
          "user info on >x ~* &* +@all -info",
          "user fcall on >x ~* &* +@all -fcall",
          "user loader on >x ~* &* +@all -function",
          "user nameless on >x ~* &* +@all -client",
        },
      }
    end)

    teardown(function()
      server:stop()
    end)

    local function login(text)
      return "redis+unix://" .. text .. server.socket
    end

    local library = {
      library = "#!lua name=t\nredis.register_function('t', "
        .. "function() return 1 end)",
      probe = "t",
      build = 1,
    }

    local function is_hopeless(url, expected)
      local c, told = connect(url, {
        library = library.library,
        probe = library.probe,
        build = library.build,
        name = "x",
      })
      local down = nth(told, 1)
      assert.equal("EAUTH: Redis at " .. server.socket .. " " .. expected,
        down[1])
      assert.same({ "EAUTH", true }, { down[2], down[3] })
      c:close()
    end

    it("are wrong", function()
      local expected = "refused the user name or the password"
      is_hopeless(login(":wrong@"), expected)
      is_hopeless(login("nobody:x@"), expected)
      is_hopeless(login("info:@"), expected)
    end)

    it("are missing", function()
      is_hopeless(login(""), "wants a password: write it into the URL as "
        .. ":password@ or user:password@")
    end)

    it("do not allow what is needed", function()
      is_hopeless(login("info:x@"), "answered INFO with: NOPERM this user has "
        .. "no permissions to run the 'info' command")
      is_hopeless(login("fcall:x@"), "answered FCALL with: NOPERM this user "
        .. "has no permissions to run the 'fcall' command")
      is_hopeless(login("loader:x@"), "answered FUNCTION LOAD with: NOPERM "
        .. "this user has no permissions to run the 'function|load' command")
    end)

    it("do not allow what can be done without", function()
      connected(login("nameless:x@"), { name = "x" })
    end)

    it("are given to a server that wants none", function()
      local unguarded <close> = redis_server.start()
      local _, told = connect("redis+unix://:pw@" .. unguarded.socket)
      assert.same({ "EAUTH: Redis at " .. unguarded.socket
        .. " has no password set: leave it out of the URL", "EAUTH", true },
        nth(told, 1))
    end)

    it("are put right: it comes up without being asked", function()
      local c, told = connect(login(":later@"))
      nth(told, 1)
      server:cli("ACL", "SETUSER", "default", ">later")
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)
  end)

  describe("a password is used,", function()
    -- All that anybody is told while a connection with it lives.
    local function all_that_is_said(url, opts)
      local c, told = connect(url, opts)
      nth(told, 1)
      local said = { tostring(c), tostring((c:why())),
        core.url.masked(url), tostring((ask(c, "PING"))) }
      for _, what in ipairs(told) do
        said[#said + 1] = tostring(what[1])
      end
      local value = table.pack(ask(c, "PING"))
      said[#said + 1] = tostring(value[2])
      c:close()
      return table.concat(said, "\n")
    end

    local function hides(said)
      -- Nor a part of it, as something cut off would show.
      for size = 6, #CANARY do
        assert.is_nil(said:find(CANARY:sub(1, size), 1, true), said)
        assert.is_nil(said:find(CANARY:sub(-size), 1, true), said)
      end
    end

    it("it is in no message, whatever the server answers", function()
      local bulk = scripted_redis.bulk
      local answers = {
        ["AUTH"] = { "-WRONGPASS invalid password " .. CANARY .. "\r\n",
          "-ERR unknown command 'AUTH', with args beginning with: 'u' '"
            .. CANARY .. "'\r\n",
          "-ERR unknown command 'AUTH', args: '" .. CANARY:sub(1, -2)
            .. "'\r\n",
          "-ERR AUTH " .. CANARY .. "\r\n", "-NOPERM " .. CANARY .. "\r\n",
          "-" .. CANARY .. "\r\n" },
        ["INFO"] = { "-ERR no " .. CANARY .. " " .. CANARY .. "\r\n",
          "-NOPERM " .. CANARY .. "\r\n", bulk(CANARY),
          "-ERR " .. ("x"):rep(150) .. CANARY .. CANARY .. "\r\n",
          scripted_redis.info { redis_version = CANARY },
          scripted_redis.info { maxmemory_policy = CANARY } },
      }
      for command, replies in pairs(answers) do
        for _, reply in ipairs(replies) do
          local server <close> = scripted_redis.listen(function(words)
            if words[1] == command then
              return reply
            end
            return words[1] == "AUTH" and "+OK\r\n" or nil
          end)
          local url = "redis+unix://u:" .. CANARY .. "@" .. server.socket
          hides(all_that_is_said(url))
          assert.truthy(server.arrivals[1]:find(CANARY, 1, true))
        end
      end
    end)

    it("it is in no message of a real server", function()
      local server <close> = redis_server.start { password = "another" }
      for _, login in ipairs { "u:%s@", ":%s@" } do
        hides(all_that_is_said("redis+unix://" .. login:format(CANARY)
          .. server.socket))
      end
      server:kill("KILL")
      hides(all_that_is_said(("redis+unix://:%s@%s"):format(CANARY,
        server.socket)))
    end)

    it("it is in no process list", function()
      local server <close> = redis_server.start { password = CANARY }
      local c = connected(server.url)
      assert.equal("PONG", ask(c, "PING"))
      assert.equal("PONG", server:cli("PING"))
      local list <close> = io.popen("cat /proc/[0-9]*/cmdline 2>/dev/null"
        .. " | tr '\\0' ' '")
      local commands = list:read("a")
      assert.truthy(commands:find("redis-server", 1, true))
      assert.is_nil(commands:find(CANARY, 1, true))
    end)
  end)

  describe("the server answers", function()
    -- The first news of a connection to a server that says `reply` to
    -- `command`; it must be all that it takes to refuse it.
    local function refusal(command, reply)
      local server <close> = scripted_redis.listen(function(words)
        return words[1] == command and reply or nil
      end)
      local c, told = connect(server.url, { timeout_ms = 2000 })
      local down = nth(told, 1)
      c:close()
      assert.is_nil(down[1]:find("[%c]"))
      return down[1]:gsub("at " .. server.socket:gsub("%p", "%%%0"), "at HERE"),
        down[2], down[3]
    end

    it("that it is too old", function()
      for version, shown in pairs { ["6.2.14"] = "6.2.14", ["2.8"] = "2.8",
        ["x"] = "x", ["6.999.999"] = "6.999.999", ["1\27[2J"] = "1?[2J" } do
        assert.same({ ("EVERSION: Redis %s at HERE is too old: taskengine "
          .. "needs 7.0 or newer (functions)"):format(shown), "EVERSION",
          true }, { refusal("INFO", scripted_redis.info {
          redis_version = version,
        }) })
      end
    end)

    it("with a version that will do", function()
      for _, version in ipairs { "7.0.0", "7.2.4", "8.0-rc1", "10.1.2",
        "255.255.255" } do
        local server <close> = scripted_redis.listen(function(words)
          return words[1] == "INFO" and scripted_redis.info {
            redis_version = version,
          } or nil
        end)
        connected(server.url):close()
      end
    end)

    it("as no Redis does", function()
      for _, case in ipairs {
        { ":1\r\n", "EPROTO: Redis at HERE gave no answer that fits INFO" },
        { "*0\r\n", "EPROTO: Redis at HERE gave no answer that fits INFO" },
        { "$0\r\n\r\n",
          "EVERSION: Redis at HERE does not tell its version" },
        { scripted_redis.info { redis_version = false },
          "EVERSION: Redis at HERE does not tell its version" },
        { "-ERR unknown command\r\n", "EVERSION: Redis at HERE answered INFO "
          .. "with: ERR unknown command" },
        { "-WRONG \27[31m\r\n",
          "EVERSION: Redis at HERE answered INFO with: WRONG ?[31m" },
      } do
        assert.equal(case[2], (refusal("INFO", case[1])))
      end
    end)

    it("that it is not ready: it is tried again", function()
      for reply, expected in pairs {
        ["-LOADING Redis is loading the dataset in memory\r\n"] =
          "is still loading its data",
        [scripted_redis.info { loading = "1" }] = "is still loading its data",
        [scripted_redis.info { role = "slave" }] =
          "is a read-only replica: name its master",
        ["-BUSY Redis is busy running a script.\r\n"] =
          "is busy with a script",
        ["-MASTERDOWN Link with MASTER is down\r\n"] =
          "is a replica that has lost its master",
        ["-CLUSTERDOWN The cluster is down\r\n"] =
          "belongs to a cluster that is down",
        ["-OOM command not allowed\r\n"] =
          "takes no writes: its memory is full (maxmemory)",
        ["-MISCONF Redis is configured to save\r\n"] =
          "takes no writes: it cannot save to its disk",
        ["-NOREPLICAS Not enough good replicas\r\n"] =
          "takes no writes: it misses its replicas",
      } do
        assert.same({ "EDOWN: Redis at HERE " .. expected, "EDOWN", false },
          { refusal("INFO", reply) })
      end
    end)

    it("that it is protected", function()
      local message, name, fatal = refusal("INFO", "-DENIED Redis is running "
        .. "in protected mode because ...\r\n")
      assert.same({ "EAUTH", true }, { name, fatal })
      assert.truthy(message:find("runs in protected mode", 1, true))
    end)

    it("byte by byte: each reply is whole all the same", function()
      local reply = "*3\r\n$5\r\nhello\r\n:-12\r\n*2\r\n$-1\r\n+OK\r\n"
      local server <close> = scripted_redis.listen(function(words)
        return words[1] == "PING" and "" or nil
      end)
      local c = connected(server.url)
      for size = 1, #reply do
        local got
        c:call(function(value)
          got = value
        end, "PING")
        local asked = #server.arrivals
        wait_until(function()
          return #server.arrivals > asked
        end)
        for at = 1, #reply, size do
          assert.is_nil(got)
          server.clients[1]:send(reply:sub(at, at + size - 1))
          loop.run("nowait")
        end
        wait_until(function()
          return got
        end)
        assert.same({ "hello", -12, { false, "OK" } }, got)
      end
    end)

    it("with what is no reply: the call is lost, and it comes back", function()
      local garbage = {
        "HTTP/1.1 400 Bad Request\r\n\r\n", "\0\0\0\0", ":12x\r\n",
        "$-7\r\n", "*2\r\n:1\r\n!\r\n",
        "$999999999999\r\n", "*1048577\r\n", ("*1\r\n"):rep(9),
      }
      for _, bytes in ipairs(garbage) do
        local is_broken = true
        local server <close> = scripted_redis.listen(function(words)
          return words[1] == "PING" and (is_broken and bytes or "+PONG\r\n")
            or nil
        end)
        local c, told = connected(server.url)
        local _, message, name = ask(c, "PING")
        assert.equal("ELOST", name)
        local down = nth(told, 1)
        assert.truthy(down[2] == "EPROTO" or down[2] == "ELIMIT")
        assert.is_false(down[3])
        assert.equal("ELOST" .. down[1]:match(": .*"), message)
        is_broken = false
        assert.equal("PONG", ask_until_up(c, "PING"))
        c:close()
      end
    end)

    it("what nobody has asked for", function()
      local server <close> = scripted_redis.listen(function()
        return nil
      end)
      local _, told = connected(server.url)
      server.clients[1]:send("+OK\r\n")
      local down = nth(told, 1)
      assert.equal("EPROTO", down[2])
      assert.truthy(down[1]:find("sent what nobody had asked for", 1, true))
    end)

    it("before it is asked, and hangs up: what it said is heard", function()
      local socket = os.tmpname()
      os.remove(socket)
      local peer <close> = assert(core.testing.peer.listen(socket,
        function(client)
          client:send("-ERR max number of clients reached\r\n")
          client:close()
        end))
      local c, told = connect("redis+unix://" .. socket)
      assert.equal("EDOWN: Redis at " .. socket
        .. " takes no more clients (maxclients)", nth(told, 1)[1])
      c:close()
      peer:close()
      os.remove(socket)
    end)

    it("half of a reply, and hangs up", function()
      local server <close> = scripted_redis.listen(function(words, client)
        if words[1] == "PING" then
          client:send("$10\r\nhalf")
          client:close()
        end
      end)
      local c = connected(server.url)
      assert.equal("ELOST", select(3, ask(c, "PING")))
    end)

    it("and a call is made for each loss: none is forgotten", function()
      local server <close> = scripted_redis.listen(function(words, client)
        if words[1] == "PING" then
          client:close()
        end
      end)
      local c = connect(server.url)
      local count, total = 0, 50
      local function again(_, _, name)
        assert(name == "ELOST" or name == "EDOWN", name)
        count = count + 1
        if count < total then
          c:call(again, "PING")
        end
      end
      c:call(again, "PING")
      wait_until(function()
        return count == total
      end)
    end)

    it("nothing, and is closed in the middle of it all", function()
      local server <close> = scripted_redis.listen(function(words)
        return words[1] == "ECHO" and "+1\r\n+2\r\n+3\r\n" or nil
      end)
      local c = connected(server.url)
      local names = {}
      for i = 1, 3 do
        c:call(function(value, _, name)
          names[i] = value or name
          c:close()
        end, "ECHO", i)
      end
      wait_until(function()
        return #names == 3
      end)
      assert.same({ "1", "ECLOSED", "ECLOSED" }, names)
    end)
  end)

  describe("functions are lost,", function()
    local library = { library = "the code", probe = "build", build = 1 }

    -- A server with functions: `state.flushed` says that it lost them,
    -- `state.answer` answers what is not about the library.
    local function listen(state)
      return scripted_redis.listen(function(words)
        local verb = words[1] .. " " .. tostring(words[2])
        local is_missing = state.flushed and words[1] == "FCALL"
        if verb == "FUNCTION LOAD" then
          state.loads = state.loads + 1
          return not state.is_silent and state.load() or nil
        elseif is_missing then
          return "-ERR Function not found\r\n"
        elseif verb == "FCALL build" then
          return ":1\r\n"
        end
        return state.answer(words)
      end)
    end

    local function new_state()
      local state = { flushed = true, loads = 0 }
      function state.load()
        state.flushed = false
        return "$1\r\nt\r\n"
      end
      return state
    end

    it("some of many calls miss them: those go again, in order", function()
      local seen = {}
      local state = new_state()
      function state.answer(words)
        seen[#seen + 1] = words[2]
        state.flushed = state.flushed or words[2] == "2" or words[2] == "4"
        return words[1] ~= "INFO" and "+" .. words[2] .. "\r\n" or nil
      end
      local server <close> = listen(state)
      local c = connected(server.url, library)
      local order = {}
      for i = 1, 6 do
        c:call(function(value)
          order[#order + 1] = value
        end, i == 3 and "ECHO" or "FCALL", tostring(i), "0")
      end
      wait_until(function()
        return #order == 6
      end)
      -- 3 is no function; 4 to 6 miss them together, then 5 and 6.
      assert.same({ "1", "2", "3", "4", "5", "6" }, seen)
      assert.same(seen, order)
      assert.equal(3, state.loads)
    end)

    it("and then the connection: what waited was not carried out", function()
      local state = new_state()
      function state.answer(words)
        return words[1] == "ECHO" and "+OK\r\n" or nil
      end
      local server <close> = listen(state)
      local c = connected(server.url, library)
      state.flushed, state.is_silent = true, true
      local names = {}
      local function call(i, ...)
        c:call(function(value, _, name)
          names[i] = value or name
        end, ...)
      end
      call(1, "FCALL", "f", "0")
      call(2, "ECHO", "x")
      call(3, "FCALL", "f", "0")
      wait_until(function()
        return state.loads == 2
      end)
      call(4, "ECHO", "x")
      server.clients[1]:close()
      wait_until(function()
        return names[4]
      end)
      assert.same({ "EDOWN", "OK", "EDOWN", "EDOWN" }, names)
    end)

    it("and a load that never holds is given up", function()
      local state = new_state()
      function state.load()
        return "-ERR Library 't' already exists\r\n"
      end
      function state.answer() end
      local server <close> = listen(state)
      local _, told = connect(server.url, library)
      assert.same({ "EDOWN: Redis at " .. server.socket .. " has its function "
        .. "library changed all the time", "EDOWN", false }, nth(told, 1))
    end)
  end)
end)
