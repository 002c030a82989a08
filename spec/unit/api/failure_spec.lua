local errors = require("taskengine.errors")
local failure = require("taskengine.failure")

describe("taskengine.failure", function()
  local function describe_raised(object)
    local _, described = xpcall(error, failure.describe, object)
    return described
  end

  local function message_of(object)
    return describe_raised(object).message
  end

  it("shows a table without a message on one line", function()
    for text, object in pairs {
      ["{}"] = {},
      ["{ 1, \"two\", true }"] = { 1, "two", true },
      ["{ code = 5, list = { 1, 2 } }"] = { list = { 1, 2 }, code = 5 },
      ["{ 1, [\"a b\"] = 2, [2.5] = 3 }"] = { 1, ["a b"] = 2, [2.5] = 3 },
      ["{ message = { \"no text\" } }"] = { message = { "no text" } },
      ["{ a = { a = { a = a table } } }"] = { a = { a = { a = { 1 } } } },
      ["{ run = a function, text = \"a\\nb\" }"] =
        { run = print, text = "a\nb" },
    } do
      assert.equal(text, message_of(object))
    end
  end)

  it("does not show all of a large one, nor goes round in a circle",
    function()
      local many, circle = {}, {}
      for i = 1, 1000 do
        many[i], many["k" .. i] = i, i
      end
      circle.circle = circle
      assert.equal("{ 1, 2, 3, 4, 5, 6, 7, 8, ... }", message_of(many))
      assert.equal("{ circle = { circle = { circle = a table } } }",
        message_of(circle))
    end)

  it("asks no metamethod of a table but __tostring", function()
    local hostile = setmetatable({ code = 5 }, {
      __index = error, __len = error, __pairs = error, __concat = error,
    })
    assert.equal("{ code = 5 }", message_of(hostile))
  end)

  it("leaves the kind to who shows it", function()
    for message, object in pairs {
      ["none left"] = { kind = "NoStock", message = "none left" },
      ["{ sku = 7 }"] = { kind = "NoStock", sku = 7 },
      ["no message"] = { kind = "NoStock" },
    } do
      local described = describe_raised(object)
      assert.same({ "NoStock", message }, { described.kind,
        described.message })
      assert.equal("NoStock: " .. message,
        failure.headline(object, described))
    end
    assert.equal("{ kind = 5 }", message_of { kind = 5 })
  end)

  it("leaves the kind, which goes along, out of the message", function()
    local late = errors.new { kind = "Timeout", message = "not finished",
      name = "brew", place = "a.lua:3" }
    local described = describe_raised(late)
    assert.same({ "Timeout", "a.lua:3: not finished (task brew)" },
      { described.kind, described.message })
    assert.equal("a.lua:3: Timeout: not finished (task brew)",
      failure.headline(late, described))
    assert.equal("too late", message_of(setmetatable({ kind = "Expired" }, {
      __tostring = function()
        return "Expired: too late"
      end,
    })))
    assert.equal("Error: text", message_of("Error: text"))
  end)

  it("does not name a kind that the message has", function()
    for _, object in ipairs {
      errors.new { kind = "Expired", message = "too late" },
      setmetatable({ kind = "Expired" }, { __tostring = function()
        return "Expired: too late"
      end }),
    } do
      assert.equal("Expired: too late",
        failure.headline(object, describe_raised(object)))
    end
    assert.equal("text", failure.headline("text", describe_raised("text")))
    assert.equal("{ 1 }", failure.headline({ 1 }, describe_raised { 1 }))
  end)

  describe("says something of an object that", function()
    local function with(meta, fields)
      return setmetatable(fields or {}, meta)
    end

    local FAILS <const> = "a table whose __tostring fails"

    local function loop()
      local n = 0
      while true do
        n = n + 1
      end
    end

    for what, case in pairs {
      ["throws when asked"] = { FAILS, function()
        return with { __tostring = function() error("no") end }
      end },
      ["throws itself when asked"] = { FAILS, function()
        local object = {}
        return with({ __tostring = function() error(object) end }, object)
      end },
      ["does not answer with a string"] = { FAILS, function()
        return with { __tostring = function() return {} end }
      end },
      ["never answers"] = { FAILS, function()
        return with { __tostring = loop }
      end },
      ["never answers, and catches what is to end it"] = { FAILS, function()
        return with { __tostring = function()
          while true do
            pcall(loop)
          end
        end }
      end },
      ["waits"] = { FAILS, function()
        return with { __tostring = function() coroutine.yield() end }
      end },
      ["hides its metatable"] = { "seen", function()
        return with { __metatable = 5, __tostring = function()
          return "seen"
        end }
      end },
      ["hides a metatable without a text"] = { "{ code = 5 }", function()
        return with({ __metatable = false }, { code = 5 })
      end },
      ["says that it is one of ours"] = { "{ name = 1 }", function()
        return with({ __metatable = errors.TaskError }, { name = 1 })
      end },
    } do
      it(what, function()
        local message
        local co = coroutine.create(function()
          message = message_of(case[2]())
        end)
        assert.is_true(coroutine.resume(co))
        assert.equal(case[1], message)
        assert.is_nil(debug.gethook(co))
      end)
    end

    it("is too long", function()
      local text = message_of(with { __tostring = function()
        return ("x"):rep(1000000)
      end })
      assert.equal(65536 + 3, #text)
    end)

    it("is nothing much", function()
      for text, object in pairs { ["false"] = false, ["42"] = 42,
        ["1.5"] = 1.5, [""] = "" } do
        local described = describe_raised(object)
        assert.same({ "Error", text }, { described.kind, described.message })
      end
      local described = describe_raised(nil)
      assert.same({ "Error", "nil was raised, an error without a message" },
        { described.kind, described.message })
      assert.is_nil(described.value)
      assert.matches("^function: ", message_of(print))
      assert.matches("^file %(", message_of(io.stdout))
    end)

    it("leaves a hook alone that is there already", function()
      local function hook() end
      local co = coroutine.create(function()
        debug.sethook(hook, "", 1000000)
        return message_of(with { __tostring = function() return "seen" end })
      end)
      local _, text = coroutine.resume(co)
      assert.equal("seen", text)
      assert.equal(hook, debug.gethook(co))
    end)
  end)
end)
