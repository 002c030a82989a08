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
  local function recipe(words)
    return run(([[
      cd '%s' && env -i HOME='%s' '%s/usr/bin/taskengine' run -q -b '%s' \
      '%s/usr/share/taskengine/recipes/'%s
    ]]):format(server.dir, server.dir, folder, server.url, folder, words))
  end

  local function find_primes(words)
    return recipe("primes.lua 10000 " .. (words or ""))
  end

  it("lets the recipes find what they need", function()
    assert.equals("", make("install"))
    assert.matches("^Found 1229 primes up to 10000\n", find_primes())
    assert.matches("^Found 1229 primes up to 10000\n", find_primes("--pure"))
    local file <close> = assert(io.open(server.dir .. "/text", "w"))
    assert(file:write("one two one\n"))
    assert(file:close())
    assert.equals("2 one\n      1 two",
      recipe("mapreduce.lua wordcount text"):match("%S.*"))
    assert.matches("^nombre_mots: 3\n", recipe("filepipeline.lua text"))
  end)

  it("leaves a recipe that says what is missing", function()
    assert.equals("", make("install"))
    local module = folder .. "/usr/lib/taskengine/native/primes.so"
    assert(os.remove(module))
    assert.equals("primes: its C module is not there; `make` in the sources"
      .. " builds it, and --pure does without", find_primes())
    for _, name in ipairs { "mapreduce.lua wordcount", "filepipeline.lua" } do
      os.remove((module:gsub("primes", name:match("file") and "textcount"
        or "wordcount")))
      assert.matches("^%l+: its C module is not there; `make` in the sources"
        .. " builds it$", recipe(name .. " text"))
    end
    local file <close> = assert(io.open(module, "wb"))
    assert(file:write("not a module"))
    assert(file:close())
    assert.matches("^primes: its C module cannot be loaded: [^\n]*primes%.so:"
      .. "[^\n]*; `make` in the sources[^\n]*$", find_primes())
  end)

  -- All that is there, with modes and contents.
  local function listing(root)
    return run(([[cd '%s' && find . -type f -printf '%%P %%m ' \
      -exec md5sum {} \; | sort]]):format(root))
  end

  it("takes any DESTDIR, relative ones and spaces in it too", function()
    os.execute(("rm -rf '%s/usr'"):format(folder))
    assert.equals("", make("install"))
    local expected = listing(folder)
    assert.matches("usr/bin/taskengine 755", expected, 1, true)
    for _, destdir in ipairs { folder .. "/a place", "build/it's here" } do
      assert.equals("", run(("MAKEFLAGS= make -s install BUILD='%s'"
        .. ' "DESTDIR=%s" PREFIX=/usr'):format(release, destdir)))
      assert.equals(expected, listing((destdir:gsub("'", "'\\''"))))
      assert.equals("", run(("MAKEFLAGS= make -s uninstall BUILD='%s'"
        .. ' "DESTDIR=%s" PREFIX=/usr'):format(release, destdir)))
      assert.matches("No such file", run(('ls "%s"'):format(destdir)))
    end
  end)

  it("lets others read what root's umask would hide", function()
    local destdir = folder .. "/hidden"
    run(("umask 077; MAKEFLAGS= make -s install BUILD='%s' DESTDIR='%s'")
      :format(release, destdir))
    assert.equals("", run(("find '%s/usr' ! -perm -o+r"):format(destdir)))
  end)

  it("leaves a system its own folders, also where they are empty", function()
    local prefix = folder .. "/above/local"
    run(("mkdir -p '%s' && cd '%s' && mkdir -p bin lib share/man/man1"):format(
      prefix, prefix))
    local list = ("find '%s' | sort"):format(prefix)
    local before = run(list)
    assert.equal("", run(("MAKEFLAGS= make -s install uninstall BUILD='%s'"
      .. " PREFIX='%s'"):format(release, prefix)))
    assert.equal(before, run(list))
    -- Above DESTDIR nothing is ours either.
    local above = folder .. "/above/that"
    assert.equal("", run(("MAKEFLAGS= make -s install uninstall BUILD='%s'"
      .. " DESTDIR='%s/dest/' PREFIX=/usr"):format(release, above)))
    assert.equal(above, run(("find '%s'"):format(above)))
  end)

  it("is undone by uninstall, which leaves what is not ours", function()
    os.execute(("rm -rf '%s/usr' && mkdir -p '%s/usr/share/man/man1'"
      .. " && touch '%s/usr/share/man/man1/other.1'"):format(folder, folder,
      folder))
    assert.equals("", make("install uninstall"))
    assert.equals(folder .. "/usr/share/man/man1/other.1",
      run(("find '%s/usr' -type f -o -type d -empty"):format(folder)))
  end)
end)

describe("the rock", function()
  local server = redis_server.for_all_specs()

  -- With the Lua that LuaRocks is told of, or with the one that it runs on.
  for _, version in ipairs { "--lua-version 5.4", "" } do
    it(("works from its tree alone (luarocks %s)"):format(version), function()
      local folder = run("mktemp -d")
      local tree = folder .. "/tree"
      finally(function()
        os.execute(("rm -rf '%s'"):format(folder))
      end)
      -- LuaRocks looks for headers beside the Lua that it finds, which under
      -- a sanitizer is a wrapper in a folder ahead of the others.
      local made = run(("PATH=${PATH#*/te-specs.*/bin:} BUILD='%s' MAKEFLAGS="
        .. " luarocks %s make"
        .. " --deps-mode none --tree '%s' taskengine-scm-1.rockspec"
        .. " && echo made"):format(
        release, version, tree))
      assert.matches("made$", made)
      local function in_tree(command)
        return run(([[cd '%s' && unset TE_BUILD && v=$(ls tree/share/lua)
          export HOME='%s' TASKENGINE_BROKER='%s' \
            LUA_PATH="$PWD/tree/share/lua/$v/?.lua;$PWD/tree/share/lua/$v/]]
          .. [[?/init.lua" LUA_CPATH="$PWD/tree/lib/lua/$v/?.so"
          %s]]):format(folder, folder, server.url, command))
      end
      local where = in_tree([[lua5.4 -e '
        local te = require("taskengine")
        print(package.searchpath("taskengine", package.path), type(te.app))']])
      assert.matches("^" .. tree:gsub("%p", "%%%0")
        .. "/share/lua/5%.%d/taskengine/init.lua\tfunction$", where)
      assert.matches(tree .. "/share/lua/", in_tree("tree/bin/taskengine env"),
        1, true)
      assert.matches("^Found 1229 primes up to 10000\n", in_tree([[
        tree/bin/taskengine run -q -P 1 \
          "$(find tree -name primes.lua)" 10000]]))
    end)
  end
end)
