--- Loads the files that define tasks.
-- @module taskengine.loader

local core = require("taskengine.core")
local failure = require("taskengine.failure")

local loader = {}

local function add_first(list, entry)
  local rest = (";" .. list .. ";"):gsub(";" .. entry:gsub("%p", "%%%0")
    .. ";", ";")
  return entry .. ";" .. rest:match("^;*(.-);*$")
end

--- Lets a file's neighbours be found: Lua modules in its folder, native ones
-- in the folder `native` there.
-- @tparam string path of the file
-- @tparam[opt] string modules the folder of the program's native modules
function loader.add_paths(path, modules)
  local folder = path:match("^(.*)/[^/]*$") or "."
  if modules then
    package.cpath = add_first(package.cpath, modules .. "/?.so")
  end
  package.cpath = add_first(package.cpath, folder .. "/native/?.so")
  package.path = add_first(package.path, folder .. "/?/init.lua")
  package.path = add_first(package.path, folder .. "/?.lua")
end

local function as_text(described)
  local has_frames = described.traceback:find("\n", 1, true)
  return has_frames and described.message .. "\n" .. described.traceback
    or described.message
end

--- Runs a file as a script.
-- @tparam string path
-- @tparam {string,...} args what it finds in `arg` and `...`
-- @treturn[1] boolean true
-- @return[1] what the file returned
-- @treturn[2] boolean false
-- @treturn[2] string what is wrong, with file and line; a traceback behind it
-- when it was an error of the running file
function loader.run(path, args)
  local stat, why = core.sys.stat(path)
  if not stat then
    return false, ("%s: %s"):format(path, (why:gsub("^%u+: ", "")))
  elseif stat.type == "directory" then
    return false, path .. ": a directory"
  end
  local chunk, problem = loadfile(path)
  if not chunk then
    return false, problem
  end
  _G.arg = table.move(args, 1, #args, 1, { [0] = path })
  local ok, value = xpcall(chunk, failure.describe, table.unpack(args))
  if not ok then
    return false, type(value) == "table" and as_text(value) or tostring(value)
  end
  return true, value
end

return loader
