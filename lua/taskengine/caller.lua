--- Whose line of code it was: the user's or one of ours.
-- @module taskengine.caller

local caller = {}

-- All of this layer lies in one folder, of files or inside the program.
local HOME <const> = debug.getinfo(1, "S").source:match("^(.*[/\\])") or "="

--- Whether a chunk belongs to this layer.
-- @tparam string source as `debug.getinfo` has it
-- @treturn boolean
function caller.is_ours(source)
  return source:sub(1, #HOME) == HOME
end

-- The innermost Lua function that is not ours, from this level on.
local function find(level)
  local info = debug.getinfo(level, "Sl")
  while info do
    if info.currentline > 0 and not caller.is_ours(info.source) then
      return info
    end
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
end

--- Where the user's code called this layer.
-- @treturn ?string `"file:line"`; nil when no Lua code did
function caller.place()
  local info = find(3)
  return info and ("%s:%d"):format(info.short_src, info.currentline)
end

--- The source of the chunk that called this layer, as `debug.getinfo` has it.
-- @treturn ?string
function caller.source()
  local info = find(3)
  return info and info.source
end

--- Raises an error at the line where the user's code called this layer.
-- @tparam string message
-- @raise always
function caller.raise(message)
  local info = find(3)
  local place = info
    and ("%s:%d: "):format(info.short_src, info.currentline) or ""
  error(place .. message, 0)
end

--- Lets the methods of a class say so when they are called with a dot.
-- @tparam table class whose methods are all there
-- @tparam string noun what to write before the colon
function caller.guard_methods(class, noun)
  for name, method in pairs(class) do
    if type(method) == "function" and name:sub(1, 1) ~= "_" then
      class[name] = function(self, ...)
        if getmetatable(self) ~= class then
          caller.raise(("use %s:%s(...), with a colon"):format(noun, name))
        end
        return method(self, ...)
      end
    end
  end
end

return caller
