--- Tracebacks that show the user's functions and none of ours.
-- @module taskengine.traceback

local caller = require("taskengine.caller")

local traceback = {}

-- Of a deep stack, the levels that are shown at either end.
local LEVELS_MAX <const> = 15
-- Finding a level takes time in proportion to its depth: in the half million
-- levels of a stack overflow 10 to 30 ms, and the far end takes dozens of
-- looks. Of a stack so deep only the near end is shown.
local DEPTH_MAX <const> = 10000

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

-- The outermost level as seen from our caller, at least `from`.
local function last_level(from)
  local low, high = from, from + 1
  while debug.getinfo(high + 1, "l") do
    low, high = high, high * 2
  end
  while high - low > 1 do
    local middle = (low + high) // 2
    if debug.getinfo(middle + 1, "l") then
      low = middle
    else
      high = middle
    end
  end
  return low
end

-- Whether the frame at this level, as seen from our caller, is the one from
-- which this layer called the user's function.
local function is_bottom(info, level)
  local below = info.func == xpcall and debug.getinfo(level + 2, "S")
  return below and caller.is_ours(below.source)
end

-- Adds levels, as seen from our caller. False when the user's end was among
-- them.
local function add_levels(lines, first, last)
  for level = first + 1, last + 1 do
    local info = debug.getinfo(level, "Slnf")
    if is_bottom(info, level) then
      return false
    elseif not caller.is_ours(info.source) and info.func ~= error then
      lines[#lines + 1] = line_of(info)
    end
  end
  return true
end

local function add_skipped(lines, text)
  lines[#lines + 1] = ("\t...\t(skipping %s levels)"):format(text)
end

--- The stack from a level up to where this layer called the user's code.
-- @tparam int level 1 is the function that calls this one
-- @treturn string as `debug.traceback` writes it
function traceback.user(level)
  local lines, first = { "stack traceback:" }, level + 1
  local near = first + LEVELS_MAX - 1
  if debug.getinfo(first + DEPTH_MAX, "l") then
    if add_levels(lines, first, near) then
      add_skipped(lines, ("more than %d"):format(DEPTH_MAX - LEVELS_MAX))
    end
    return table.concat(lines, "\n")
  end
  local last = last_level(first)
  local far = last - LEVELS_MAX + 1
  if far <= near + 1 then
    add_levels(lines, first, last)
  elseif add_levels(lines, first, near) then
    add_skipped(lines, far - near - 1)
    add_levels(lines, far, last)
  end
  return table.concat(lines, "\n")
end

return traceback
