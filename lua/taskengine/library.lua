--- The function library that runs inside Redis, as one text.
--
-- Its parts are the files of `functions/`; docs/protocol.md says what each
-- function does. Several protocols may be loaded side by side: the number is
-- in the library's name and in that of every function.
-- @module taskengine.library

local core = require("taskengine.core")

local library = {}

--- The functions' common prefix.
library.PREFIX = "te1_"
--- The build of this text: a lower one never replaces a higher one.
library.BUILD = 1

local PARTS = { "prelude", "enqueue", "fetch", "finish", "workers", "results" }

local function read_part(part)
  local name = "taskengine/functions/" .. part .. ".lua"
  local dir = os.getenv("TASKENGINE_LUA_DIR")
  if dir then
    local file <close> = io.open(dir .. "/" .. name, "rb")
    if file then
      return file:read("a")
    end
  end
  return assert(core.asset(name))
end

--- The text for `FUNCTION LOAD`.
-- @treturn string
function library.text()
  local out = { "#!lua name=taskengine_1\n" }
  for _, part in ipairs(PARTS) do
    local text = read_part(part)
    if part == "prelude" then
      out[#out + 1] = text
    else
      -- Each part is a block: its locals end with it.
      out[#out + 1] = "do\n" .. text .. "end\n"
    end
  end
  return table.concat(out)
end

return library
