--- Where the program is, and what belongs to it.
--
-- In a build tree: `build/taskengine` and, for the variants, `build/test/
-- taskengine`, with `lib/` beside it and the Lua layer in `lua/` above.
-- Installed: `bin/taskengine`, with `lib/lua/5.4/` and `share/lua/5.4/`
-- beside `bin/`; the recipes are in `share/taskengine/recipes/` and their
-- native modules in `lib/taskengine/native/`. In a tree of LuaRocks those lie
-- beside the module, and its folders may be called after another Lua.
-- @module taskengine.cli.places

local core = require("taskengine.core")

local places = {}

local function exists(path)
  return core.sys.stat(path) ~= nil
end

local function has_core(modules)
  return exists(modules .. "/taskengine/core.so")
end

local function in_build_tree(folder)
  if not has_core(folder .. "/lib") then
    return nil
  end
  for _, up in ipairs { "/..", "/../.." } do
    local root = core.sys.realpath(folder .. up)
    if root and exists(root .. "/lua/taskengine/init.lua") then
      return { lua = root .. "/lua", modules = folder .. "/lib" }
    end
  end
end

-- The folder above, "" for the root.
local function above(path)
  return path:match("^(.*)/[^/]*$") or ""
end

-- LuaRocks calls its folders after the Lua that it is told of, or runs on.
local LUA_NAMES <const> = { "5.4", "5.1", "5.2", "5.3" }

local function installed(folder)
  local prefix = above(folder)
  for _, name in ipairs(LUA_NAMES) do
    local lua = prefix .. "/share/lua/" .. name
    local modules = prefix .. "/lib/lua/" .. name
    if exists(lua .. "/taskengine/init.lua") and has_core(modules) then
      return { lua = lua, modules = modules }
    end
  end
end

--- The program.
-- @treturn string its path
function places.program()
  return (assert(core.sys.exe()))
end

--- Where plain Lua finds this taskengine.
-- @tparam[opt] string program its path, in place of the running one's
-- @treturn ?table the folders `lua` and `modules`; nil when they are not
-- where they are expected
function places.find(program)
  local folder = above(program or places.program())
  return in_build_tree(folder) or installed(folder)
end

--- The folder of the native modules that task files ask for by name, below it:
-- `native.primes`.
-- @treturn string where it is expected
function places.modules()
  local folder = above(places.program())
  if has_core(folder .. "/lib") then
    return folder .. "/lib"
  end
  local found = installed(folder)
  local beside = found and found.modules .. "/taskengine"
  return beside and exists(beside .. "/native") and beside
    or above(folder) .. "/lib/taskengine"
end

return places
