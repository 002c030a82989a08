--- How a task adds members to the group of which it is one.
--
-- An addition is named by what it is: the task that adds, the canvas, and how
-- often that task has added the like of it since it began. So a task that runs
-- again, and adds the same again, adds nothing.
-- @module taskengine.grow

local attempt = require("taskengine.attempt")
local caller = require("taskengine.caller")
local canonical = require("taskengine.canonical")
local canvas = require("taskengine.canvas")
local core = require("taskengine.core")
local header = require("taskengine.header")
local inputs = require("taskengine.inputs")
local send = require("taskengine.canvas.send")

local grow = {}

local DIGEST_BYTES <const> = 16

local function digest_of(one)
  local bytes = canonical.encode(one:to_table(), math.huge)
  return (core.sys.sha256(bytes):sub(1, DIGEST_BYTES):gsub(".", function(char)
    return ("%02x"):format(char:byte())
  end))
end

--- Adds a canvas to the group of a running task.
-- @tparam Self self
-- @tparam Canvas one
-- @treturn Result|GroupResult|FlowResult
-- @raise see @{taskengine.bound.Self:add}
function grow.add(self, one)
  canvas.check("add", one)
  local task = attempt.running(self, "add")
  if not task then
    caller.raise("add: the task was called as a function; only one that a"
      .. " worker runs is a member of a group")
  elseif not inputs.are_in(task.envelope) then
    caller.raise("add: the task was sent alone; only a member of a group can"
      .. " add to it")
  end
  local id, added = header.id(task.envelope), rawget(self, "_added") or {}
  local digest
  local r = send.beside(one, task.app, id, function()
    digest = digest_of(one) -- it can travel
    return ("%sn%dk%d"):format(digest, core.envelope.seq(id),
      (added[digest] or 0) + 1)
  end)
  -- What failed may be repeated, under the same name.
  if digest then
    added[digest] = (added[digest] or 0) + 1
    rawset(self, "_added", added)
  end
  return r
end

return grow
