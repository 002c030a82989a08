--- What is said of an error that a task raised.
-- @module taskengine.failure

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local errors = require("taskengine.errors")
local traceback = require("taskengine.traceback")

local failure = {}

local TEXT_BYTES_MAX <const> = 64 * 1024
local KIND_BYTES_MAX <const> = 128
-- Of a table that was raised, what is shown.
local ENTRIES_MAX <const> = 8
local KEYS_MAX <const> = 100 -- of which those are taken
local DEPTH_MAX <const> = 3

local function shortened(text)
  if #text > TEXT_BYTES_MAX then
    return text:sub(1, TEXT_BYTES_MAX) .. "..."
  end
  return text
end

-- A tenth of a second, or so.
local INSTRUCTIONS_MAX <const> = 10000000

-- Calls a function of the user's that may go on for ever. When its time is up
-- an error is raised in it, at each instruction from then on: it may catch
-- some. A hook that is there already, for a time limit or by the user's own
-- hand, is left alone.
local function call_bounded(fn, ...)
  if debug.gethook() then
    return pcall(fn, ...)
  end
  local is_running = true -- a coroutine made meanwhile has the hook, too
  local function stop()
    if is_running and not caller.is_ours(debug.getinfo(2, "S").source) then
      debug.sethook(stop, "", 1)
      error("it takes too long", 0)
    end
  end
  debug.sethook(stop, "", INSTRUCTIONS_MAX)
  local ok, result = pcall(fn, ...)
  is_running = false
  if debug.gethook() == stop then
    debug.sethook()
  end
  return ok, result
end

-- What an object says of itself; its __tostring may fail as well.
local function text_of(object)
  local ok, text = call_bounded(tostring, object)
  return ok and text or ("a %s whose __tostring fails"):format(type(object))
end

local function kind_of(object)
  local kind = type(object) == "table" and rawget(object, "kind")
  if type(kind) == "string" and #kind > 0 and #kind <= KIND_BYTES_MAX then
    return kind
  end
  return "Error"
end

local function key_text(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then
    return key
  end
  return ("[%s]"):format(check.describe(key))
end

-- The keys behind the array part, in order.
local function named_keys(object, count, left_out)
  local texts, key_of, seen = {}, {}, 0
  for key in next, object do
    local index = math.type(key) == "integer" and key or 0
    if (index < 1 or index > count) and key ~= left_out then
      local text = key_text(key)
      texts[#texts + 1], key_of[text] = text, key
    end
    seen = seen + 1
    if seen == KEYS_MAX then
      break
    end
  end
  table.sort(texts)
  return texts, key_of
end

-- A table on one line, without whatever its metatable says it is.
local function render(object, depth, left_out)
  if type(object) ~= "table" or depth == 0 then
    return check.describe(object)
  end
  local parts, count = {}, rawlen(object)
  for i = 1, math.min(count, ENTRIES_MAX) do
    parts[i] = render(rawget(object, i), depth - 1)
  end
  local texts, key_of = named_keys(object, count, left_out)
  for i = 1, math.min(#texts, ENTRIES_MAX - #parts) do
    local value = rawget(object, key_of[texts[i]])
    parts[#parts + 1] = texts[i] .. " = " .. render(value, depth - 1)
  end
  if count + #texts > #parts then
    parts[#parts + 1] = "..."
  end
  return #parts > 0 and ("{ %s }"):format(table.concat(parts, ", ")) or "{}"
end

-- What a metatable says of itself is not asked.
local function has_text(object)
  local meta = debug.getmetatable(object)
  return type(object) ~= "table" or errors.is(object)
    or meta ~= nil and rawget(meta, "__tostring") ~= nil
end

-- Where the message goes the kind goes along, and stands in front of it.
local function without_kind(text, kind)
  local head = kind .. ": "
  return text:sub(1, #head) == head and text:sub(#head + 1) or text
end

local function message_of(object)
  if object == nil then
    return "nil was raised, an error without a message"
  elseif errors.is(object) and kind_of(object) == object.kind then
    return errors.account(object)
  elseif has_text(object) then
    local text = text_of(object)
    return type(object) == "table" and without_kind(text, kind_of(object))
      or text
  end
  local message = rawget(object, "message")
  if type(message) == "string" then
    return message
  end
  local is_named = kind_of(object) == rawget(object, "kind")
  local text = render(object, DEPTH_MAX, is_named and "kind")
  return is_named and text == "{}" and "no message" or text
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

--- What there is to say of an error outside of a task: its kind, too, where
-- the message does not have it.
-- @param object what was raised
-- @tparam table described
-- @treturn string
function failure.headline(object, described)
  if type(object) == "table" and has_text(object) then
    return shortened(text_of(object))
  elseif described.kind == "Error" then
    return described.message
  end
  return described.kind .. ": " .. described.message
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
