--- How a command ends: the exit codes, and ending early.
--
-- A command that cannot go on raises an exit; @{taskengine.cli} says what it
-- has to say and returns its code.
-- @module taskengine.cli.exit

local exit = {}

exit.OK = 0
--- The task, or the script, failed.
exit.FAILED = 1
--- What was asked for cannot be done, whatever the state of the world.
exit.USAGE = 2
--- The broker cannot be reached, or not be used; or, when a worker stops, not
-- be told of all its tasks.
exit.UNREACHABLE = 3
exit.TIMED_OUT = 4
exit.INTERRUPTED = 130
--- Nobody reads stdout any more; what a shell says of a SIGPIPE.
exit.UNREAD = 141

--- A command's early end.
-- @type Exit
-- @tfield int code
-- @tfield ?string text what is wrong
-- @tfield ?string advice what to do next
local Exit = { __name = "taskengine.Exit" }
Exit.__index = Exit

--- For a script that catches it.
-- @treturn string
function Exit:__tostring()
  return self.text or "the program is being ended"
end

--- Makes an end, to be raised.
-- @tparam int code
-- @tparam[opt] string text what is wrong; nothing is said without it
-- @tparam[opt] string advice what to do next
-- @treturn Exit
function exit.new(code, text, advice)
  return setmetatable({ code = code, text = text, advice = advice }, Exit)
end

--- Ends the command.
-- @tparam int code
-- @tparam[opt] string text what is wrong; nothing is said without it
-- @tparam[opt] string advice what to do next
-- @raise always
function exit.raise(code, text, advice)
  error(exit.new(code, text, advice), 0)
end

--- Ends the command because of what it was given.
-- @tparam string text
-- @tparam[opt] string advice
-- @raise always
function exit.usage(text, advice)
  exit.raise(exit.USAGE, text, advice)
end

--- Whether a value is an exit.
-- @param value anything
-- @treturn boolean
function exit.is(value)
  return getmetatable(value) == Exit
end

local CODE_OF_KIND <const> = {
  BrokerUnavailable = exit.UNREACHABLE,
  Timeout = exit.TIMED_OUT,
}

--- The exit code for a @{taskengine.errors.TaskError}.
-- @tparam string kind of the error
-- @treturn int
function exit.code_of(kind)
  return CODE_OF_KIND[kind] or exit.FAILED
end

--- The exit code for the error that ended a script.
-- @tparam ?table described see @{taskengine.failure}
-- @treturn int
function exit.code_of_script(described)
  local is_broker = described and described.kind == "BrokerUnavailable"
  return is_broker and exit.UNREACHABLE or exit.FAILED
end

return exit
