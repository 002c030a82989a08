local connections = require("spec.support.connections")
local core = require("taskengine.core")
local redis_server = require("spec.support.redis_server")
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

  describe("connecting", function()
    it("works over a Unix socket, TCP and a name", function()
      local by_name = server.tcp_url:gsub("127%.0%.0%.1", "localhost")
      for _, url in ipairs { server.url, server.tcp_url, by_name } do
        assert.equal("PONG", ask(open:connected(url), "PING"))
      end
    end)

    it("is up only once the loop has run", function()
      local ups = 0
      local c = open:connect(server.url, {
        on_up = function()
          ups = ups + 1
        end,
      })
      assert.is_false(c:is_up())
      local message, name = c:why()
      assert.equal("EDOWN", name)
      assert.equal("EDOWN: no answer from Redis at " .. server.socket
        .. " yet", message)
      wait_until(function()
        return c:is_up()
      end)
      assert.is_nil(c:why())
      assert.equal(1, ups)
    end)

    it("names itself and selects its database", function()
      local c = open:connected(server.url .. "?db=7", { name = "a-spec" })
      assert.equal("a-spec", ask(c, "CLIENT", "GETNAME"))
      assert.truthy(ask(c, "CLIENT", "INFO"):find(" db=7 ", 1, true))
      local other = open:connected(server.tcp_url .. "/7")
      assert.equal("OK", ask(other, "SET", "k", 7))
      assert.equal("7", ask(c, "GET", "k"))
    end)

    it("says which database is missing", function()
      local c = open:connect(server.url .. "?db=99")
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
      -- Not one of its answers was waited for.
      assert.is_true(core.sys.monotonic() - began < 30)
    end)

    it("refuses a URL that is none, and options that it does not know",
      function()
        local c, message, name = redis.connect("redis://")
        assert.same({ nil, "EBADURL: no host", "EBADURL" },
          { c, message, name })
        assert.equal("EBADURL", select(3, redis.connect("embedded://x")))
        assert.equal("EBADURL", select(3, redis.connect("redis://h\0x")))
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

    it("takes no option that a metatable makes up", function()
      local made_up = setmetatable({}, { __index = function()
        return "made up"
      end })
      local c <close> = assert(redis.connect(server.url, made_up))
      wait_until(function()
        return c:is_up()
      end)
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
      assert.equal("default", ask(open:connected(as_default), "ACL", "WHOAMI"))
      local as_worker = guarded.plain_url:format("worker:w%25rk@")
      assert.equal("worker", ask(open:connected(as_worker), "ACL", "WHOAMI"))
    end)
  end)

  describe("prepare", function()
    it("runs before each attempt and may put it off", function()
      local readies, downs = {}, {}
      local c = open:connect(server.url, {
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
      local c = open:connected("embedded://somewhere", {
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
      local c = open:connect(server.url, {
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
      local c, told = open:connect(server.url, {
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
      wait_until_idle()
      assert.same({}, told)
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
    -- What other specs have left goes first.
    collectgarbage()
    collectgarbage()
    local live = round()
    for _ = 1, 5 do
      round()
    end
    -- A lookup that nobody wants any more ends in a thread of its own.
    wait_until(function()
      return core.testing.alloc_live() <= live
    end, 10, "as much memory as after the first time")
  end)
end)
