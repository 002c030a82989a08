--- Amounts of memory, as people write them.
-- @module taskengine.size

local size = {}

local FACTORS <const> = {
  [""] = 1, K = 1 << 10, M = 1 << 20, G = 1 << 30, T = 1 << 40,
}

--- How many bytes an amount is.
-- @param value an integer of bytes, or a string such as `"64M"`, `"1.5G"` or
-- `"500000"`: K, M, G and T stand for 1024, 1024 * 1024 and so on
-- @treturn[1] int
-- @return[2] nil when it is none
function size.bytes(value)
  if math.type(value) == "integer" then
    return value >= 0 and value or nil
  elseif type(value) ~= "string" then
    return nil
  end
  local number, unit = value:match("^(%d+%.?%d*)([KMGTkmgt]?)[Ii]?[Bb]?$")
  local bytes = number and tonumber(number) * FACTORS[unit:upper()]
  return bytes and math.tointeger(bytes // 1)
end

return size
