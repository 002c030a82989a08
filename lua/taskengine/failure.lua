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

local function describe(object)
  return {
    kind = kind_of(object),
    message = shortened(message_of(object)),
    traceback = traceback.user(4), -- behind pcall and the handler
    value = value_of(object),
  }
end

--- Describes an error; a message handler for `xpcall`.
--
-- After a stack overflow Lua 5.4 leaves a handler a small reserve of stack,
-- and takes it back whenever the collector comes by; then the handler fails
-- with another overflow, is called for that one, and so on, with the whole
-- stack moved each time. So the collector rests meanwhile.
-- @param object what was raised
-- @treturn table `kind`, `message`, `traceback`, `value`; or a string when
-- there was no memory for it
function failure.describe(object)
  local rests = not collectgarbage("isrunning")
  collectgarbage("stop")
  local _, description = pcall(describe, object)
  if not rests then
    collectgarbage("restart")
  end
  return description
end

return failure
