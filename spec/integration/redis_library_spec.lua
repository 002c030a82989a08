local connections = require("spec.support.connections")
local core = require("taskengine.core")
local redis_server = require("spec.support.redis_server")
local wait_until = require("spec.support.wait").wait_until

local loop = core.loop
local ask = connections.ask

describe("taskengine.core.redis", function()
  local server = redis_server.for_all_specs { tcp = true }
  local open = connections.for_each_spec()

  before_each(function()
    server:cli("FLUSHALL")
    server:cli("FUNCTION", "FLUSH")
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
      open:connected(server.url, with_release(3, 0xfedcba98))
      assert.same({ 3, 0xfedcba98 }, { loaded_build() })
    end)

    it("replaces a lower release and never a higher", function()
      open:connected(server.url, with_release(3, 9))
      open:connected(server.url, with_release(5, 4))
      assert.same({ 5, 4 }, { loaded_build() })
      open:connected(server.url, with_release(4, 9))
      assert.same({ 5, 4 }, { loaded_build() })
      assert.equal("", server:cli("KEYS", "*"):gsub("te:declare:te_spec_build",
        ""))
    end)

    it("replaces another text of its release", function()
      open:connected(server.url, with_release(3, 9))
      open:connected(server.url, with_release(3, 8))
      assert.same({ 3, 8 }, { loaded_build() })
    end)

    it("replaces what counted its builds from 1 on", function()
      server:cli("FUNCTION", "LOAD", SOURCE:format(1))
      open:connected(server.url, with_release(2))
      assert.equal(2, (loaded_build()))
    end)

    it("is the highest of many that are declared at once", function()
      for _ = 1, 5 do
        server:cli("FUNCTION", "FLUSH")
        local all = {}
        for i = 1, 8 do
          all[i] = open:connect(server.url, with_release((i * 5) % 8 + 1))
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
        local c = open:connected(server.url .. "?db=2", with_release(1))
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
      local c = open:connected(server.url .. "?db=2", with_release(3))
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
      local c = open:connected(server.url, with_release(1))
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
      local c = open:connected(server.url, with_release(1))
      local _, message, name = ask(c, "FCALL", "te_spec_missing", 0)
      assert.same({ "EREPLY: ERR Function not found", "EREPLY" },
        { message, name })
      assert.equal(1, ask(c, "FCALL", "te_spec_push", 1, "l", "x"))
    end)

    it("that does not compile is hopeless", function()
      local downs = {}
      open:connect(server.url, {
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
end)
