--- The folder where workers leave their claims for their successors.
--
-- A worker that was killed left behind, in a file, which tasks it had begun.
-- All workers of a user have their files in one folder, so that one that is
-- started again finds them, whatever it loads. Each file says which broker and
-- namespace its worker served, and who serves something else leaves it alone.
-- @module taskengine.cli.runtime_folder

local core = require("taskengine.core")
local errors = require("taskengine.errors")

local runtime_folder = {}

local PRIVATE <const> = 448 -- 0700
local OTHERS_MAY_WRITE <const> = 18 -- 0022

-- The folder above it, or nil and why there is none.
local function base(getenv)
  local runtime = getenv("XDG_RUNTIME_DIR")
  if runtime and runtime ~= "" then
    return runtime .. "/taskengine"
  end
  local state = getenv("XDG_STATE_HOME")
  if state and state ~= "" then
    return state .. "/taskengine/run"
  end
  local home = getenv("HOME")
  if home and home ~= "" then
    return home .. "/.local/state/taskengine/run"
  end
  return nil, "neither XDG_RUNTIME_DIR nor HOME is set"
end

--- Its path; nothing is made.
-- @tparam[opt] function getenv
-- @treturn[1] string
-- @return[2] nil
-- @treturn[2] string why there is none
function runtime_folder.path(getenv)
  local folder, why = base(getenv or core.sys.getenv)
  if not folder then
    return nil, why
  end
  return folder .. "/workers"
end

--- Makes a folder that is for this user alone.
-- @tparam string path
-- @treturn[1] string the path
-- @return[2] nil
-- @treturn[2] string why it is of no use
function runtime_folder.make(path)
  local made, why = core.sys.mkdir_p(path, PRIVATE)
  if not made then
    return nil, ("%s: %s"):format(path, errors.sentence(why))
  end
  local stat = assert(core.sys.stat(path))
  if stat.uid ~= core.sys.euid() or stat.mode & OTHERS_MAY_WRITE ~= 0 then
    return nil, path .. ": others may write there"
  end
  return path
end

return runtime_folder
