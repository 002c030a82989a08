--- Ranges of places, as the commands on lists and sorted sets take them.
-- @module spec.support.fake_redis.range

local range = {}

--- The places, from 1, that two indices name.
-- @tparam int first from 0, or negative from the end
-- @tparam int last likewise, inclusive
-- @tparam int count how many elements there are
-- @treturn int from 1 or more
-- @treturn int to the count or less; from - 1 when nothing is between
function range.between(first, last, count)
  local from = first < 0 and math.max(count + first, 0)
    or math.min(first, count)
  local to = last < 0 and count + last or math.min(last, count - 1)
  if from > to then
    return 1, 0
  end
  return from + 1, to + 1
end

return range
