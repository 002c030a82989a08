--- `taskengine result ID`: what became of a task.
-- @module taskengine.cli.result

local check = require("taskengine.check")
local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local exit = require("taskengine.cli.exit")
local handle = require("taskengine.canvas.handle")
local link = require("taskengine.cli.link")
local outcome = require("taskengine.cli.outcome")
local result = require("taskengine.result")

local command = {}

command.spec = {
  name = "result",
  usage = "result ID [OPTIONS]",
  about = "Prints what a task returned, or how it stands. Exit code 1: it"
    .. " failed, 4: it has not ended yet.",
  operands = { "ID" },
  options = {
    outcome.WAIT, common.TIMEOUT, link.FILE, common.BROKER, common.CONFIG,
    common.JSON,
  },
  examples = {
    "taskengine result dUJ3kxQ8aWbL00000001",
    "taskengine result cleanup-monday --wait --timeout 60 --json",
  },
}

-- A workflow that goes on.
local function show_flow(one, info, given)
  local flow = handle.of(one.client, one.id):info()
  return outcome.show_pending(one, info, given,
    ("a workflow that goes on, %d of %d ended"):format(flow.nodes - flow.left,
      flow.nodes), ("to look at it: taskengine flow %s"):format(one.id))
end

-- The outcome as far as it is known now.
local function look(one, given)
  local info = one:info()
  if not one:known() and info.state ~= "UNKNOWN" then
    if core.envelope.seq(one.id) == 0 then
      return show_flow(one, info, given)
    end
    return outcome.show_pending(one, info, given, "not finished yet",
      ("to wait for it: taskengine result %s --wait"):format(one.id))
  end
  local ok, value = one:wait(0)
  return outcome.show(one, ok, value, given)
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function command.run(given)
  local id = given[1]
  if not check.name(id) then
    exit.usage(check.problem("result: ID", check.name, id))
  end
  if given.timeout and not given.wait then
    exit.usage("result: --timeout is for --wait")
  end
  local one = outcome.shown(result.new(link.open(given), id))
  given.kin = true
  if given.wait then
    return outcome.wait(one, given)
  end
  return look(one, given)
end

return command
