local connections = require("spec.support.connections")
local core = require("taskengine.core")
local redis_server = require("spec.support.redis_server")
local scripted_redis = require("spec.support.scripted_redis")

local ask, nth = connections.ask, connections.nth
local ask_until_up = connections.ask_until_up

local CANARY <const> = "c4n4ry-in-the-c0al-m1ne"

describe("a connection to Redis, when", function()
  local open = connections.for_each_spec()

  describe("the credentials", function()
    local server = redis_server.for_all_specs {
      password = CANARY,
      config = {
        "user info on >x ~* &* +@all -info",
        "user fcall on >x ~* &* +@all -fcall",
        "user loader on >x ~* &* +@all -function",
        "user noset on >x ~* &* +@all -set",
        "user nameless on >x ~* &* +@all -client",
      },
    }

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
      local c, told = open:connect(url, {
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

    it("do not allow what replaces an older library", function()
      local other = library.library:gsub("return 1", "return 2")
      server:cli("FUNCTION", "LOAD", "REPLACE", other)
      is_hopeless(login("noset:x@"), "answered SET with: NOPERM this user "
        .. "has no permissions to run the 'set' command")
      server:cli("FUNCTION", "FLUSH")
    end)

    it("do not allow what can be done without", function()
      open:connected(login("nameless:x@"), { name = "x" })
    end)

    it("are given to a server that wants none", function()
      local unguarded <close> = redis_server.start()
      local _, told = open:connect("redis+unix://:pw@" .. unguarded.socket)
      assert.same({ "EAUTH: Redis at " .. unguarded.socket
        .. " has no password set: leave it out of the URL", "EAUTH", true },
        nth(told, 1))
    end)

    it("are put right: it comes up without being asked", function()
      local c, told = open:connect(login(":later@"))
      nth(told, 1)
      server:cli("ACL", "SETUSER", "default", ">later")
      assert.equal("PONG", ask_until_up(c, "PING"))
    end)
  end)

  describe("a password is used,", function()
    -- All that anybody is told while a connection with it lives.
    local function all_that_is_said(url, opts)
      local c, told = open:connect(url, opts)
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
      local c = open:connected(server.url)
      assert.equal("PONG", ask(c, "PING"))
      assert.equal("PONG", server:cli("PING"))
      local list <close> = io.popen("cat /proc/[0-9]*/cmdline 2>/dev/null"
        .. " | tr '\\0' ' '")
      local commands = list:read("a")
      assert.truthy(commands:find("redis-server", 1, true))
      assert.is_nil(commands:find(CANARY, 1, true))
    end)
  end)
end)
