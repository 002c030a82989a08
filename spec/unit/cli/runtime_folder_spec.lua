local core = require("taskengine.core")
local runtime_folder = require("taskengine.cli.runtime_folder")
local script = require("spec.support.script")

describe("taskengine.cli.runtime_folder", function()
  it("lies in the runtime folder, else with the state", function()
    local function path(environment)
      return runtime_folder.path(function(name)
        return environment[name]
      end)
    end
    assert.equal("/r/taskengine/workers",
      path { XDG_RUNTIME_DIR = "/r", XDG_STATE_HOME = "/s", HOME = "/h" })
    assert.equal("/s/taskengine/run/workers",
      path { XDG_RUNTIME_DIR = "", XDG_STATE_HOME = "/s", HOME = "/h" })
    assert.equal("/h/.local/state/taskengine/run/workers",
      path { HOME = "/h" })
    assert.same({ nil, "neither XDG_RUNTIME_DIR nor HOME is set" },
      { path {} })
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
