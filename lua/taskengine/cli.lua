--- The command line: finds the command, runs it, says how it ended.
-- @module taskengine.cli

local args = require("taskengine.cli.args")
local check = require("taskengine.check")
local commands = require("taskengine.cli.commands")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local say = require("taskengine.cli.say")
local stdout = require("taskengine.cli.stdout")

local cli = {}

local BUG <const> = 70 -- EX_SOFTWARE

local ABOUT <const> = [[
usage: taskengine COMMAND [OPTIONS]

A distributed task engine scripted in Lua. Tasks are functions in a Lua file;
any number of workers run them, and Redis holds what waits. With no broker
named, a private Redis starts by itself.

commands:
]]

local EXAMPLES <const> = [[

examples:
  taskengine worker tasks.lua
  taskengine call addition '[4, 6]' --wait
  taskengine run recipes/primes.lua 10000000

taskengine COMMAND --help says more. Exit codes: 0 done, 1 the task failed,
2 wrong usage, 3 the broker cannot be reached, 4 timed out, 130 interrupted,
141 nobody reads what is printed.
]]

local function print_overview()
  local help = require("taskengine.cli.help")
  local out = { ABOUT }
  for _, entry in ipairs(commands.LIST) do
    out[#out + 1] = help.entry(entry[1], entry[2], 12)
  end
  out[#out + 1] = EXAMPLES
  io.write(table.concat(out))
  return exit.OK
end

local function print_version(words)
  local version = require("taskengine.version")
  local is_json = words[1] == "--json"
  if #words > (is_json and 1 or 0) then
    exit.usage("--version: one word too many: "
      .. check.describe(words[#words]), "--json is all that goes with it")
  elseif is_json then
    require("taskengine.cli.show").json {
      version = version.TEXT,
      lua = _VERSION,
    }
  else
    io.write(("taskengine %s (%s)\n"):format(version.TEXT, _VERSION))
  end
  return exit.OK
end

local function refuse(name, why)
  if why == "later" then
    exit.usage(("the command '%s' is not built yet"):format(name),
      "taskengine --help shows the commands that are")
  end
  local suggest = require("taskengine.suggest")
  local is_option = name:sub(1, 1) == "-"
  exit.usage(("unknown %s '%s'%s"):format(is_option and "option" or "command",
    name, suggest.hint(name, is_option and { "--help", "--version" }
      or commands.names())),
    "taskengine --help shows all commands")
end

local function run_command(name, words)
  local command, why = commands.find(name)
  if not command then
    refuse(name, why)
  end
  local given = args.read(command.spec, words)
  if given.help then
    io.write(require("taskengine.cli.help").of(command.spec))
    return exit.OK
  end
  return command.run(given)
end

local function print_help(words)
  if #words == 0 or words[1] == "help" then
    return print_overview()
  end
  return run_command(words[1], { "--help" })
end

local GLOBAL <const> = {
  help = print_help,
  ["-h"] = print_help,
  ["--help"] = print_help,
  ["-V"] = print_version,
  ["--version"] = print_version,
}

local function dispatch(words)
  local name = table.remove(words, 1)
  if not name then
    exit.usage("a command is missing", "taskengine --help shows all commands")
  elseif GLOBAL[name] then
    return GLOBAL[name](words)
  end
  return run_command(name, words)
end

-- A message handler: what is no exit and no TaskError is a mistake of ours.
local function keep(object)
  if exit.is(object) or errors.is(object) then
    return object
  end
  return debug.traceback(tostring(object), 2)
end

local function say_error(e)
  e.place = nil -- a line of ours
  if e.kind ~= "BrokerUnavailable" then
    say.problem(tostring(e))
  elseif e.indeterminate then
    say.problem(e.message, "the task may have been accepted: with --id " .. e.id
      .. " it can be repeated, and never becomes two")
  else
    say.problem(e.message, "-b URL, TASKENGINE_BROKER and the configuration"
      .. " file say where it is")
  end
end

local function conclude(object)
  if exit.is(object) then
    if object.text then
      say.problem(object.text, object.advice)
    end
    return object.code
  elseif errors.is(object) then
    say_error(object)
    return exit.code_of(object.kind)
  end
  say.problem("this is a bug of taskengine: " .. object)
  return BUG
end

--- Runs a command.
-- @tparam {string,...} argv the program's words; the program itself is at 0
-- @treturn int the exit code
function cli.main(argv)
  local words = table.move(argv, 1, #argv, 1, {})
  if not commands.is_hidden(words[1] or "") then
    stdout.watch()
  end
  local ok, result = xpcall(dispatch, keep, words)
  return stdout.conclude(ok and result or conclude(result))
end

return cli
