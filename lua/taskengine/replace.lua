--- How a task lets a canvas end it.
--
-- The canvas becomes a flow of its own, whose last node delivers to the task.
-- The task leaves its worker and waits in Redis until then.
-- @module taskengine.replace

local attempt = require("taskengine.attempt")
local caller = require("taskengine.caller")
local canvas = require("taskengine.canvas")
local verdict = require("taskengine.verdict")

local replace = {}

--- Puts a canvas in the place of a running task.
-- @tparam Self self
-- @tparam Canvas one
-- @raise always
function replace.with(self, one)
  canvas.check("replace", one)
  local task = attempt.running(self, "replace")
  if not task then
    caller.raise("replace: the task was called as a function; only one that a"
      .. " worker runs can be replaced")
  end
  local send = require("taskengine.canvas.send")
  error(verdict.new {
    delegate = send.in_place_of(one, task.app, task.envelope:sub(1, 20)),
  }, 0)
end

return replace
