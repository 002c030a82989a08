local core = require("taskengine.core")
local runtime_folder = require("taskengine.cli.runtime_folder")
local script = require("spec.support.script")

describe("taskengine.cli.runtime_folder", function()
  local function path(files, settings, environment)
    environment = environment or { XDG_RUNTIME_DIR = "/run/user/1" }
    return runtime_folder.path(files, settings, function(name)
      return environment[name]
    end)
  end

  local DEFAULT <const> = { namespace = "default" }

  it("lies in the runtime folder, else with the state", function()
    local function base(environment)
      return (path({ "f" }, DEFAULT, environment)
        :gsub("/workers/%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$", ""))
    end
    assert.equal("/r/taskengine",
      base { XDG_RUNTIME_DIR = "/r", XDG_STATE_HOME = "/s", HOME = "/h" })
    assert.equal("/s/taskengine/run",
      base { XDG_RUNTIME_DIR = "", XDG_STATE_HOME = "/s", HOME = "/h" })
    assert.equal("/h/.local/state/taskengine/run", base { HOME = "/h" })
    assert.same({ nil, "neither XDG_RUNTIME_DIR nor HOME is set" },
      { path({ "f" }, DEFAULT, {}) })
  end)

  it("is the same for a worker that is started again", function()
    local folder <close> = script.folder { ["tasks.lua"] = "" }
    local file = folder.dir .. "/tasks.lua"
    assert.equal(path({ file }, DEFAULT),
      path({ folder.dir .. "/./tasks.lua" }, DEFAULT))
    local broker = { broker = "redis://h/0", namespace = "default" }
    assert.equal(path({ "one" }, broker), path({ "two" }, broker))
  end)

  it("does not depend on a password", function()
    assert.equal(path({}, { broker = "redis://:a@h", namespace = "n" }),
      path({}, { broker = "redis://:b@h", namespace = "n" }))
  end)

  it("is another for each file, broker, namespace", function()
    local seen = {}
    for _, settings in ipairs {
      DEFAULT, { namespace = "other" },
      { namespace = "default", broker = "redis://h/0" },
      { namespace = "default", broker = "redis://h/1" },
      { namespace = "other", broker = "redis://h/0" },
    } do
      local one = path({ "f" }, settings)
      assert.is_nil(seen[one])
      seen[one] = true
    end
    assert.is_nil(seen[path({ "g" }, DEFAULT)])
  end)

  it("is made for its user alone", function()
    local folder <close> = script.folder {}
    local made = folder.dir .. "/a/b"
    assert.equal(made, runtime_folder.make(made))
    assert.equal(448, core.sys.stat(made).mode) -- 0700
    assert.equal(made, runtime_folder.make(made))
  end)

  it("is of no use where others may write, or nothing can be made", function()
    local folder <close> = script.folder { file = "" }
    local shared = folder.dir .. "/shared"
    assert(os.execute(("mkdir -m 777 '%s'"):format(shared)))
    assert.same({ nil, shared .. ": others may write there" },
      { runtime_folder.make(shared) })
    assert.same({ nil, folder.dir .. "/file/x: not a directory" },
      { runtime_folder.make(folder.dir .. "/file/x") })
  end)
end)
