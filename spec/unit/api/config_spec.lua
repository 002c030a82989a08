local config = require("taskengine.config")
local script = require("spec.support.script")

local function names_of(environment)
  local names = { "PATH" }
  for name in pairs(environment) do
    names[#names + 1] = name
  end
  return names
end

describe("taskengine.config", function()
  -- Settings from these sources alone.
  local function resolve(sources)
    local environment = sources.environment or {}
    return config.resolve {
      app = sources.app or {},
      file = sources.file,
      command_line = sources.command_line or {},
      getenv = function(name)
        return environment[name]
      end,
      variables = names_of(environment),
    }
  end

  it("has defaults", function()
    assert.same({
      namespace = "default",
      result_expires = 86400,
      broker_timeout = 5,
      message_bytes_max = 1048576,
      result_bytes_max = 16777216,
      lease = 15,
      grace = 30,
      serializer = "msgpack",
      timezone = "UTC",
    }, resolve {})
  end)

  it("refuses a variable that stands for no setting", function()
    local settings, why = resolve { environment = { TASKENGINE_BROKR = "x" } }
    assert.is_nil(settings)
    assert.equal("there is no setting for the variable TASKENGINE_BROKR"
      .. " (did you mean 'TASKENGINE_BROKER'?)", why)
    for _, name in ipairs { "TASKENGINE_PROCESSES", "TASKENGINE_BOGUS" } do
      settings, why = resolve { environment = { [name] = "1" } }
      assert.is_nil(settings)
      assert.equal("there is no setting for the variable " .. name, why)
    end
    assert.is_table(resolve { environment = { TASKENGINE_LUA_DIR = "x" } })
  end)

  it("lets the later win: app, file, environment, command line", function()
    local folder <close> = script.folder {
      ["c.lua"] = [[return { lease = 2, grace = 2, namespace = "file",
        result_expires = 2 }]],
    }
    local all = resolve {
      app = { lease = 1, grace = 1, namespace = "app", result_expires = 1,
        timezone = "Europe/Paris" },
      file = folder.dir .. "/c.lua",
      environment = { TASKENGINE_GRACE = "3", TASKENGINE_NAMESPACE = "env",
        TASKENGINE_RESULT_EXPIRES = "3" },
      command_line = { namespace = "line", result_expires = 4 },
    }
    assert.same({ "Europe/Paris", 2, 3, "line", 4 }, { all.timezone, all.lease,
      all.grace, all.namespace, all.result_expires })
  end)

  it("finds the file by its variable", function()
    local folder <close> = script.folder {
      ["c.lua"] = "return { lease = 7 }",
    }
    assert.equal(7, resolve {
      environment = { TASKENGINE_CONFIG = folder.dir .. "/c.lua" },
    }.lease)
  end)

  it("finds taskengine.conf.lua in the working folder", function()
    local folder <close> = script.folder {
      ["taskengine.conf.lua"] = "return { lease = 7 }",
      ["main.lua"] = [[
        print(require("taskengine.config").resolve().lease)
      ]],
    }
    assert.equal("7\n", (script.run(folder.dir, "main.lua")))
  end)

  it("reads names that look like numbers as names", function()
    assert.equal("42", resolve {
      environment = { TASKENGINE_NAMESPACE = "42" },
    }.namespace)
  end)

  it("says what is wrong and where", function()
    local folder <close> = script.folder {
      ["wrong.lua"] = "return { leese = 1 }",
      ["number.lua"] = "return 7",
      ["error.lua"] = "\nerror('no')",
      ["syntax.lua"] = "\nreturn {",
      ["table.lua"] = "error({ code = 7 })",
      ["binary.lua"] = string.dump(load("return {}")),
      ["key.lua"] = [[return { [setmetatable({}, {
        __tostring = function() error("no") end })] = 1 }]],
    }
    local function problem(sources)
      local all, why = resolve(sources)
      assert.is_nil(all)
      return (why:gsub(folder.dir:gsub("%p", "%%%0") .. "/", ""))
    end
    local function with_file(name)
      return problem { file = folder.dir .. "/" .. name }
    end
    assert.equal("wrong.lua: unknown setting 'leese' (did you mean 'lease'?)",
      with_file("wrong.lua"))
    assert.equal("number.lua: it has to return a table, not a number",
      with_file("number.lua"))
    assert.equal("error.lua:2: no", with_file("error.lua"))
    assert.matches("^syntax.lua:2: ", with_file("syntax.lua"))
    assert.matches("missing.lua", with_file("missing.lua"))
    assert.equal("the name of the configuration file is empty",
      problem { file = "" })
    assert.equal("table.lua: { code = 7 }", with_file("table.lua"))
    assert.equal("binary.lua: attempt to load a binary chunk (mode is 't')",
      with_file("binary.lua"))
    assert.equal("key.lua: unknown setting 'a table'", with_file("key.lua"))
    assert.equal("TASKENGINE_GRACE: grace: seconds from 0 to 86400 expected,"
      .. ' got "long"', problem { environment = { TASKENGINE_GRACE = "long" } })
    assert.equal("lease: seconds from 1 to 3600 expected, got 0",
      problem { command_line = { lease = 0 } })
  end)

  it("takes what is in the file's table, whatever that says of itself",
    function()
      local folder <close> = script.folder {
        ["c.lua"] = [[return setmetatable({ lease = 7 }, {
          __pairs = function() error("no") end })]],
      }
      assert.equal(7, resolve { file = folder.dir .. "/c.lua" }.lease)
    end)

  it("checks every setting", function()
    for shown, given in pairs {
      ["broker: a string expected, got 5"] = { broker = 5 },
      ["timezone: a name such as Europe/Paris or UTC expected, got"
        .. ' "Mars/Olympus"'] = { timezone = "Mars/Olympus" },
      ["timezone: a name such as Europe/Paris or UTC expected, got"
        .. ' "../passwd"'] = { timezone = "../passwd" },
      ['result_expires: an integer from 1 to 316224000 expected, got "1h"'] = {
        result_expires = "1h",
      },
      ["namespace: a name (1 to 128 of the characters A-Z a-z 0-9 _ . : -)"
        .. ' expected, got "a b"'] = { namespace = "a b" },
      ["unknown setting '1'"] = { "x" },
      ['serializer: one of json, msgpack expected, got "jsn"'
        .. " (did you mean 'json'?)"] = { serializer = "jsn" },
      ['serializer: one of json, msgpack expected, got "msgpak"'
        .. " (did you mean 'msgpack'?)"] = { serializer = "msgpak" },
      ["serializer: one of json, msgpack expected, got 1"] = { serializer = 1 },
      ["message_bytes_max: an integer from 1 to 32000000 expected, got 0"] = {
        message_bytes_max = 0,
      },
      ["result_bytes_max: an integer from 1 to 32000000 expected, got 1e+99"] =
        { result_bytes_max = 1e99 },
    } do
      assert.equal(shown, config.problem(given))
    end
    assert.matches("^broker: ", config.problem { broker = "http://x" })
    assert.matches("^broker: .*not built yet",
      config.problem { broker = "rediss://x" })
    assert.is_nil(config.problem { broker = "embedded://", timezone = "UTC" })
  end)
end)
