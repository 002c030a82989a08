local function run(command)
  local pipe <close> = assert(io.popen(command .. " 2>&1"))
  return (pipe:read("a"):gsub("%s+$", ""))
end

-- Lints a tree that holds just these files, and a Makefile.
local function lint(rule, files)
  local folder = run("mktemp -d")
  files.Makefile = files.Makefile or "all:\n"
  for path, text in pairs(files) do
    os.execute(("mkdir -p '%s/%s'"):format(folder, path:match("(.*)/") or ""))
    local file <close> = assert(io.open(folder .. "/" .. path, "w"))
    file:write(text)
  end
  local found = run(("cd '%s' && lua5.4 '%s/tools/lint.lua' %s")
    :format(folder, os.getenv("PWD"), rule))
  os.execute(("rm -rf '%s'"):format(folder))
  return found
end

describe("tools/lint.lua", function()
  it("finds files that are too long", function()
    assert.equals("", lint("lengths", { ["engine/a.c"] = ("\n"):rep(500) }))
    assert.equals("engine/a.c:501: longer than 500 lines",
      lint("lengths", { ["engine/a.c"] = ("\n"):rep(501) }))
    assert.equals("engine/bind/a.h:121: longer than 120 lines",
      lint("lengths", { ["engine/bind/a.h"] = ("\n"):rep(121) }))
    assert.equals("spec/unit/a_spec.lua:501: longer than 500 lines",
      lint("lengths", { ["spec/unit/a_spec.lua"] = ("\n"):rep(501) }))
    assert.equals("Makefile:151: longer than 150 lines",
      lint("lengths", { Makefile = ("\n"):rep(151) }))
  end)

  it("finds long lines, white space and unfinished work", function()
    assert.equals("", lint("text", { ["lua/a.lua"] = ("é"):rep(80) .. "\n" }))
    assert.equals(table.concat({
      "lua/a.lua:1: wider than 80 columns",
      "lua/a.lua:2: white space at the end",
      "lua/a.lua:3: a tab",
      "lua/a.lua:4: TO" .. "DO: unfinished work",
      "lua/a.lua:5: no newline at the end",
    }, "\n"), lint("text", { ["lua/a.lua"] = ("x"):rep(81)
      .. "\nx \nx\tx\n-- TO" .. "DO later\nx" }))
  end)

  it("finds includes that go up", function()
    assert.equals("", lint("includes", {
      ["engine/buf.c"] = '#include "buf.h"\n#include "te.h"\n',
      ["engine/bind/buf.c"] = '#include <lua.h>\n#include "bind/bind.h"\n',
    }))
    assert.equals("engine/te.c:1: buf.h lies above",
      lint("includes", { ["engine/te.c"] = '#include "buf.h"\n' }))
    assert.equals("engine/te.c:2: bind/bind.h lies above",
      lint("includes", { ["engine/te.c"] = '\n#include "bind/bind.h"\n' }))
    assert.equals("engine/te.c:1: lua.h may not be included here",
      lint("includes", { ["engine/te.c"] = "#include <lua.h>\n" }))
    assert.equals(
      "engine/bind/te.c:1: hiredis/read.h may not be included here",
      lint("includes",
        { ["engine/bind/te.c"] = "#include <hiredis/read.h>\n" }))
    assert.equals("engine/odd.c:1: odd is no layer of tools/lint.lua",
      lint("includes", { ["engine/odd.c"] = "" }))
    assert.equals("Makefile:2: use -iquote for engine",
      lint("includes", { Makefile = "\nF := -I engine\n" }))
  end)

  it("finds bindings without documentation", function()
    local list = [[
static const luaL_Reg methods[] = {
    {"push", heap_push},
    {"pop", heap_pop},
    {"__gc", heap_free},
    {NULL, NULL},
};
]]
    local comment = "/***\nAdds.\n@function heap:push\n*/\n"
    assert.equals("engine/bind/heap.c:7: pop has no @function",
      lint("bindings", { ["engine/bind/heap.c"] = comment .. list }))
    assert.equals("",
      lint("bindings", { ["engine/bind/testing_heap.c"] = list }))
  end)

  it("finds public Lua functions without documentation", function()
    local text = [[
--- A module.
local a = {}
--- Adds.
-- @tparam number x the first
-- @tparam[opt] number y the second
function a.add(x, y) end
--- Half of it.
-- @tparam number x the first
function a.half(x, xs) end
function a.bare() end
function a._hidden() end
]]
    assert.equals(table.concat({
      "lua/taskengine/a.lua:9: a.half: xs has no @tparam",
      "lua/taskengine/a.lua:10: a.bare has no LDoc comment",
    }, "\n"), lint("functions", { ["lua/taskengine/a.lua"] = text }))
    assert.equals("lua/taskengine/a.lua:1: opens without a comment",
      lint("functions", { ["lua/taskengine/a.lua"] = "return {}\n" }))
  end)
end)
