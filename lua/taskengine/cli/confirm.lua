--- Asks before a command does what cannot be undone.
-- @module taskengine.cli.confirm

local core = require("taskengine.core")
local exit = require("taskengine.cli.exit")

local confirm = {}

--- The option that answers beforehand.
confirm.YES = { short = "y", long = "yes", help = "do it without asking" }

--- Makes sure that somebody can be asked, or need not be.
-- @tparam table given options of the command
-- @tparam string name the command's
-- @tparam string why somebody is to be asked: a clause
-- @raise an exit
function confirm.check(given, name, why)
  if not given.yes and not (core.sys.isatty(0) and core.sys.isatty(2)) then
    exit.usage(("%s: nobody can be asked here, and %s"):format(name, why),
      "with --yes it is done without asking")
  end
end

--- Asks on the terminal.
-- @tparam string question without its mark
-- @treturn boolean
function confirm.ask(question)
  io.stderr:write(question, "? [y/N] ")
  local answer = io.read("l")
  if not answer then
    io.stderr:write("\n") -- Ctrl-D leaves the cursor behind the question
  end
  return answer ~= nil and answer:lower():find("^%s*ye?s?%s*$") ~= nil
end

return confirm
