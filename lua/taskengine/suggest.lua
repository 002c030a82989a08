--- The nearest known name for one that is not known.
-- @module taskengine.suggest

local suggest = {}

-- How many letters must be put in, taken out, changed, or swapped with their
-- neighbour to make one word of the other.
local function distance(a, b)
  local before, last, row = {}, {}, {}
  for j = 0, #b do
    last[j] = j
  end
  for i = 1, #a do
    row[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1,
        last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1)
        and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last, row = last, row, before
  end
  return last[#b]
end

--- The name that was probably meant.
-- @tparam string name
-- @tparam {string,...} known
-- @treturn ?string nil when none is near: a third of the letters may differ
function suggest.nearest(name, known)
  local wanted = name:lower()
  local best, best_distance = nil, math.max(1, #name // 3) + 1
  for _, candidate in ipairs(known) do
    local d = distance(wanted, candidate:lower())
    if d < best_distance
      or d == best_distance and best and candidate < best then
      best, best_distance = candidate, d
    end
  end
  return best
end

--- The end of a sentence that says a name is not known.
-- @tparam string name
-- @tparam {string,...} known
-- @tparam[opt=""] string prefix what stands before all of them
-- @treturn string `" (did you mean 'priority'?)"`, or empty
function suggest.hint(name, known, prefix)
  local nearest = suggest.nearest(name, known)
  return nearest and (" (did you mean '%s%s'?)"):format(prefix or "", nearest)
    or ""
end

return suggest
