local connections = require("spec.support.connections")
local core = require("taskengine.core")
local redis_server = require("spec.support.redis_server")
local scripted_redis = require("spec.support.scripted_redis")
local wait_until = require("spec.support.wait").wait_until

local loop = core.loop
local ask, nth = connections.ask, connections.nth
local ask_until_up = connections.ask_until_up

describe("a connection to Redis, when", function()
  local open = connections.for_each_spec()

  describe("the server", function()
    local server

    before_each(function()
      server = redis_server.start { tcp = true }
    end)

    after_each(function()
      server:stop()
    end)

    it("is killed: what is under way is lost, and it comes back", function()
      local c, told = open:connected(server.url)
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
      local c, told = open:connected(server.tcp_url)
      server:kill("KILL")
      local began = loop.now()
      nth(told, 2)
      wait_until(function()
        return loop.now() > began + 400
      end)
      -- At least 5 ms lie between two attempts.
      assert.is_true(#told <= (loop.now() - began) / 5 + 1, #told)
      assert.equal("ECONNREFUSED", told[2][2])
      assert.equal("ECONNREFUSED: cannot connect to Redis at 127.0.0.1:"
        .. server.port .. ": connection refused", told[2][1])
      assert.equal(told[#told][1], (c:why()))
      server:restart()
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("stands still: a PING finds out", function()
      local c, told = open:connected(server.url, { timeout_ms = 100 })
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
      local c = open:connected(server.url, { timeout_ms = 100 })
      server:kill("STOP")
      assert.equal("ELOST", select(3, ask(c, "PING")))
      server:kill("CONT")
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("stands still while it is being greeted", function()
      server:kill("STOP")
      local c, told = open:connect(server.url, { timeout_ms = 100 })
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
        all[i], last = open:connect(server.tcp_url, { timeout_ms = 100 })
        first = first or last
      end
      assert.equal("ETIMEDOUT: cannot connect to Redis at 127.0.0.1:"
        .. server.port .. ": connection timed out", nth(last, 1)[1])
      assert.equal("ETIMEDOUT", nth(first, 1)[2])
      server:kill("CONT")
      assert.equal("PONG", ask_until_up(all[6], "PING"))
    end)

    it("becomes a replica: it is left until it is a master again", function()
      local c, told = open:connected(server.url)
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
      local c, told = open:connect(server.url)
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
      local first = open:connected(server.url)
      local c, told = open:connect(server.url)
      assert.same({ "EDOWN: Redis at " .. server.socket
        .. " takes no more clients (maxclients)", "EDOWN", false },
        nth(told, 1))
      first:close()
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)

    it("is busy with a script: it is tried again", function()
      server:cli("CONFIG", "SET", "busy-reply-threshold", "10")
      local busy = open:connected(server.url)
      busy:call_blocking(60000, nil, "EVAL", "while true do end", 0)
      -- Once it refuses redis-cli, it refuses everybody.
      wait_until(function()
        return server:cli("PING"):find("BUSY", 1, true)
      end)
      local c, told = open:connect(server.url)
      assert.same({ "EDOWN: Redis at " .. server.socket
        .. " is busy with a script", "EDOWN", false }, nth(told, 1))
      server:cli("SCRIPT", "KILL")
      assert.equal("PONG", ask_until_up(c, "PING"))
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
      local c = open:connected(server.url, library)
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
      local c = open:connected(server.url, library)
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
      local _, told = open:connect(server.url, library)
      assert.same({ "EDOWN: Redis at " .. server.socket .. " has its function "
        .. "library changed all the time", "EDOWN", false }, nth(told, 1))
    end)
  end)
end)
