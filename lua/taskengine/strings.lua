--- What a string has for methods, which all code of a Lua state shares.
--
-- A task that sets another `__index` for strings, to take characters by their
-- number, say, must not change what `text:sub(1, 3)` does in the next one, or
-- in this layer.
-- @module taskengine.strings

local strings = {}

local metatable = getmetatable("")
local methods = metatable.__index

--- Takes what strings have now for what they are to have.
function strings.keep()
  methods = metatable.__index
end

--- Gives strings back what they had.
function strings.restore()
  if metatable.__index ~= methods then
    metatable.__index = methods
  end
end

return strings
