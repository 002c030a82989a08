local connections = require("spec.support.connections")
local core = require("taskengine.core")
local scripted_redis = require("spec.support.scripted_redis")
local wait_until = require("spec.support.wait").wait_until

local loop = core.loop
local ask, nth = connections.ask, connections.nth
local ask_until_up = connections.ask_until_up

describe("a connection to Redis, when", function()
  local open = connections.for_each_spec()

  describe("the server answers", function()
    -- The first news of a connection to a server that says `reply` to
    -- `command`; it must be all that it takes to refuse it.
    local function refusal(command, reply)
      local server <close> = scripted_redis.listen(function(words)
        return words[1] == command and reply or nil
      end)
      local c, told = open:connect(server.url, { timeout_ms = 2000 })
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
        open:connected(server.url):close()
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
      local c = open:connected(server.url)
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
        local c, told = open:connected(server.url)
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
      local _, told = open:connected(server.url)
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
      local c, told = open:connect("redis+unix://" .. socket)
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
      local c = open:connected(server.url)
      assert.equal("ELOST", select(3, ask(c, "PING")))
    end)

    it("and a call is made for each loss: none is forgotten", function()
      local server <close> = scripted_redis.listen(function(words, client)
        if words[1] == "PING" then
          client:close()
        end
      end)
      local c = open:connect(server.url)
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
      local c = open:connected(server.url)
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
end)
