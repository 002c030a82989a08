--- The folder where a worker leaves its claims for its successor.
--
-- A worker that was killed left behind, in a file, which tasks it had begun;
-- one that is started again the same way finds it by the folder's name: a
-- digest of what it serves. That has to be known before any file of tasks is
-- loaded, so it is the broker where the command line, the environment or the
-- configuration file names one, else the files; and the namespace.
-- @module taskengine.cli.runtime_folder

local core = require("taskengine.core")
local errors = require("taskengine.errors")

local runtime_folder = {}

local PRIVATE <const> = 448 -- 0700
local OTHERS_MAY_WRITE <const> = 18 -- 0022

-- The folder above the workers', or nil and why there is none.
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

-- What a worker serves, as a text that is the same each time.
local function identity(files, settings)
  local broker = settings.broker and core.url.masked(settings.broker)
  local parts = { broker or "files", settings.namespace }
  if not broker then
    for _, file in ipairs(files) do
      parts[#parts + 1] = core.sys.realpath(file) or file
    end
  end
  return table.concat(parts, "\n")
end

--- The path for a worker; nothing is made.
-- @tparam {string,...} files what it loads
-- @tparam table settings `broker` where it is known by now, and `namespace`
-- @tparam[opt] function getenv
-- @treturn[1] string
-- @return[2] nil
-- @treturn[2] string why there is none
function runtime_folder.path(files, settings, getenv)
  local folder, why = base(getenv or core.sys.getenv)
  if not folder then
    return nil, why
  end
  return ("%s/workers/%s"):format(folder,
    core.sys.digest(identity(files, settings)))
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
  if stat.uid ~= core.sys.getuid() or stat.mode & OTHERS_MAY_WRITE ~= 0 then
    return nil, path .. ": others may write there"
  end
  return path
end

return runtime_folder
