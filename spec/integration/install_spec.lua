local redis_server = require("spec.support.redis_server")

local release = (os.getenv("TE_BUILD") or "build/test"):match("^(.*)/[^/]+$")

local function run(command)
  local pipe <close> = assert(io.popen("{ " .. command .. "\n} 2>&1"))
  return (pipe:read("a"):gsub("%s+$", ""))
end

describe("make install", function()
  local folder, server

  setup(function()
    folder = run("mktemp -d")
    server = redis_server.start()
  end)

  teardown(function()
    server:stop()
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
    assert.equals("", run(([[
      for part in share/*; do diff -r "$part" '%s/usr/'"$part"; done
      diff -r recipes '%s/usr/share/taskengine/recipes'
    ]]):format(folder, folder)))
  end)

  -- As a user has it, whose environment knows nothing of it.
  local function find_primes(words)
    return run(([[
      cd / && env -i HOME='%s' '%s/usr/bin/taskengine' run -q -b '%s' \
      '%s/usr/share/taskengine/recipes/primes.lua' 10000 %s
    ]]):format(server.dir, folder, server.url, folder, words or ""))
  end

  it("lets the recipes find what they need", function()
    assert.equals("", make("install"))
    assert.matches("^Found 1229 primes up to 10000\n", find_primes())
    assert.matches("^Found 1229 primes up to 10000\n", find_primes("--pure"))
  end)

  it("leaves a recipe that says what is missing", function()
    assert.equals("", make("install"))
    local module = folder .. "/usr/lib/taskengine/native/primes.so"
    assert(os.remove(module))
    assert.equals("primes: its C module is not there; `make` in the sources"
      .. " builds it, and --pure does without", find_primes())
    local file <close> = assert(io.open(module, "wb"))
    assert(file:write("not a module"))
    assert(file:close())
    assert.matches("^primes: its C module cannot be loaded: [^\n]*primes%.so:"
      .. "[^\n]*; `make` in the sources[^\n]*$", find_primes())
  end)

  it("is undone by uninstall", function()
    assert.equals("", make("install uninstall"))
    assert.equals("", run(("find '%s' -type f"):format(folder)))
  end)
end)
