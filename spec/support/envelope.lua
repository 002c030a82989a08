--- Envelopes in plain Lua, by docs/protocol.md and nothing else.
--
-- Specs build what producers send and read what workers get with this, so
-- that a mistake shared by the functions and the C code is still found.
-- @module spec.support.envelope

local envelope = {}

local DIGITS <const> =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local HEADER <const> = ">c20BBBBBBI4I8I8I4I4I4c20I4c16BBBB"
local ZEROS <const> = ("\0"):rep(20)

-- The parts beside the id, in the order in which they travel.
local DEFAULTS <const> = {
  version = 1,
  flags = 0, -- 1 no result, 2 a lost worker fails it, 4 reports its start
  attempt = 0,
  deaths = 0,
  reaps = 0,
  priority = 0,
  delivery = 0,
  expiry_ms = 0,
  sent_ms = 0,
  time_limit_ms = 0,
  soft_time_limit_ms = 0,
  ttl_s = 86400,
  flow = ZEROS,
  node = 0,
  digest = ZEROS:sub(1, 16),
  queue = "default",
  name = "add",
  limit_key = "",
  alias = "",
  body = "\x91\x90", -- [[]]
}

--- An id of the engine's form.
-- @tparam string producer 12 characters
-- @tparam int number of the task, from 1
-- @treturn string
function envelope.id(producer, number)
  local digits = {}
  for i = 8, 1, -1 do
    local digit = number % 62
    digits[i] = DIGITS:sub(digit + 1, digit + 1)
    number = number // 62
  end
  assert(#producer == 12 and number == 0)
  return producer .. table.concat(digits)
end

--- The number in an id of the engine's form.
-- @tparam string id
-- @treturn ?int
function envelope.number(id)
  if #id ~= 20 or id:find("%W") then
    return nil
  end
  local number = 0
  for digit in id:sub(13):gmatch(".") do
    number = number * 62 + DIGITS:find(digit, 1, true) - 1
  end
  return number
end

--- The name of a task in flight.
-- @tparam string id or an envelope
-- @tparam int delivery number of the fetch that handed it out
-- @treturn string
function envelope.field(id, delivery)
  return id:sub(1, 20) .. string.pack(">I4", delivery)
end

--- Builds an envelope.
-- @tparam table parts `id`, and what differs from `DEFAULTS`
-- @treturn string
function envelope.new(parts)
  local e = {}
  for name, value in pairs(DEFAULTS) do
    e[name] = value
  end
  for name, value in pairs(parts) do
    assert(DEFAULTS[name] or name == "id", name)
    e[name] = value
  end
  return string.pack(HEADER, e.id, e.version, e.flags, e.attempt, e.deaths,
    e.reaps, e.priority, e.delivery, e.expiry_ms, e.sent_ms, e.time_limit_ms,
    e.soft_time_limit_ms, e.ttl_s, e.flow, e.node, e.digest, #e.queue, #e.name,
    #e.limit_key, #e.alias)
    .. e.queue .. e.name .. e.limit_key .. e.alias .. e.body
end

--- Reads an envelope.
-- @tparam string bytes
-- @treturn table its parts
function envelope.read(bytes)
  local e, lengths = {}, {}
  e.id, e.version, e.flags, e.attempt, e.deaths, e.reaps, e.priority,
    e.delivery, e.expiry_ms, e.sent_ms, e.time_limit_ms, e.soft_time_limit_ms,
    e.ttl_s, e.flow, e.node, e.digest, lengths[1], lengths[2], lengths[3],
    lengths[4] = string.unpack(HEADER, bytes)
  local at = string.packsize(HEADER) + 1
  for i, name in ipairs { "queue", "name", "limit_key", "alias" } do
    e[name] = bytes:sub(at, at + lengths[i] - 1)
    at = at + lengths[i]
  end
  e.body = bytes:sub(at)
  return e
end

return envelope
