-- te1_register, te1_heartbeat: workers and their leases; te1_status.

-- The earliest end of another worker's lease, and whose; 0 and "" for none.
local function next_foreign(P, wid)
  local first = call("ZRANGE", P .. "w", 0, 1, "WITHSCORES")
  for i = 1, #first, 2 do
    if first[i] ~= wid then
      return tonumber(first[i + 1]), first[i]
    end
  end
  return 0, ""
end

local function has_work(P, args, from)
  for i = from, #args do
    if call("EXISTS", P .. "r:" .. args[i], P .. "p:" .. args[i]) > 0 then
      return 1
    end
  end
  return 0
end

-- Tombstones of revoked tasks mean nothing once no ready list is left.
local function drop_tombstones(P)
  if call("EXISTS", P .. "cx") == 0 then
    return
  end
  local queues = call("SMEMBERS", P .. "q")
  for i = 1, #queues do
    if call("EXISTS", P .. "r:" .. queues[i]) == 1 then
      return
    end
  end
  call("UNLINK", P .. "cx")
end

local function report(P, wid, args, from, now)
  local deadline, whose = next_foreign(P, wid)
  return {
    now, te.next_due(P), has_work(P, args, from), deadline, whose,
  }
end

te.register("register", function(keys, args)
  local P, wid = keys[1], args[1]
  local now = te.now()
  local deadline = string.format("%.0f", now + args[2])
  call("ZADD", P .. "w", deadline, wid)
  call("HSET", P .. "wi", wid, args[3])
  for i = 4, #args do
    call("SADD", P .. "q", args[i])
    call("SADD", P .. "ws:" .. args[i], wid)
  end
  return report(P, wid, args, 4, now)
end)

te.register("heartbeat", function(keys, args)
  local P, wid = keys[1], args[1]
  local now = te.now()
  if not te.renew(P, wid, now, tonumber(args[2])) then
    return { "FENCED" }
  end
  drop_tombstones(P)
  return report(P, wid, args, 3, now)
end)

local COUNTERS = {
  "enqueued", "done", "failed", "revoked", "expired", "redelivered", "lost",
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

-- now, due, dead, malformed, queues, workers; a queue: name, ready,
-- prioritised, workers, counters; a worker: wid, lease end, in flight,
-- description.
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
    call("LLEN", P .. "m"), queues, workers,
  }
end, { "no-writes" })
