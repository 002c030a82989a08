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

  it("share one Lua and one libuv with their process", function()
    assert.equals("", check(release .. "/taskengine",
      release .. "/lib/taskengine/core.so"))
  end)

  it("are caught with a second Lua or an export", function()
    local module = compile([[
      #include <stddef.h>
      struct lua_State;
      void lua_pushnil(struct lua_State *L);
      int luaopen_taskengine_core(struct lua_State *L) {
        return lua_pushnil(L), 1;
      }
      int te_exported(void) { return 1; }]],
      "-llua5.4")
    local found = check(module, module)
    for _, what in ipairs({
      "links liblua", "exports too much", "1 liblua in a lua5.4 process",
      "0 libuv in a lua5.4 process", "not one libuv",
    }) do
      assert.matches(module .. ": " .. what, found, 1, true)
    end
  end)

  local function harden_check(...)
    return run("tools/check-hardening " .. table.concat({ ... }, " "))
  end

  it("are hardened, as are the native modules", function()
    assert.equals("", harden_check(release .. "/taskengine",
      release .. "/lib/taskengine/core.so", release .. "/lib/native/*.so"))
  end)

  local SOURCE <const> = [[
    #include <stdio.h>
    #include <string.h>
    int write_it(char *to, const char *from);
    int write_it(char *to, const char *from) {
      char line[64];
      strcpy(line, from);
      return sprintf(to, "%s", line);
    }
    int a(char *t); int a(char *t) { return write_it(t, "a"); }
    int b(char *t); int b(char *t) { return write_it(t, "b"); }
    int main(int argc, char **argv) { return write_it(*argv, argv[argc - 1]); }
  ]]
  local GOOD <const> = "-O2 -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2"
    .. " -Wl,-z,relro,-z,now,-z,noexecstack -w "
    .. (run("uname -m") == "x86_64" and "-fcf-protection " or "")

  -- What is said of a program that was made with these flags besides.
  local function said_with(flags)
    local file <close> = assert(io.open(folder .. "/main.c", "w"))
    file:write(SOURCE)
    file:close()
    local path = folder .. "/main"
    assert.equals("", run(("cc -o '%s' '%s/main.c' %s %s"):format(path, folder,
      GOOD, flags)))
    return (harden_check(path):gsub(path:gsub("%p", "%%%0") .. ": ", ""))
  end

  it("would be caught without one of the flags", function()
    for flags, expected in pairs {
      ["-pie"] = "",
      ["-no-pie"] = "does not relocate\nno PIE",
      ["-pie -Wl,-z,lazy"] = "not BIND_NOW",
      ["-pie -Wl,-z,norelro"] = "no RELRO",
      ["-pie -Wl,-z,execstack"] = "an executable stack",
      ["-pie -Wl,-rpath,/tmp"] = "an RPATH",
      ["-pie -fno-stack-protector"] = "no canaries",
      ["-pie -U_FORTIFY_SOURCE"] = "no fortified calls",
    } do
      assert.equals(expected, said_with(flags))
    end
    if run("uname -m") == "x86_64" then
      assert.equals("no guarded branches (CET)",
        said_with("-pie -fcf-protection=none"))
    end
  end)
end)
