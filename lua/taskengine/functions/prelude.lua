-- What all functions share: calls of Redis, the clock, numbers in bytes.
--
-- The files of this folder are one Redis function library (library.lua puts
-- them together, this one first, so that they see its locals). They run in
-- Lua 5.1 inside Redis and in Lua 5.4 in specs, read nothing of an envelope
-- but its header, and are documented in docs/protocol.md. BUILD comes from
-- library.lua.

local te = {}

te.DEATHS_MAX = 3
te.REAPS_MAX = 10
te.DEAD_MAX = 10000
-- Of the envelopes and outcomes of the dead.
te.DEAD_BYTES_MAX = 256 * 1024 * 1024
-- How long the dead, producers, waits and malformed envelopes are kept.
te.KEPT_MS = 7 * 86400 * 1000
te.INLINE_BYTES_MAX = 65536
te.FIELD_BYTES = 24 -- of a task in flight: id, delivery number
-- Tasks in one group or operation: Lua 5.1 unpacks fewer than 8,000 values.
te.BATCH_MAX = 4000

local function look_up()
  return type, tonumber, pairs, unpack, math, string, table
end

-- While Redis loads a library it shows it nothing but register_function: no
-- redis.call, no string. These are set when a function is first called; a
-- global would be looked for in two tables each time.
local type, tonumber, pairs, unpack, math, string, table
local try, byte, sub, char

-- Calls Redis. What somebody else has put in the place of one of our keys must
-- not stop a transition half-way, with tasks in no place at all: it is moved
-- out of the way.
local function call(...)
  local reply = try(...)
  if type(reply) == "table" and reply.err then
    return te.mend(reply, ...)
  end
  return reply
end

local DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local digit_value, digit_text = {}, {}
-- Counts as text, made when they are first asked for: Redis prints a number
-- that it is given with %.17g, which takes as long as a GET. And all bytes.
local texts, chars = {}, {}

local function make_text(_, n)
  local text = string.format("%.0f", n)
  if n <= te.BATCH_MAX then
    texts[n] = text
  end
  return text
end

local function set_up()
  type, tonumber, pairs, unpack, math, string, table = look_up()
  byte, sub, char = string.byte, string.sub, string.char
  for i = 1, #DIGITS do
    digit_value[byte(DIGITS, i)] = i - 1
    digit_text[i - 1] = sub(DIGITS, i, i)
  end
  setmetatable(digit_value, { __index = function() return 0 / 0 end })
  setmetatable(texts, { __index = make_text })
  for k = 0, 255 do
    chars[k] = char(k)
  end
  try = redis.pcall
end

-- Milliseconds since 1970 by the clock of Redis.
function te.now()
  local t = call("TIME")
  te.moment = t[1] * 1000 + math.floor(t[2] / 1000)
  return te.moment
end

-- Big-endian, n bytes at 1-based position i.
function te.number_at(s, i, n)
  if n == 4 then -- the most of them
    local a, b, c, d = byte(s, i, i + 3)
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
  local v = 0
  for k = i, i + n - 1 do
    v = v * 256 + byte(s, k)
  end
  return v
end

function te.bytes_of(v, n)
  if n == 4 then
    return te.bytes4(v)
  end
  local out = {}
  for k = n, 1, -1 do
    out[k] = char(v % 256)
    v = math.floor(v / 256)
  end
  return table.concat(out)
end

-- A text with its bytes from 1-based position i replaced.
function te.patch(s, i, bytes)
  return sub(s, 1, i - 1) .. bytes .. sub(s, i + #bytes)
end

function te.is_set(flags, bit)
  return flags % (2 * bit) >= bit
end

-- The number that a text is, if it is one up to `max`; or nil.
function te.natural(text, max)
  local n = text and string.find(text, "^%d+$") and #text < 16
    and tonumber(text)
  return n and n <= max and n or nil
end

-- Of 4 bytes, as every release and every end writes.
function te.bytes4(v)
  local d = v % 256
  v = (v - d) / 256
  local c = v % 256
  v = (v - c) / 256
  local b = v % 256
  return char((v - b) / 256 % 256, b, c, d)
end

function te.register(name, callback, flags)
  flags = flags or { "allow-oom" }
  local may_write = flags[1] ~= "no-writes"
  redis.register_function({
    function_name = "te1_" .. name,
    callback = function(keys, args)
      if not try then
        set_up()
      end
      te.may_write = may_write
      te.begin_tally()
      te.begin_waits()
      te.begin_flows()
      local reply = callback(keys, args)
      te.close_flows(keys[1])
      te.write_tally()
      return reply
    end,
    flags = flags,
  })
end

te.register("build", function()
  return BUILD
end, { "no-writes", "allow-stale" })
