--- MessagePack as the `cmsgpack` of Redis' scripts writes and reads it.
--
-- Numbers that are integers travel as integers, others in the smallest float
-- that holds them; a table with keys 1 to n travels as an array; what cannot
-- travel, and a table 16 levels deep, travels as nil.
-- @module spec.support.fake_redis.cmsgpack

local number = require("spec.support.fake_redis.number")

local cmsgpack = {}

local DEPTH_MAX <const> = 16
local encode

local function encode_natural(n)
  if n < 0x80 then
    return string.pack("B", n)
  elseif n <= 0xff then
    return string.pack("BB", 0xcc, n)
  elseif n <= 0xffff then
    return string.pack(">BI2", 0xcd, n)
  elseif n <= 0xffffffff then
    return string.pack(">BI4", 0xce, n)
  end
  return string.pack(">BI8", 0xcf, n)
end

local function encode_negative(n)
  if n >= -32 then
    return string.pack("b", n)
  elseif n >= -0x80 then
    return string.pack("Bb", 0xd0, n)
  elseif n >= -0x8000 then
    return string.pack(">Bi2", 0xd1, n)
  elseif n >= -0x80000000 then
    return string.pack(">Bi4", 0xd2, n)
  end
  return string.pack(">Bi8", 0xd3, n)
end

local function encode_number(n)
  local integer = math.tointeger(n)
  if integer then
    return integer < 0 and encode_negative(integer) or encode_natural(integer)
  end
  local float = string.pack(">f", n)
  if string.unpack(">f", float) == n then
    return "\xca" .. float
  end
  return string.pack(">Bd", 0xcb, n)
end

local function encode_string(s)
  if #s < 32 then
    return string.pack("B", 0xa0 | #s) .. s
  elseif #s <= 0xff then
    return string.pack(">Bs1", 0xd9, s)
  elseif #s <= 0xffff then
    return string.pack(">Bs2", 0xda, s)
  end
  return string.pack(">Bs4", 0xdb, s)
end

local function encode_count(count, short, long)
  if count <= 15 then
    return string.pack("B", short | count)
  elseif count <= 0xffff then
    return string.pack(">BI2", long, count)
  end
  return string.pack(">BI4", long + 1, count)
end

-- Returns the number of pairs, and whether the keys are 1 to that number.
local function measure(t)
  local count, max = 0, 0
  for key in pairs(t) do
    count = count + 1
    local place = math.type(key) == "integer" and key > 0 and key or math.huge
    max = math.max(max, place)
  end
  return count, max == count
end

local function encode_table(t, depth)
  local count, is_array = measure(t)
  local parts = {}
  if is_array then
    parts[1] = encode_count(count, 0x90, 0xdc)
    for i = 1, count do
      parts[i + 1] = encode(t[i], depth + 1)
    end
    return table.concat(parts)
  end
  parts[1] = encode_count(count, 0x80, 0xde)
  for key, value in pairs(t) do
    parts[#parts + 1] = encode(key, depth + 1)
    parts[#parts + 1] = encode(value, depth + 1)
  end
  return table.concat(parts)
end

function encode(value, depth)
  local kind = type(value)
  if kind == "number" then
    return encode_number(value)
  elseif kind == "string" then
    return encode_string(value)
  elseif kind == "boolean" then
    return value and "\xc3" or "\xc2"
  elseif kind == "table" and depth < DEPTH_MAX then
    return encode_table(value, depth)
  end
  return "\xc0"
end

local CONSTANT <const> = { [0xc2] = false, [0xc3] = true }
local NUMBER <const> = {
  [0xca] = ">f",
  [0xcb] = ">d",
  [0xcc] = ">I1",
  [0xcd] = ">I2",
  [0xce] = ">I4",
  [0xcf] = ">i8", -- without a sign elsewhere, with one in Redis
  [0xd0] = ">i1",
  [0xd1] = ">i2",
  [0xd2] = ">i4",
  [0xd3] = ">i8",
}
local STRING <const> = { [0xd9] = ">s1", [0xda] = ">s2", [0xdb] = ">s4" }
local COUNT <const> = {
  [0xdc] = ">I2",
  [0xdd] = ">I4",
  [0xde] = ">I2",
  [0xdf] = ">I4",
}
local decode

local function read(format, text, at)
  local ok, value, after = pcall(string.unpack, format, text, at)
  if not ok then
    error("Missing bytes in input.", 0)
  end
  return value, after
end

local function decode_array(text, at, count)
  local array = {}
  for i = 1, count do
    array[i], at = decode(text, at)
  end
  return array, at
end

local function decode_map(text, at, count)
  local map = {}
  for _ = 1, count do
    local key, value
    key, at = decode(text, at)
    value, at = decode(text, at)
    map[key] = value
  end
  return map, at
end

-- What the first byte alone tells: small numbers and short lengths.
local function decode_short(byte, text, at)
  if byte < 0x80 then
    return byte, at
  elseif byte < 0x90 then
    return decode_map(text, at, byte & 0x0f)
  elseif byte < 0xa0 then
    return decode_array(text, at, byte & 0x0f)
  elseif byte < 0xc0 then
    return read("c" .. (byte & 0x1f), text, at)
  end
  return byte - 0x100, at
end

local function decode_number(byte, text, at)
  local value, after = read(NUMBER[byte], text, at)
  return math.type(value) == "integer" and number.as_reply(value) or value,
    after
end

function decode(text, at)
  local byte, after = read("B", text, at)
  if byte < 0xc0 or byte >= 0xe0 then
    return decode_short(byte, text, after)
  elseif byte == 0xc0 then
    return nil, after
  elseif CONSTANT[byte] ~= nil then
    return CONSTANT[byte], after
  elseif NUMBER[byte] then
    return decode_number(byte, text, after)
  elseif STRING[byte] then
    return read(STRING[byte], text, after)
  elseif COUNT[byte] then
    local count, items = read(COUNT[byte], text, after)
    return (byte < 0xde and decode_array or decode_map)(text, items, count)
  end
  error("Bad data format in input.", 0)
end

--- Values as one string.
-- @param ... one or more values
-- @treturn string
-- @raise when there is none
function cmsgpack.pack(...)
  local count, parts = select("#", ...), {}
  if count == 0 then
    error("bad argument #0 to 'pack' (MessagePack pack needs input.)", 2)
  end
  for i = 1, count do
    parts[i] = encode((select(i, ...)), 0)
  end
  return table.concat(parts)
end

--- The values that a string is made of.
-- @tparam string text
-- @return the values
-- @raise when the text is not MessagePack
function cmsgpack.unpack(text)
  local values, count, at = {}, 0, 1
  while at <= #text do
    count = count + 1
    values[count], at = decode(text, at)
  end
  return table.unpack(values, 1, count)
end

return cmsgpack
