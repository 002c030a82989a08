--- Runs Lua text as a program of its own, in a folder of its own.
-- @module spec.support.script

local core = require("taskengine.core")
local files = require("spec.support.files")
local wait_until = require("spec.support.wait").wait_until

local script = {}

local LIMIT_S <const> = 60

--- A folder with files in it, removed when it is closed.
-- @tparam {[string]=string,...} texts by name
-- @treturn table with `dir`
function script.folder(texts)
  local out <close> = io.popen('mktemp -d "${TMPDIR:-/tmp}/te-script.XXXXXX"')
  local dir = assert(out:read("l"), "no folder for a script")
  for name, text in pairs(texts) do
    local below = name:match("^(.*)/")
    if below then
      assert(os.execute(("mkdir -p '%s/%s'"):format(dir, below)))
    end
    files.write(dir .. "/" .. name, text)
  end
  return setmetatable({ dir = dir }, {
    __close = function()
      os.execute(("rm -rf '%s'"):format(dir))
    end,
  })
end

--- Runs a file with lua5.4, in its folder; the loop runs meanwhile.
-- @tparam string dir
-- @tparam string words the file and its arguments, for the shell; variables
-- may stand before it: `A=1 main.lua x`
-- @treturn string what it wrote to stdout
-- @treturn string what it wrote to stderr
-- @treturn int its exit code
function script.run(dir, words)
  local variables, rest = words:match("^([A-Z_]+=%S* )(.*)$")
  local command = ("%s exec lua5.4 %s >.out 2>.err </dev/null"):format(
    variables or "", rest or words)
  local code
  assert(core.sys.spawn({ "sh", "-c", command }, {
    cwd = dir,
    on_exit = function(status, signal)
      code = signal > 0 and 128 + signal or status
    end,
  }))
  wait_until(function()
    return code
  end, LIMIT_S, "the end of " .. words)
  return files.read(dir .. "/.out"), files.read(dir .. "/.err"), code
end

return script
