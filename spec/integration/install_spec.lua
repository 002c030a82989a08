local release = (os.getenv("TE_BUILD") or "build/test"):match("^(.*)/[^/]+$")

local function run(command)
  local pipe <close> = assert(io.popen(command .. " 2>&1"))
  return (pipe:read("a"):gsub("%s+$", ""))
end

describe("make install", function()
  local folder

  setup(function()
    folder = run("mktemp -d")
  end)

  teardown(function()
    os.execute(("rm -rf '%s'"):format(folder))
  end)

  local function make(target)
    return run(("MAKEFLAGS= make -s %s BUILD='%s' DESTDIR='%s' PREFIX=/usr")
      :format(target, release, folder))
  end

  it("puts a program and a module in place that work", function()
    assert.equals("", make("install"))
    assert.equals("false\ttable", run(([[
      cd / && LUA_PATH='%s/usr/share/lua/5.4/?.lua' \
      LUA_CPATH='%s/usr/lib/lua/5.4/?.so' lua5.4 -e '
        local core = require("taskengine.core")
        print(core.testing ~= nil, type(require("taskengine.library")))'
    ]]):format(folder, folder)))
    assert.equals("", run(("cmp '%s/usr/bin/taskengine' '%s/taskengine'")
      :format(folder, release)))
    assert.equals("", run(("diff -r --exclude lua share '%s/usr/share'")
      :format(folder)))
  end)

  it("is undone by uninstall", function()
    assert.equals("", make("install uninstall"))
    assert.equals("", run(("find '%s' -type f"):format(folder)))
  end)
end)
