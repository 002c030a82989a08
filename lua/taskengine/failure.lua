--- What is said of an error that a task raised.
-- @module taskengine.failure

local errors = require("taskengine.errors")
local traceback = require("taskengine.traceback")

local failure = {}

local TEXT_BYTES_MAX <const> = 64 * 1024
local KIND_BYTES_MAX <const> = 128

local function shortened(text)
  if #text > TEXT_BYTES_MAX then
    return text:sub(1, TEXT_BYTES_MAX) .. "..."
  end
  return text
end

-- What an object says of itself; its __tostring may fail as well.
local function text_of(object)
  local ok, text = pcall(tostring, object)
  return ok and text or ("a %s whose __tostring fails"):format(type(object))
end

local function message_of(object)
  if type(object) ~= "table" or errors.is(object)
    or (getmetatable(object) or {}).__tostring then
    return text_of(object)
  end
  local message = rawget(object, "message")
  return type(message) == "string" and message or "a table was raised"
end

local function kind_of(object)
  local kind = type(object) == "table" and rawget(object, "kind")
  if type(kind) == "string" and #kind > 0 and #kind <= KIND_BYTES_MAX then
    return kind
  end
  return "Error"
end

local function value_of(object)
  if errors.is(object) then
    return object.value
  elseif type(object) ~= "string" then
    return object
  end
end

--- Describes an error; a message handler for `xpcall`.
-- @param object what was raised
-- @treturn table `kind`, `message`, `traceback`, `value`
function failure.describe(object)
  return {
    kind = kind_of(object),
    message = shortened(message_of(object)),
    traceback = traceback.user(2),
    value = value_of(object),
  }
end

return failure
