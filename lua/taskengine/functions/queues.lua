-- The queues of tasks that are ready, what waits for its time, and counters.

-- Returns what the counter is now.
function te.count(P, queue, field, n)
  return call("HINCRBY", P .. "s:" .. queue, field, texts[n])
end

-- What is counted, while it stays the same counter.
local tallied = { n = 0 }

function te.begin_tally()
  tallied.n = 0
end

function te.write_tally()
  if tallied.n > 0 then
    local n = tallied.n
    tallied.n = 0
    te.count(tallied.P, tallied.queue, tallied.field, n)
  end
end

-- Counts one more, with others of this call: a thousand tasks that end together
-- are one command.
function te.tally(P, queue, field)
  if tallied.n == 0 or tallied.queue ~= queue or tallied.field ~= field then
    te.write_tally()
    tallied.P, tallied.queue, tallied.field = P, queue, field
  end
  tallied.n = tallied.n + 1
end

-- Wakes sleepers of a queue that has n new tasks: one more than n, because
-- one of them may have died in its sleep. Returns how many it woke.
function te.ring(P, queue, n)
  local wids = call("SPOP", P .. "sl:" .. queue, texts[n + 1])
  for i = 1, #wids do
    call("RPUSH", P .. "b:" .. wids[i], "")
  end
  return #wids
end

function te.has_work(P, queue)
  return call("EXISTS", P .. "r:" .. queue, P .. "p:" .. queue) > 0
end

-- Whether any queue has a ready list.
function te.any_ready(P)
  local queues = call("SMEMBERS", P .. "q")
  for i = 1, #queues do
    if call("EXISTS", P .. "r:" .. queues[i]) == 1 then
      return true
    end
  end
  return false
end

-- Orders the prioritised set; at the head among equals when `first`.
local function score(P, env, first)
  local base = (9 - te.priority(env)) * 2 ^ 44 + 2 ^ 43
  local at
  if first then
    at = base - call("HINCRBY", P .. "n", "head", 1)
  else
    at = base + call("HINCRBY", P .. "n", "seq", 1)
  end
  return string.format("%.0f", at)
end

-- Makes a task ready; at the head of its queue when `first`.
function te.make_ready(P, env, first)
  local queue = te.queue(env)
  if te.priority(env) > 0 then
    local id = te.id(env)
    call("HSET", P .. "t", id, env)
    call("ZADD", P .. "p:" .. queue, score(P, env, first), id)
  else
    call(first and "LPUSH" or "RPUSH", P .. "r:" .. queue, env)
  end
end

-- The earliest due time, or 0 when nothing is due ever.
function te.next_due(P)
  local first = call("ZRANGE", P .. "z", "0", "0", "WITHSCORES")
  return first[2] and math.max(tonumber(first[2]) or 1, 1) or 0
end

-- Notes that some worker sets its timer by the next due time.
function te.note_timer(P, next_due)
  if next_due > 0 then
    call("HSET", P .. "n", "timer", string.format("%.0f", next_due))
  end
end

-- Lays a task aside until its time. Wakes a sleeper of its queue to set a
-- timer, unless some worker has one already that is as early.
function te.make_due(P, env, when, now)
  local id, at = te.id(env), string.format("%.0f", when)
  call("HSET", P .. "t", id, env)
  call("ZADD", P .. "z", at, id)
  local timer = tonumber(call("HGET", P .. "n", "timer") or 0) or 0
  if (timer <= now or timer > when) and te.ring(P, te.queue(env), 1) > 0 then
    call("HSET", P .. "n", "timer", at)
  end
end

-- Moves what is due to its ready list, `limit` of it at most. Returns the
-- next due time and how many tasks each queue got.
function te.promote(P, now, limit)
  local promoted, next_due = {}, te.next_due(P)
  if next_due == 0 or next_due > now then
    return next_due, promoted
  end
  local ids = call("ZRANGE", P .. "z", "-inf", string.format("%.0f", now),
    "BYSCORE", "LIMIT", 0, limit)
  local envs = call("HMGET", P .. "t", unpack(ids))
  call("HDEL", P .. "t", unpack(ids))
  call("ZREM", P .. "z", unpack(ids))
  for i = 1, #ids do
    if envs[i] and te.is_sound(envs[i], ids[i]) then
      te.make_ready(P, envs[i])
      local queue = te.queue(envs[i])
      promoted[queue] = (promoted[queue] or 0) + 1
    else
      te.give_up(P, ids[i], envs[i])
    end
  end
  for queue in pairs(promoted) do
    call("SADD", P .. "q", queue)
  end
  return te.next_due(P), promoted
end
