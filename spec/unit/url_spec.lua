local url = require("taskengine.core").url

local CANARY <const> = "s3cr3tCanary"

describe("taskengine.core.url", function()
  local function parsed(text)
    return assert(url.parse(text))
  end

  describe("redis://", function()
    it("has a host, a port and a database", function()
      assert.same({ scheme = "redis", host = "example.org", port = 6380,
        db = 3 }, parsed("redis://example.org:6380/3"))
    end)

    it("defaults to port 6379 and database 0", function()
      local expected = { scheme = "redis", host = "h", port = 6379, db = 0 }
      assert.same(expected, parsed("redis://h"))
      assert.same(expected, parsed("redis://h/"))
    end)

    it("takes a user with a password, or a password alone", function()
      local both = parsed("redis://worker:pw@h")
      assert.same({ "worker", "pw" }, { both.user, both.password })
      local alone = parsed("redis://:pw@h")
      assert.same({ nil, "pw" }, { alone.user, alone.password })
      local empty = parsed("redis://worker:@h")
      assert.same({ "worker", "" }, { empty.user, empty.password })
    end)

    it("undoes escapes in user and password", function()
      local u = parsed("redis://a%3Ab:p%40%2f%25%c3%A9@h")
      assert.same({ "a:b", "p@/%é" }, { u.user, u.password })
    end)

    it("splits at the last @, so that one in a password does no harm",
      function()
        local u = parsed("redis://u:p@ss:word@h:1")
        assert.same({ "u", "p@ss:word", "h", 1 },
          { u.user, u.password, u.host, u.port })
      end)

    it("takes IPv6 addresses, with a zone", function()
      local u = parsed("redis://[::1]:7000")
      assert.same({ "::1", 7000 }, { u.host, u.port })
      assert.equal("fe80::1%eth0", parsed("redis://[fe80::1%25eth0]").host)
      assert.equal("fe80::1%a-b:c%", parsed("redis://[fe80::1%25a-b%3ac%25]")
        .host)
    end)

    it("does not mind how the scheme is written", function()
      assert.equal("redis", parsed("REDIS://h").scheme)
    end)
  end)

  describe("redis+unix://", function()
    it("has the path of a socket and a database", function()
      assert.same({ scheme = "redis+unix", path = "/run/my.sock", db = 2 },
        parsed("redis+unix:///run/my.sock?db=2"))
      assert.equal(0, parsed("redis+unix:///run/my.sock").db)
    end)

    it("takes a user and a password", function()
      local u = parsed("redis+unix://u:p%2fw@/s")
      assert.same({ "u", "p/w", "/s" }, { u.user, u.password, u.path })
    end)

    it("keeps an @ in a path", function()
      local u = parsed("redis+unix:///run/a@b/s")
      assert.same({ nil, "/run/a@b/s" }, { u.user, u.path })
    end)

    it("undoes escapes in the path", function()
      assert.equal("/a b?c", parsed("redis+unix:///a%20b%3fc").path)
    end)
  end)

  describe("embedded://", function()
    it("has a name", function()
      assert.same({ scheme = "embedded", name = "run-0a:b_c.d", db = 0 },
        parsed("embedded://run-0a:b_c.d"))
    end)

    it("is called default when it has none", function()
      assert.equal("default", parsed("embedded://").name)
    end)

    it("takes the longest name", function()
      local name = ("n"):rep(128)
      assert.equal(name, parsed("embedded://" .. name).name)
    end)
  end)

  it("knows the schemes that are still to come", function()
    for _, scheme in ipairs { "rediss", "redis+sentinel", "redis+cluster" } do
      local u, message, name = url.parse(scheme .. "://host")
      assert.is_nil(u)
      assert.equal(("ENOTBUILT: %s:// is not built yet"):format(scheme),
        message)
      assert.equal("ENOTBUILT", name)
    end
  end)

  it("refuses what is malformed and says what is wrong", function()
    local cases = {
      [""] = "begins with",
      ["localhost:6379"] = "begins with",
      ["http://h"] = "begins with",
      ["redis:/h"] = "begins with",
      ["redis://"] = "no host",
      ["redis://:6379"] = "no host",
      ["redis://u:p@"] = "no host",
      ["redis://user@h"] = "without ':' before '@'",
      ["redis://h:0"] = "port",
      ["redis://h:65536"] = "port",
      ["redis://h:99999999999999999999"] = "port",
      ["redis://h:6379x"] = "port",
      ["redis://h:"] = "port",
      ["redis://h:-1"] = "port",
      ["redis://h/x"] = "database",
      ["redis://h/-1"] = "database",
      ["redis://h/2147483648"] = "database",
      ["redis://h/0/1"] = "database",
      ["redis://h?db=1"] = "after the host",
      ["redis://h#1"] = "after the host",
      ["redis://a,b"] = "no host has",
      ["redis://[::1"] = "IPv6",
      ["redis://[h]"] = "IPv6",
      ["redis://[::1%2deth0]"] = "IPv6",
      ["redis://[::1%25]"] = "IPv6",
      ["redis://[%25:]"] = "IPv6",
      ["redis://[::1-2]"] = "IPv6",
      ["redis://[::1]x"] = "after the host",
      ["redis://u%4:p@h"] = "escape in the user",
      ["redis://u:p%zz@h"] = "escape in the password",
      ["redis://u:p%00@h"] = "escape in the password",
      ["redis://u:p%0a@h"] = "escape in the password",
      ["redis://h x"] = "space",
      ["redis://h\n"] = "space",
      ["redis://h\0x"] = "control character",
      ["redis+unix://"] = "path of a socket",
      ["redis+unix://run/s"] = "path of a socket",
      ["redis+unix:///s%"] = "escape in the path",
      ["redis+unix:///s?port=1"] = "?db=N",
      ["redis+unix:///s?db="] = "database",
      ["embedded://."] = "name",
      ["embedded://.."] = "name",
      ["embedded://a/b"] = "name",
      ["embedded://" .. ("n"):rep(129)] = "name",
      ["redis://" .. ("h"):rep(5000)] = "too long",
    }
    for text, expected in pairs(cases) do
      local u, message, name = url.parse(text)
      assert.is_nil(u, text)
      assert.truthy(message:find(expected, 1, true), text .. ": " .. message)
      assert.equal("EBADURL", name)
    end
  end)

  it("shows no password: not in what is masked, nor in what is refused",
    function()
      local masked = {
        ["redis://u:" .. CANARY .. "@h:7/2"] = "redis://u:***@h:7/2",
        ["redis://:" .. CANARY .. "@[::1]"] = "redis://:***@[::1]:6379",
        ["redis+unix://:" .. CANARY .. "@/a%20b?db=1"] =
          "redis+unix://:***@/a%20b?db=1",
        ["redis://h"] = "redis://h:6379",
        ["embedded://x"] = "embedded://x",
      }
      for text, expected in pairs(masked) do
        assert.equal(expected, url.masked(text))
      end
      local refused = {
        "redis://u:" .. CANARY .. "/x@h", "redis://u:x#" .. CANARY .. "@h",
        CANARY, CANARY .. "://h", "redis://" .. CANARY .. "@h",
        "redis://u:p@" .. CANARY .. "/" .. CANARY, "redis://h:" .. CANARY,
        "redis+unix://" .. CANARY, "redis://u:" .. CANARY .. "%@h",
        "redis+unix:///s?" .. CANARY, "embedded://a/" .. CANARY,
        "redis://h?" .. CANARY, "redis://u:p " .. CANARY .. "@h",
      }
      for _, text in ipairs(refused) do
        for _, read in pairs { url.parse, url.masked } do
          local value, message = read(text)
          assert.is_nil(value, text)
          assert.is_nil(message:find(CANARY, 1, true), message)
        end
      end
    end)

  it("escapes what would break a line of a log", function()
    assert.equal("redis://a%20%22b:***@h:6379",
      url.masked("redis://a%20%22b:x@h"))
  end)

  it("raises when it is given no text", function()
    assert.error_matches(function()
      url.parse({})
    end, "string expected")
  end)
end)
