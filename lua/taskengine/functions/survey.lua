-- te1_survey, te1_survey_due: what waits and runs, by queue and priority.

-- What one call looks at, in lots: envelopes may be large.
local LOOKED_AT_MAX, LOOKED_AT_BYTES_MAX = 5000, 16 * 1024 * 1024
local LOT = 8

-- Where in the due set the first one stands that comes after this one. Should
-- it have left its place, those of the same time are looked at once more:
-- nothing is passed over.
local function rank_after(P, at, id)
  local z = P .. "z"
  if at == "" then
    return 0
  elseif call("ZSCORE", z, id) == at then
    return call("ZRANK", z, id) + 1
  end
  return call("ZCOUNT", z, "-inf", "(" .. at)
end

-- Visits at most `limit` of what is due, from the one after (at, id) on, or
-- from the first where `at` is empty: visit(id, env), which says whether it
-- took the task out. Returns 1 when there is more, and the last that stays.
function te.walk_due(P, limit, at, id, visit)
  limit = math.min(limit, LOOKED_AT_MAX)
  local rank, bytes = rank_after(P, at, id), 0
  local list = call("ZRANGE", P .. "z", rank, rank + limit - 1, "WITHSCORES")
  for first = 1, #list, 2 * LOT do
    local ids = {}
    for k = first, math.min(first + 2 * LOT, #list) - 1, 2 do
      ids[#ids + 1] = list[k]
    end
    local envs = call("HMGET", P .. "t", unpack(ids))
    for k = 1, #ids do
      local env = envs[k] or ""
      bytes = bytes + #env
      if env == "" or not visit(ids[k], env) then
        at, id = list[first + 2 * k - 1], ids[k]
      end
    end
    if bytes > LOOKED_AT_BYTES_MAX then
      return first + 2 * LOT <= #list and 1 or 0, at, id
    end
  end
  return #list == 2 * limit and 1 or 0, at, id
end

-- How many of each queue are due later, among the next `limit`.
te.register("survey_due", function(keys, args)
  local counts, names = {}, {}
  local more, at, id = te.walk_due(keys[1], tonumber(args[1]), args[2],
    args[3], function(id, env)
      if not te.is_sound(env, id) then
        return false
      end
      local queue = te.queue(env)
      if not counts[queue] then
        counts[queue], names[#names + 1] = 0, queue
      end
      counts[queue] = counts[queue] + 1
    end)
  local out = { more, at, id }
  for i = 1, #names do
    out[#out + 1], out[#out + 2] = names[i], counts[names[i]]
  end
  return out
end, { "no-writes" })

-- All that is in flight: key and field by turns; nil when that is so much
-- that to look at it would hold Redis up.
local function list_in_flight(P)
  if not te.is_few_in_flight(P, {}) then
    return nil
  end
  local wids, list = call("ZRANGE", P .. "w", 0, -1), {}
  for i = 1, #wids do
    local key = P .. "f:" .. wids[i]
    local fields = call("HKEYS", key)
    for k = 1, #fields do
      list[#list + 1], list[#list + 2] = key, fields[k]
    end
  end
  return list
end

-- Queue to how many of its tasks are in flight; nil when nobody can tell.
local function count_by_queue(P)
  local list, counts, bytes = list_in_flight(P), {}, 0
  if not list then
    return nil
  end
  for i = 1, #list, 2 do
    local env = call("HGET", list[i], list[i + 1])
    if te.is_sound(env, sub(list[i + 1], 1, 20)) then
      local queue = te.queue(env)
      counts[queue] = (counts[queue] or 0) + 1
    end
    bytes = bytes + #env
    if bytes > LOOKED_AT_BYTES_MAX then
      return nil
    end
  end
  return counts
end

-- How many are ready of each priority, 0 first.
local function add_levels(P, queue, row)
  local key = P .. "p:" .. queue
  row[#row + 1] = call("LLEN", P .. "r:" .. queue)
  local any = call("EXISTS", key) == 1
  for priority = 1, te.PRIORITY_MAX do
    local from = (9 - priority) * 2 ^ 44
    row[#row + 1] = any and call("ZCOUNT", key, string.format("%.0f", from),
      string.format("(%.0f", from + 2 ^ 44)) or 0
  end
end

-- For each queue its name, what is in flight (-1: nobody can tell) and what is
-- ready of each priority.
te.register("survey", function(keys)
  local P, out = keys[1], {}
  local queues, in_flight = call("SMEMBERS", P .. "q"), count_by_queue(P)
  table.sort(queues)
  for i = 1, #queues do
    local queue = queues[i]
    out[i] = { queue, in_flight and (in_flight[queue] or 0) or -1 }
    add_levels(P, queue, out[i])
  end
  return out
end, { "no-writes" })
