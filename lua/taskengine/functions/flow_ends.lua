-- How tasks of flows leave a worker as most do: with a value, many at once.

-- Ends a task of the chunk whose first node is base, or of no flow. False when
-- it has ended before.
local function end_one(P, f, base, field, outcome, ttl_s)
  local id = sub(field, 1, 20)
  if not f then
    te.put_outcome(P, id, outcome, ttl_s * 1000)
    return true
  end
  local node = base + digit_value[byte(field, 20)]
  return node >= 1 and node <= f.n
    and te.end_node(f, node, outcome, nil, nil, id)
end

-- Whether somebody may wait for a task, or for one of a chunk.
local function is_waited_for(waits, id)
  return waits == true or waits and waits[id]
end

-- Tells of tasks from args[k] to before args[to].
local function tell_of(P, args, k, to, waits)
  for at = k, to - 2, 2 do
    local id = sub(args[at], 1, 20)
    if is_waited_for(waits, id) then
      te.tell(P, id, args[at + 1])
    end
  end
end

-- Ends tasks whose ids differ in the last digit only, from args[k] on. Returns
-- where others begin.
local function end_chunk(P, args, k, last, ttl_s, waits)
  local front = sub(args[k], 1, 19)
  local f = te.flow_or_remake(P, sub(front, 1, 12), ttl_s)
  local base = f and te.node_of(front .. "0")
  local is_simple = f and not f.counted and not f.passes
  local is_any_waited_for = is_waited_for(waits, front)
  repeat
    local to = is_simple and te.end_released(f, base, args, k, last, front) or k
    local is_end = to > k
    if not is_end then -- there is more to this one
      is_end = end_one(P, f, base, args[k], args[k + 1], ttl_s)
      to = k + 2
    end
    if is_any_waited_for and is_end then
      tell_of(P, args, k, to, waits)
    end
    k = to
  until k > last or sub(args[k], 1, 19) ~= front
  return k
end

te.SIZES.m = te.SIZES.s

-- The same as `s` of nodes of flows, which end with what that sets off; or
-- outcomes alone, when there is no flow.
function te.OPERATIONS.m(state, args, i)
  local P, k, last = state.P, i + 4, i + 3 + 2 * tonumber(args[i + 3])
  local own = te.take_all(state, args, k, last, 2)
  if own == 0 then
    return 0
  end
  local waits, ttl_s = te.waited_for(P, own), tonumber(args[i + 2])
  repeat
    k = end_chunk(P, args, k, last, ttl_s, waits)
  until k > last
  te.count(P, args[i + 1], "done", own)
  return own
end
