-- te1_register, te1_describe, te1_heartbeat: workers and their leases;
-- te1_status.

local WID_BYTES = 12

-- Renews a worker's lease, unless it was renewed a moment ago. False when it
-- has none: all that the worker held is somebody else's now.
function te.renew(P, wid, now, lease_ms)
  local deadline = call("ZSCORE", P .. "w", wid)
  if deadline and math.abs(now + lease_ms - deadline) * 64 > lease_ms then
    call("ZADD", P .. "w", string.format("%.0f", now + lease_ms), wid)
  end
  return deadline ~= false
end

-- Notes the number of a worker's fetch. They rise (modulo 2^32); false for
-- one that comes late, when the worker has given it up.
function te.advance(P, wid, number)
  local key = P .. "wn"
  if call("ZADD", key, "GT", "CH", number, wid) == 1 then
    return true
  elseif call("ZSCORE", key, wid) - number < 2 ^ 31 then
    return false
  end
  call("ZADD", key, number, wid)
  return true
end

-- The earliest end of another worker's lease, and whose; 0 and "" for none.
-- What is no worker would stand before all that are, and is set aside.
local function next_foreign(P, wid)
  local w = P .. "w"
  local first = call("ZRANGE", w, 0, 1, "WITHSCORES")
  for i = 1, #first, 2 do
    if first[i] ~= wid then
      if #first[i] == WID_BYTES then
        return math.max(tonumber(first[i + 1]) or 1, 1), first[i]
      end
      te.keep_malformed(P, string.format("%s of %s", first[i], w))
      call("ZREM", w, first[i])
      return next_foreign(P, wid)
    end
  end
  return 0, ""
end

-- In one command for many queues: an idle worker may serve a thousand.
local function has_work(P, args, from)
  for at = from, #args, te.BATCH_MAX / 2 do
    local keys = {}
    for i = at, math.min(at + te.BATCH_MAX / 2 - 1, #args) do
      keys[#keys + 1] = P .. "r:" .. args[i]
      keys[#keys + 1] = P .. "p:" .. args[i]
    end
    if call("EXISTS", unpack(keys)) > 0 then
      return 1
    end
  end
  return 0
end

local function report(P, wid, args, from, now)
  local deadline, whose = next_foreign(P, wid)
  local next_due = te.next_due(P)
  te.note_timer(P, next_due)
  if call("EXISTS", P .. "gq") == 1 then
    next_due = now -- what is left to be done for flows
  end
  return {
    now, next_due, has_work(P, args, from), deadline, whose,
    te.last_handed(P, wid),
  }
end

-- Puts a worker on the lists of its queues, and off those of others that it
-- served before.
local function set_queues(P, wid, queues)
  local before = call("HGET", P .. "wq", wid) or ""
  local now = " " .. table.concat(queues, " ") .. " "
  for queue in string.gmatch(before, "%S+") do
    if not string.find(now, " " .. queue .. " ", 1, true) then
      call("SREM", P .. "ws:" .. queue, wid)
      call("SREM", P .. "sl:" .. queue, wid)
    end
  end
  for i = 1, #queues do
    call("SADD", P .. "q", queues[i])
    call("SADD", P .. "ws:" .. queues[i], wid)
  end
  call("HSET", P .. "wq", wid, table.concat(queues, " "))
end

local function queues_from(args, first)
  local queues = {}
  for i = first, #args do
    queues[#queues + 1] = args[i]
  end
  return queues
end

-- What a worker says of itself: args are wid, lease ms, description, queue...
local function describe(P, args, now)
  local wid = args[1]
  call("HSET", P .. "wi", wid, args[3])
  set_queues(P, wid, queues_from(args, 4))
  return report(P, wid, args, 4, now)
end

te.register("register", function(keys, args)
  local P, now = keys[1], te.now()
  local deadline = string.format("%.0f", now + tonumber(args[2]))
  call("ZADD", P .. "w", deadline, args[1])
  local counts = {}
  te.take_back_from_others(P, args[1], counts)
  te.ring_all(P, counts)
  return describe(P, args, now)
end)

-- Of one that is registered, and holds its lease.
te.register("describe", function(keys, args)
  local P, now = keys[1], te.now()
  if not te.renew(P, args[1], now, tonumber(args[2])) then
    return { "FENCED" }
  end
  return describe(P, args, now)
end)

local TRIMMED_MAX, DROPPED_MAX = 100, 200

te.register("heartbeat", function(keys, args)
  local P, wid = keys[1], args[1]
  local now = te.now()
  if not te.renew(P, wid, now, tonumber(args[2])) then
    return { "FENCED" }
  end
  te.trim_dead(P, now)
  te.trim_waits(P, now, TRIMMED_MAX)
  te.drop_flows(P, now, DROPPED_MAX)
  if args[3] and call("EXISTS", P .. "q", P .. "wq", P .. "ws:" .. args[3]) < 3
  then
    set_queues(P, wid, queues_from(args, 3)) -- somebody has deleted them
  end
  -- Tombstones of revoked tasks mean nothing once no ready list is left.
  if call("EXISTS", P .. "cx") == 1 and not te.any_ready(P) then
    call("UNLINK", P .. "cx", P .. "cb")
  end
  local told = report(P, wid, args, 3, now)
  told[#told + 1] = te.requests(P, wid)
  return told
end)

local COUNTERS = {
  "enqueued", "done", "failed", "revoked", "expired", "redelivered", "lost",
  "requeued", "retried",
}

local function queue_status(P, queue)
  local s = call("HMGET", P .. "s:" .. queue, unpack(COUNTERS))
  local row = {
    queue,
    call("LLEN", P .. "r:" .. queue),
    call("ZCARD", P .. "p:" .. queue),
    call("SCARD", P .. "ws:" .. queue),
  }
  for i = 1, #COUNTERS do
    row[#row + 1] = tonumber(s[i]) or 0
  end
  return row
end

-- now, due, dead, malformed, queues, workers, buried, dropped; a queue: name,
-- ready, prioritised, workers, counters; a worker: wid, lease end, in flight,
-- description. The buried are revoked and still stand in some ready list; the
-- dropped were malformed and found no room.
te.register("status", function(keys)
  local P = keys[1]
  local queues, workers = call("SMEMBERS", P .. "q"), {}
  table.sort(queues)
  for i = 1, #queues do
    queues[i] = queue_status(P, queues[i])
  end
  local wids = call("ZRANGE", P .. "w", 0, -1, "WITHSCORES")
  for i = 1, #wids, 2 do
    workers[#workers + 1] = {
      wids[i], wids[i + 1], call("HLEN", P .. "f:" .. wids[i]),
      call("HGET", P .. "wi", wids[i]) or "",
    }
  end
  return {
    te.now(), call("ZCARD", P .. "z"), call("ZCARD", P .. "x"),
    call("LLEN", P .. "m"), queues, workers, call("ZCARD", P .. "cx"),
    tonumber(call("HGET", P .. "n", "dropped") or 0) or 0,
  }
end, { "no-writes" })
