--- What tasks, queues and namespaces may be called.
-- @module taskengine.names

local names = {}

--- What a name is, for messages.
names.RULE = "1 to 128 of the characters A-Z a-z 0-9 _ . : -"

--- Whether a value is a valid name.
-- @param value anything
-- @treturn boolean
function names.is_valid(value)
  return type(value) == "string" and #value <= 128
    and value:find("^[%w_.:-]+$") ~= nil
end

return names
