--- Values for specs of what travels: exact comparison, and random ones.

local values = {}

--- A text that is the same exactly when the values are: integers and floats
-- differ, so do -0.0 and 0.0 and the bits of a NaN.
-- @param value of the kinds that travel
-- @treturn string
function values.text(value)
  local kind = math.type(value) or type(value)
  if kind == "float" then
    return ("f%016x"):format(string.unpack("<I8", string.pack("<d", value)))
  elseif kind == "string" then
    return ("%q"):format(value)
  elseif kind ~= "table" then
    return tostring(value)
  end
  local parts = {}
  for k, v in next, value do
    parts[#parts + 1] = values.text(k) .. "=" .. values.text(v)
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

local function random_bytes(size)
  local bytes = {}
  for i = 1, size do
    bytes[i] = string.char(math.random(0, 255))
  end
  return table.concat(bytes)
end

local function random_text(size)
  local chars = {}
  for i = 1, size do
    local top = ({ 0x7f, 0x7f, 0x7ff, 0xd7ff, 0x10ffff })[math.random(5)]
    local code = math.random(0, top)
    local surrogate = code >= 0xd800 and code <= 0xdfff
    chars[i] = utf8.char(surrogate and 0x20ac or code)
  end
  return table.concat(chars)
end

-- Sizes on both sides of where MessagePack changes its form.
local function random_size()
  local sizes = { 0, 1, 15, 16, 17, 31, 32, 33, 255, 256, 257 }
  return math.random(3) == 1 and sizes[math.random(#sizes)] or math.random(0, 9)
end

local function random_integer()
  local bits = math.random(0, 63)
  local edge = (1 << bits) + math.random(-2, 2)
  return math.random(2) == 1 and edge or -edge
end

local function random_float()
  local special = { 0.0, -0.0, 1 / 0, -1 / 0, 0 / 0, 0.1, 1.0, 2.0 ^ 53,
    5e-324, 1.7976931348623157e308 }
  if math.random(3) == 1 then
    return special[math.random(#special)]
  end
  return (string.unpack("<d", random_bytes(8)))
end

local scalars = {
  random_integer,
  random_float,
  function() return random_text(random_size()) end,
  function() return random_bytes(random_size()) end,
  function() return math.random(2) == 1 end,
}

local function random_key()
  local key
  repeat
    key = scalars[math.random(#scalars)]()
  until key == key
  return key
end

--- A random value that can travel.
-- @tparam int depth how many tables it may be deep
-- @param null what stands for nil in a table
-- @return the value; never nil
function values.random(depth, null)
  local kind = math.random(depth > 0 and 8 or 6)
  if kind == 6 then
    return null
  elseif kind < 6 then
    return scalars[kind]()
  end
  local t = {}
  local many = math.random(12) == 1
  for i = 1, many and random_size() % 40 or math.random(0, 4) do
    local key = kind == 7 and i or random_key()
    t[key] = values.random(depth - 1 - math.random(0, 2), null)
  end
  return t
end

--- A random value that JSON can say, and say again as the same.
-- @tparam int depth how many tables it may be deep
-- @param null what stands for nil in a table
-- @return the value; never nil
function values.random_json(depth, null)
  local value
  repeat
    value = values.random(0, null)
    local float = math.type(value) == "float"
    local beyond = float and (value ~= value or math.abs(value) == 1 / 0)
    local bytes = type(value) == "string" and not utf8.len(value)
  until not beyond and not bytes
  if depth == 0 or math.random(3) == 1 then
    return value
  end
  local t = {}
  local list = math.random(2) == 1
  for i = 1, math.random(4) do
    t[list and i or ("k" .. i)] = values.random_json(depth - 1, null)
  end
  return t
end

return values
