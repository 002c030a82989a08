--- Loads the files that define tasks.
-- @module taskengine.loader

local core = require("taskengine.core")
local errors = require("taskengine.errors")
local failure = require("taskengine.failure")

local loader = {}

local function add_first(list, entry)
  local rest = (";" .. list .. ";"):gsub(";" .. entry:gsub("%p", "%%%0")
    .. ";", ";")
  return entry .. ";" .. rest:match("^;*(.-);*$")
end

--- Lets a file's neighbours be found: modules in its folder, of Lua or native.
-- @tparam string path of the file
-- @tparam[opt] string modules the folder of the program's native modules
function loader.add_paths(path, modules)
  local folder = path:match("^(.*)/[^/]*$") or "."
  if modules then
    package.cpath = add_first(package.cpath, modules .. "/?.so")
  end
  package.cpath = add_first(package.cpath, folder .. "/?.so")
  package.path = add_first(package.path, folder .. "/?/init.lua")
  package.path = add_first(package.path, folder .. "/?.lua")
end

local function as_text(raised, described)
  local text = failure.headline(raised, described)
  local has_frames = described.traceback:find("\n", 1, true)
  return has_frames and text .. "\n" .. described.traceback or text
end

--- Runs a file as a script.
-- @tparam string path
-- @tparam {string,...} args what it finds in `arg` and `...`
-- @treturn[1] boolean true
-- @return[1] what the file returned
-- @treturn[2] boolean false
-- @treturn[2] string what is wrong, with file and line; a traceback behind it
-- when it was an error of the running file
-- @treturn[2] ?table that error, see @{taskengine.failure}
function loader.run(path, args)
  local stat, why = core.sys.stat(path)
  if not stat then
    return false, ("%s: %s"):format(path, errors.sentence(why))
  elseif stat.type == "directory" then
    return false, path .. ": a directory"
  end
  local chunk, problem = loadfile(path)
  if not chunk then
    return false, problem
  end
  _G.arg = table.move(args, 1, #args, 1, { [0] = path })
  local raised
  local ok, value = xpcall(chunk, function(object)
    raised = object
    return failure.describe(object) -- a tail call: it looks at the stack
  end, table.unpack(args))
  if ok then
    return true, value
  elseif type(value) ~= "table" then
    return false, tostring(value) -- no stack or memory was left to say more
  end
  return false, as_text(raised, value), value
end

-- The name by which other files require this one.
local function module_name(path)
  local name = path:match("([^/]+)%.lua$")
  return name and not _G[name] and name
end

local function is_loaded(name, path)
  local found = package.loaded[name] ~= nil
    and package.searchpath(name, package.path)
  return found and core.sys.realpath(found) == core.sys.realpath(path)
end

--- Runs a file that others may require: whichever comes first, it runs once.
-- @tparam string path
-- @treturn[1] boolean true
-- @treturn[2] boolean false
-- @treturn[2] string what is wrong, as for @{loader.run}
function loader.run_once(path)
  local name = module_name(path)
  if name and is_loaded(name, path) then
    return true
  end
  local ok, value = loader.run(path, {})
  if not ok then
    return false, value
  elseif name and package.loaded[name] == nil then
    package.loaded[name] = value == nil or value
  end
  return true
end

return loader
