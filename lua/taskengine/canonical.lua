--- The same bytes for the same value, in whatever order its tables have their
-- keys: what digests are made of, see docs/protocol.md.
-- @module taskengine.canonical

local core = require("taskengine.core")

local canonical = {}

local MAP_32 <const> = "\xdf"

local encode

local function encode_table(t, depth)
  local entries, n = {}, 0
  for key, value in next, t do
    local bytes = core.codec.encode(key)
    n = n + 1
    entries[n] = bytes and bytes .. encode(value, depth - 1) or ""
  end
  table.sort(entries)
  return MAP_32 .. (">I4"):pack(n) .. table.concat(entries)
end

function encode(value, depth)
  if type(value) ~= "table" then
    return core.codec.encode(value) or ""
  end
  return depth > 0 and encode_table(value, depth) or ""
end

--- Canonical MessagePack of a value. What cannot travel is left out.
-- @function encode
-- @param value anything
-- @tparam number depth how deep it is looked into
-- @treturn string
canonical.encode = encode

return canonical
