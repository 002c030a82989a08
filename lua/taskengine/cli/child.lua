--- `taskengine child INDEX`: becomes a worker's child.
--
-- Not for people: a worker starts it, with a channel to itself.
-- @module taskengine.cli.child

local check = require("taskengine.check")
local core = require("taskengine.core")
local exit = require("taskengine.cli.exit")

local child = {}

child.spec = {
  name = "child",
  usage = "child INDEX",
  about = "Becomes a process that runs tasks. A worker starts it, nobody has"
    .. " to.",
  operands = { "INDEX" },
  examples = { "taskengine child 0" },
}

local is_index = check.integer(0, core.child.INDEX_MAX)

-- When it ends is for the worker to say. A Ctrl-C in a terminal and a service
-- manager that stops a service reach every process of it.
local function leave_signals_to_the_worker()
  for _, signal in ipairs { "INT", "TERM", "HUP", "QUIT" } do
    core.loop.signal(signal, function() end)
  end
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function child.run(given)
  local index = tonumber(given[1])
  if not is_index(index) then
    exit.usage(check.problem("child: INDEX", is_index, given[1]))
  end
  local channel = core.sys.stat("/proc/self/fd/3")
  if not channel or channel.type ~= "socket" then
    exit.usage("child: this is what a worker starts, it is of no use alone",
      "try: taskengine worker FILE")
  end
  leave_signals_to_the_worker()
  return require("taskengine.child").main(math.tointeger(index))
end

return child
