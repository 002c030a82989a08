--- The commands that there are.
-- @module taskengine.cli.commands

local commands = {}

--- In the order in which help shows them: name and what it does.
commands.LIST = {
  { "run", "run a script's main, with workers of its own" },
  { "worker", "run the tasks of Lua files" },
  { "call", "send a task, and wait for its result" },
  { "result", "show the result of a task" },
  { "status", "show queues, workers and how much waits" },
  { "queues", "show each queue: what waits, runs and has ended" },
  { "purge", "delete the tasks that wait in queues" },
  { "control", "end tasks, or keep them from beginning" },
  { "dead", "show tasks that failed for good, and run them again" },
  { "flow", "show a chain, group, chord or flow, and run again what failed" },
  { "doctor", "look whether all is well, and say what to do" },
  { "env", "print what lets plain Lua find this taskengine" },
}

--- Commands for the program's own use.
commands.HIDDEN = { "child", "supervise" }

--- Commands to come.
commands.LATER = {
  "bench", "config", "dashboard", "events", "inspect", "schedule", "top",
}

local function contains(list, name)
  for _, entry in ipairs(list) do
    if entry == name or entry[1] == name then
      return true
    end
  end
  return false
end

--- Finds a command.
-- @tparam string name
-- @treturn[1] table its module, see @{taskengine.cli.args} for its `spec`
-- @return[2] nil
-- @treturn[2] string `"later"` or `"unknown"`
function commands.find(name)
  if contains(commands.LIST, name) or contains(commands.HIDDEN, name) then
    return require("taskengine.cli." .. name)
  end
  return nil, contains(commands.LATER, name) and "later" or "unknown"
end

--- Whether a command is for the program's own use.
-- @tparam string name
-- @treturn boolean
function commands.is_hidden(name)
  return contains(commands.HIDDEN, name)
end

--- The names that people may use now.
-- @treturn {string,...}
function commands.names()
  local names = {}
  for i, entry in ipairs(commands.LIST) do
    names[i] = entry[1]
  end
  return names
end

return commands
