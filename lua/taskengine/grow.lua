--- How a task adds members to the group of which it is one.
-- @module taskengine.grow

local attempt = require("taskengine.attempt")
local caller = require("taskengine.caller")
local canvas = require("taskengine.canvas")
local inputs = require("taskengine.inputs")

local grow = {}

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
  local send = require("taskengine.canvas.send")
  return send.beside(one, task.app, task.envelope:sub(1, 20))
end

return grow
