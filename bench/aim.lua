--- What a measure must reach, and whether it does.
-- @module bench.aim

local aim = {}

--- Compares a value with an aim.
-- @tparam table row `more`: it is to be reached from below
-- @tparam number limit
-- @tparam number value
-- @treturn string the aim as it is shown
-- @treturn boolean whether it is met
function aim.judge(row, limit, value)
  if row.more then
    return (">= %g"):format(limit), value >= limit
  end
  return ("<= %g"):format(limit), value <= limit
end

--- The last word of a run.
-- @tparam {table,...} judged `title`, `aim`, `found` (texts) and `met`
-- @treturn string sentences
-- @treturn boolean whether all are met
function aim.sum_up(judged)
  local missed = {}
  for _, one in ipairs(judged) do
    if not one.met then
      table.insert(missed, ("\n  %s: %s, and not %s"):format(one.title,
        one.found, one.aim))
    end
  end
  if #missed == 0 then
    return ("aims: %d, all met"):format(#judged), true
  end
  return ("aims: %d, missed: %d%s"):format(#judged, #missed,
    table.concat(missed)), false
end

return aim
