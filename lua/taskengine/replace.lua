--- How a task lets a canvas end it.
--
-- The canvas becomes a flow of its own, whose last node delivers to the task.
-- The task leaves its worker and waits in Redis until then.
-- @module taskengine.replace

local attempt = require("taskengine.attempt")
local caller = require("taskengine.caller")
local canvas = require("taskengine.canvas")
local header = require("taskengine.header")
local scheduler = require("taskengine.scheduler")
local send = require("taskengine.canvas.send")
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
  elseif not scheduler.current().is_main then
    -- What is sent would run though nobody hands its error on to the task.
    caller.raise("replace: only the task's own function can ask for that, not"
      .. " one that it has spawned")
  end
  error(verdict.new {
    delegate = send.in_place_of(one, task.app, header.id(task.envelope)),
  }, 0)
end

return replace
