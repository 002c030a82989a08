--- Outcomes of tasks as they are written, see docs/protocol.md.
-- @module taskengine.record

local core = require("taskengine.core")
local errors = require("taskengine.errors")

local record = {}

local STATES <const> = {
  S = "SUCCESS",
  J = "SUCCESS",
  G = "SUCCESS",
  F = "FAILURE",
  R = "REVOKED",
}

--- A task's end.
-- @table Outcome
-- @tfield string state SUCCESS, FAILURE or REVOKED; nil when it is not known
-- @field value what the task returned
-- @tfield ?TaskError error why there is none

local function text(value, fallback)
  return type(value) == "string" and value or fallback
end

-- The error in an `F` or `R`; what is not as it must be is left out.
local function read_error(fields, id, name)
  fields = type(fields) == "table" and fields or {}
  return errors.new {
    id = id,
    name = name,
    kind = text(fields.kind, "Error"),
    message = text(fields.message, "no message"),
    traceback = text(fields.traceback, nil),
    value = fields.value,
  }
end

-- Says it in the message, too; unless that has come through a task that says it
-- again.
local function add_reason(e, fields)
  local reason = type(fields) == "table"
    and (": %s: %s"):format(e.cause.kind, e.cause.message)
  if reason and e.message:sub(-#reason) ~= reason then
    e.message = e.message .. reason
  end
end

-- The same with the error of the task because of which this one never ran.
local function read_failure(fields, id, name)
  local e = read_error(fields, id, name)
  local value = e.value
  if e.kind == "DependencyFailed" and type(value) == "table" then
    e.cause = read_error(value.error, text(value.id, nil))
    add_reason(e, value.error)
  end
  return e
end

local function unknown(kind, message, id, name)
  return {
    error = errors.new { kind = kind, message = message, id = id, name = name },
  }
end

-- The value behind the letter; the second is false when there is none.
local function read_value(letter, bytes)
  if letter == "G" then
    return nil, true -- of a group: see taskengine.gather
  elseif letter == "J" then
    local value, why = core.json.decode(bytes:sub(2))
    return value, not why
  end
  local value, after = core.codec.decode(bytes, 2)
  return value, after == #bytes + 1
end

--- Reads an outcome.
-- @tparam string bytes
-- @tparam string id the task's, for errors
-- @tparam ?string name the task's
-- @treturn Outcome
function record.read(bytes, id, name)
  local letter = bytes:sub(1, 1)
  if letter == "-" then
    return unknown("Forgotten", "its result is gone: it has expired, was"
      .. " forgotten or never kept", #bytes > 1 and bytes:sub(2) or id, name)
  elseif bytes == "?" then
    return unknown("Forgotten", "no such task was ever enqueued, or nothing"
      .. " is remembered of it", id, name)
  end
  local state, value, is_whole = STATES[letter], nil, false
  if state then
    value, is_whole = read_value(letter, bytes)
  end
  if not is_whole then
    return unknown("Malformed", "its outcome cannot be read", id, name)
  elseif state == "SUCCESS" then
    return { state = state, value = value }
  end
  return { state = state, error = read_failure(value, id, name) }
end

local FAILURE_LIMIT <const> = 1024 * 1024

-- Without a value that cannot travel, or takes too much; the message says so.
local function encode_failure(fields)
  local bytes, why = core.codec.encode(fields, "error", FAILURE_LIMIT)
  if not bytes then
    fields.message = ("%s (what was raised cannot travel: %s)"):format(
      fields.message, errors.sentence(why))
    fields.value = nil
    bytes = assert(core.codec.encode(fields, "error"))
  end
  return bytes
end

--- Writes a failure.
-- @tparam table fields `kind`, `message`, `traceback`, `value`
-- @treturn string
function record.failure(fields)
  return "F" .. encode_failure(fields)
end

-- What is noted of an attempt may have so many bytes.
local NOTE_BYTES_MAX <const> = 4096
local MESSAGE_BYTES <const>, TRACEBACK_BYTES <const> = 2000, 1500

local function cut(long, bytes)
  return long and #long > bytes and long:sub(1, bytes) .. "..." or long
end

--- Writes a failure after which a task is run again: what is too long to be
-- noted goes without its value.
-- @tparam table fields `kind`, `message`, `traceback`, `value`
-- @treturn string
function record.note(fields)
  local bytes = record.failure(fields)
  if #bytes <= NOTE_BYTES_MAX then
    return bytes
  end
  return record.failure {
    kind = fields.kind,
    message = cut(fields.message, MESSAGE_BYTES),
    traceback = cut(fields.traceback, TRACEBACK_BYTES),
  }
end

--- Writes a revocation.
-- @tparam table fields `kind`, `message`
-- @treturn string
function record.revocation(fields)
  return "R" .. encode_failure(fields)
end

return record
