--- Values and outcomes, for people and for programs.
-- @module taskengine.cli.show

local core = require("taskengine.core")
local exit = require("taskengine.cli.exit")
local say = require("taskengine.cli.say")

local show = {}

-- Bytes that are not UTF-8 are no reason to show nothing.
local function as_json(value)
  if value == nil then
    return "null"
  end
  local text, why = core.json.encode(value, { lossy = true })
  if not text then
    exit.raise(exit.FAILED, "the result cannot be shown: " .. why)
  end
  return text
end

--- Prints data as JSON, on one line.
-- @param value
function show.json(value)
  io.write(as_json(value), "\n")
end

--- Prints a value: strings and numbers as they are, all else as JSON.
-- @param value
function show.value(value)
  if type(value) == "string" or type(value) == "number" then
    io.write(tostring(value), "\n")
  else
    show.json(value)
  end
end

--- What there is to say of an error, as a table for JSON.
-- @tparam TaskError e
-- @treturn table
function show.error_fields(e)
  return { kind = e.kind, message = e.message, traceback = e.traceback }
end

--- Says how a task failed.
-- @tparam TaskError e
function show.failure(e)
  say.problem(tostring(e), e.traceback)
end

return show
