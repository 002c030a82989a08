-- What is shipped is the release, whichever variant the specs run on.
local release = (os.getenv("TE_BUILD") or "build/test"):match("^(.*)/[^/]+$")

local function run(command)
  local pipe <close> = assert(io.popen(command .. " 2>&1"))
  return (pipe:read("a"):gsub("%s+$", ""))
end

local function check(program, module)
  return run(("tools/check-linkage '%s' '%s'"):format(program, module))
end

describe("the program and the module", function()
  local folder

  setup(function()
    folder = run("mktemp -d")
    os.execute(("mkdir -p '%s/taskengine'"):format(folder))
  end)

  teardown(function()
    os.execute(("rm -rf '%s'"):format(folder))
  end)

  local function compile(source, flags)
    local path = folder .. "/taskengine/core.so"
    local file <close> = assert(io.open(folder .. "/core.c", "w"))
    file:write(source)
    file:close()
    assert.equals("", run(("cc -shared -fPIC -o '%s' '%s/core.c' %s")
      :format(path, folder, flags)))
    return path
  end

  it("share one Lua and one libuv with their process, hardened", function()
    assert.equals("", check(release .. "/taskengine",
      release .. "/lib/taskengine/core.so"))
  end)

  it("are caught with a second Lua, an RPATH or an export", function()
    local module = compile([[
      #include <stddef.h>
      struct lua_State;
      void lua_pushnil(struct lua_State *L);
      int luaopen_taskengine_core(struct lua_State *L) {
        return lua_pushnil(L), 1;
      }
      int te_exported(void) { return 1; }]],
      "-fno-stack-protector -Wl,-rpath,/tmp -Wl,-z,lazy,-z,norelro -llua5.4")
    local found = check(module, module)
    for _, what in ipairs({
      "links liblua", "an RPATH", "not BIND_NOW", "no RELRO", "no canaries",
      "exports too much", "1 liblua in a lua5.4 process",
      "0 libuv in a lua5.4 process", "not one libuv",
    }) do
      assert.matches(module .. ": " .. what, found, 1, true)
    end
  end)
end)
