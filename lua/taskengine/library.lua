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
--- The number of this text, raised whenever it changes after a release of the
-- program: a lower one never replaces a higher one. A spec holds it to that.
library.RELEASE = 4

-- What a part takes of another when the text is loaded stands ahead of it.
local PARTS = {
  "prelude", "ids", "envelope", "queues", "waits", "ends", "damage",
  "handover", "unique", "flow_layout", "flow_work", "flow_pieces",
  "flow_cells", "flow_nodes", "flow_edges", "flow", "flow_expiry",
  "flow_inputs", "flow_release", "flow_build", "enqueue", "fetch", "finish",
  "flow_ends", "retry", "flow_hold", "flow_delegate", "flow_grow", "flow_mend",
  "workers", "results", "revoke", "flow_control", "survey", "purge", "dead",
  "states",
}

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

local function put_together()
  local out = {}
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

local text = put_together()

--- What `te1_build` answers: the release in the upper 32 bits, below it a
-- digest of the text, so that two texts of one release are told apart while
-- one is being written. Redis' numbers hold it exactly (53 bits).
library.BUILD = library.RELEASE << 32
  | tonumber(core.sys.digest(text):sub(1, 8), 16)

--- The text for `FUNCTION LOAD`.
-- @treturn string
function library.text()
  return ("#!lua name=taskengine_1\nlocal BUILD = %d\n"):format(library.BUILD)
    .. text
end

return library
