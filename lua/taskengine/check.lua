--- Checks of single values: of options, settings and arguments.
--
-- A check is a function that takes a value and returns whether it will do.
-- What will do instead is in @{check.wanted}, for the message.
-- @module taskengine.check

local moment = require("taskengine.moment")
local names = require("taskengine.names")
local size = require("taskengine.size")

local check = {}

-- check function to what it asks for
local wanted = setmetatable({}, { __mode = "k" })

--- A check by a rule of its own.
-- @tparam string text what it asks for
-- @tparam function accepts takes a value and returns whether it will do
-- @treturn function
function check.rule(text, accepts)
  wanted[accepts] = text
  return accepts
end

--- What a check asks for, e.g. `"an integer from 0 to 9"`.
-- @tparam function accepts the check
-- @treturn string
function check.wanted(accepts)
  return wanted[accepts]
end

--- What was given, short enough for a message, on one line.
-- @param value anything
-- @treturn string
function check.describe(value)
  local kind = type(value)
  if kind == "string" then
    local text = #value > 40 and value:sub(1, 40) .. "..." or value
    -- %q writes a newline as a backslash and a newline
    return (("%q"):format(text):gsub("\\\n", "\\n"):gsub("%c", "?"))
  elseif kind == "nil" or kind == "boolean" or kind == "number" then
    return tostring(value)
  end
  return "a " .. kind
end

--- A sentence about a value that a check did not take.
-- @tparam string what the value's name
-- @tparam function accepts the check
-- @param value what was given
-- @treturn string
function check.problem(what, accepts, value)
  return ("%s: %s expected, got %s"):format(what, wanted[accepts],
    check.describe(value))
end

--- A check for integers.
-- @tparam int min
-- @tparam int max
-- @treturn function
function check.integer(min, max)
  local text = ("an integer from %d to %d"):format(min, max)
  return check.rule(text, function(value)
    local whole = type(value) == "number" and math.tointeger(value)
    return whole and whole >= min and whole <= max or false
  end)
end

--- A check for a time in seconds, with a fraction if need be.
-- @tparam number min
-- @tparam number max
-- @treturn function
function check.seconds(min, max)
  local text = ("seconds from %.14g to %.14g"):format(min, max)
  return check.rule(text, function(value)
    return type(value) == "number" and value >= min and value <= max
  end)
end

--- Takes shares of a whole.
-- @function check.fraction
check.fraction = check.rule("a number from 0 to 1", function(value)
  return type(value) == "number" and value >= 0 and value <= 1
end)

--- A check for amounts of memory, see @{taskengine.size}.
-- @tparam int min in bytes
-- @tparam int max in bytes
-- @tparam string text both, for people
-- @treturn function
function check.size(min, max, text)
  return check.rule("an amount of memory such as 64M, from " .. text,
    function(value)
      local bytes = size.bytes(value)
      return bytes ~= nil and bytes >= min and bytes <= max
    end)
end

--- A check for one of some words.
-- @tparam {string,...} words
-- @treturn function
function check.one_of(words)
  local known = {}
  for _, word in ipairs(words) do
    known[word] = true
  end
  local text = "one of " .. table.concat(words, ", ")
  return check.rule(text, function(value)
    return known[value] == true
  end)
end

local function type_check(text, kind)
  return check.rule(text, function(value)
    return type(value) == kind
  end)
end

--- Takes true and false.
-- @function check.boolean
check.boolean = type_check("true or false", "boolean")
--- Takes strings.
-- @function check.string
check.string = type_check("a string", "string")
--- Takes tables.
-- @function check.table
check.table = type_check("a table", "table")
--- Takes what may be a signature, or a list of them.
-- @function check.callback
check.callback = type_check("a signature, or a list of them", "table")
--- Takes functions.
-- @function check.callable
check.callable = type_check("a function", "function")

--- Takes the names of @{taskengine.names}.
-- @function check.name
check.name = check.rule("a name (" .. names.RULE .. ")", names.is_valid)

--- Takes points in time.
-- @function check.moment
check.moment = check.rule(
  "seconds since 1970 or an ISO 8601 time with its zone",
  function(value)
    return moment.seconds(value) ~= nil
  end)

return check
