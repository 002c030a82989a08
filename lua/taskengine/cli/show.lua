--- Values and outcomes, for people and for programs.
-- @module taskengine.cli.show

local core = require("taskengine.core")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local say = require("taskengine.cli.say")

local show = {}

-- NaN has a sign for Lua, which says nothing.
local function number_text(value)
  return value ~= value and "nan" or tostring(value)
end

-- A copy that JSON has words for: what is no number there becomes a string.
local function with_finite_numbers(value)
  if math.type(value) == "float" then
    local is_finite = value - value == 0
    return is_finite and value or number_text(value)
  elseif type(value) ~= "table" then
    return value
  end
  local copy = setmetatable({}, getmetatable(value))
  for key, entry in next, value do
    copy[key] = with_finite_numbers(entry)
  end
  return copy
end

-- Bytes that are not UTF-8 are no reason to show nothing.
local function as_json(value)
  if value == nil then
    return "null"
  end
  local text = core.json.encode(value, { lossy = true })
  if text then
    return text
  end
  local why
  text, why = core.json.encode(with_finite_numbers(value), { lossy = true })
  if not text then
    exit.raise(exit.FAILED, "the result cannot be shown: "
      .. errors.sentence(why))
  end
  return text
end

--- A value as JSON. What JSON need not escape and terminals obey is escaped
-- all the same: DEL, and U+0080 to U+009F.
-- @param value
-- @treturn string
function show.text(value)
  return (as_json(value):gsub("\127", "\\u007f")
    :gsub("\xc2([\x80-\x9f])", function(c)
      return ("\\u%04x"):format(c:byte())
    end))
end

--- Prints data as JSON, on one line. Infinity and NaN, which JSON does not
-- have, are the strings `"inf"`, `"-inf"` and `"nan"`.
-- @param value
function show.json(value)
  io.write(show.text(value), "\n")
end

--- Prints a value: strings and numbers as they are, all else as JSON.
-- @param value
function show.value(value)
  if type(value) == "string" then
    -- Bytes for a program, which a person's terminal is not to obey.
    io.write(core.sys.isatty(1) and say.clean(value) or value, "\n")
  elseif type(value) == "number" then
    io.write(number_text(value), "\n")
  else
    show.json(value)
  end
end

--- A value, or nil if JSON has no words for it: that is not worth the whole
-- answer.
-- @param value
-- @return the value
function show.presentable(value)
  if pcall(as_json, value) then
    return value
  end
end

--- What there is to say of an error, as a table for JSON.
-- @tparam TaskError e
-- @treturn table
function show.error_fields(e)
  return {
    kind = e.kind,
    message = e.message,
    traceback = e.traceback,
    value = show.presentable(e.value),
  }
end

--- Says how a task failed.
-- @tparam TaskError e
function show.failure(e)
  say.problem(tostring(e), e.traceback)
end

return show
