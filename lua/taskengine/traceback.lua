--- Tracebacks that show the user's functions and none of ours.
-- @module taskengine.traceback

local caller = require("taskengine.caller")

local traceback = {}

local FRAMES_MAX <const> = 22

local function describe(info)
  if info.namewhat == "global" then
    return ("function '%s'"):format(info.name)
  elseif info.namewhat ~= "" then
    return ("%s '%s'"):format(info.namewhat, info.name)
  elseif info.what == "main" then
    return "main chunk"
  elseif info.what == "C" then
    return "a C function"
  end
  return ("function <%s:%d>"):format(info.short_src, info.linedefined)
end

local function line_of(info)
  local place = info.currentline > 0
    and ("%s:%d"):format(info.short_src, info.currentline)
    or info.short_src
  return ("\t%s: in %s"):format(place, describe(info))
end

-- Whether the frame at this level, seen from our caller, is the one from
-- which this layer called the user's function.
local function is_bottom(info, level)
  local below = info.func == xpcall and debug.getinfo(level + 2, "S")
  return below and caller.is_ours(below.source)
end

--- The stack from a level up to where this layer called the user's code.
-- @tparam int level 1 is the function that calls this one
-- @treturn string as `debug.traceback` writes it
function traceback.user(level)
  local lines, left_out = { "stack traceback:" }, 0
  level = level + 1
  local info = debug.getinfo(level, "Slnf")
  while info and not is_bottom(info, level) do
    if not caller.is_ours(info.source) and info.func ~= error then
      if #lines <= FRAMES_MAX then
        lines[#lines + 1] = line_of(info)
      else
        left_out = left_out + 1
      end
    end
    level = level + 1
    info = debug.getinfo(level, "Slnf")
  end
  if left_out > 0 then
    lines[#lines + 1] = ("\t...\t(%d more)"):format(left_out)
  end
  return table.concat(lines, "\n")
end

return traceback
