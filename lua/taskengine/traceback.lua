--- Tracebacks that show the user's functions and none of ours.
-- @module taskengine.traceback

local caller = require("taskengine.caller")
local core = require("taskengine.core")

local traceback = {}

-- Of a deep stack, the levels that are shown at either end.
local LEVELS_MAX <const> = 15

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

-- Whether a level is the one from which this layer called the user's function.
local function is_bottom(info, below)
  return info.func == xpcall and below ~= nil and caller.is_ours(below.source)
end

local function add(lines, info)
  if not caller.is_ours(info.source) and info.func ~= error then
    lines[#lines + 1] = line_of(info)
  end
end

-- The innermost levels as seen from our caller. Returns the level where it
-- goes on; nil: that was all.
local function add_innermost(lines, level)
  for at = level + 1, level + LEVELS_MAX do
    local info = debug.getinfo(at, "Slnf")
    if not info or is_bottom(info, debug.getinfo(at + 1, "S")) then
      return nil
    end
    add(lines, info)
  end
  return level + LEVELS_MAX
end

-- The outermost levels, from `level` on.
local function add_outermost(lines, level, infos, last)
  local first = level - (last - #infos)
  if first < 1 then
    lines[#lines + 1] = ("\t...\t(skipping %d levels)"):format(1 - first)
    first = 1
  end
  for i = first, #infos do
    if is_bottom(infos[i], infos[i + 1]) then
      return
    end
    add(lines, infos[i])
  end
end

--- The stack from a level up to where this layer called the user's code.
-- @tparam int level 1 is the function that calls this one
-- @treturn string as `debug.traceback` writes it
function traceback.user(level)
  local lines = { "stack traceback:" }
  local next_level = add_innermost(lines, level + 1)
  if next_level then
    add_outermost(lines, next_level, core.stack.outermost(LEVELS_MAX))
  end
  return table.concat(lines, "\n")
end

return traceback
