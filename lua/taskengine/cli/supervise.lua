--- `taskengine supervise NAME`: becomes the supervisor of an embedded Redis.
--
-- Not for people: whoever needs the Redis starts it, see engine/launch.c.
-- @module taskengine.cli.supervise

local core = require("taskengine.core")

local supervise = {}

supervise.spec = {
  name = "supervise",
  usage = "supervise NAME",
  about = "Becomes the supervisor of the embedded Redis NAME. It is started"
    .. " where it is needed, nobody has to.",
  operands = { "NAME" },
  examples = { "taskengine supervise default" },
}

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function supervise.run(given)
  return core.embedded.supervise(given[1])
end

return supervise
