-- te1_finish: how a worker's tasks leave it; te1_reap: how they leave a
-- worker that is gone.

-- The envelope in flight under this field, taken out; or nil.
local function take(P, wid, field)
  local f = P .. "f:" .. wid
  local env = call("HGET", f, field)
  if env then
    call("HDEL", f, field)
    return env
  end
end

local function hand_back(P, env)
  te.make_ready(P, te.returned(env), true)
  te.ring(P, te.queue(env), 1)
end

-- Takes the fields of n pairs from args[first] out of flight, all at once.
local function take_all(P, wid, args, first, last)
  local fields = {}
  for k = first, last, 2 do
    fields[#fields + 1] = args[k]
  end
  return call("HDEL", P .. "f:" .. wid, unpack(fields)), #fields
end

-- op, queue, ttl, n, then n times field and outcome: all or none of them are
-- this worker's, because it sends them so only once (a repeat in doubt is
-- sent as `o`). Outcomes of one chunk are written together. Should only some
-- be there all the same, the outcome that was written first stays.
local function succeed(P, wid, args, i)
  local first, last = i + 4, i + 3 + 2 * args[i + 3]
  local own, n = take_all(P, wid, args, first, last)
  if own == 0 then
    return last + 1, 0
  end
  local chunks, chunk, prefix = {}, nil, nil
  local waiting = call("EXISTS", P .. "y") == 1
  for k = first, last, 2 do
    local id = sub(args[k], 1, 20)
    if own == n or not te.get_outcome(P, id) then
      if sub(id, 1, 19) ~= prefix then
        prefix = sub(id, 1, 19)
        chunk = chunks[prefix] or {}
        chunks[prefix] = chunk
      end
      chunk[#chunk + 1] = sub(id, 20)
      chunk[#chunk + 1] = args[k + 1]
      if waiting then
        te.tell(P, id, args[k + 1])
      end
    end
  end
  for name, outcomes in pairs(chunks) do
    te.put_outcomes(P .. "v:" .. name, outcomes, args[i + 2] * 1000)
  end
  te.count(P, args[i + 1], "done", own)
  return last + 1, own
end

-- op, queue, n, fields: one command when they are all there
local function succeed_quietly(P, wid, args, i)
  local n = tonumber(args[i + 2])
  local own = call("HDEL", P .. "f:" .. wid,
    unpack(args, i + 3, i + 2 + n))
  if own > 0 then
    te.count(P, args[i + 1], "done", own)
  end
  return i + 3 + n, own
end

local function end_with(P, env, outcome, now)
  te.settle(P, env, outcome, now)
end

local function lost(P, env, outcome, now)
  env = te.raise(env, te.AT_DEATHS)
  te.count(P, te.queue(env), "lost", 1)
  if te.fails_when_lost(env) or byte(env, 24) >= te.DEATHS_MAX then
    te.settle(P, te.returned(env), outcome, now)
  else
    hand_back(P, env)
  end
end

local function redeliver(P, env)
  te.count(P, te.queue(env), "redelivered", 1)
  hand_back(P, env)
end

-- Every live worker of the queue has refused it.
local function refused_by_all(P, queue, refusals)
  local wids = call("SMEMBERS", P .. "ws:" .. queue)
  for i = 1, #wids do
    if not string.find(refusals, wids[i], 1, true) then
      return false
    end
  end
  return true
end

local REFUSED_MS_MAX, REFUSED_PAUSE_MS = 60000, 250

local function refused(P, env, outcome, now, wid)
  local id, key = te.id(env), P .. "nr"
  local refusals = call("HGET", key, id) or string.format("%.0f", now)
  refusals = refusals .. " " .. wid
  local since = tonumber(string.match(refusals, "^%d+"))
  if now - since >= REFUSED_MS_MAX
    or refused_by_all(P, te.queue(env), refusals) then
    call("HDEL", key, id)
    te.settle(P, env, outcome, now)
  else
    call("HSET", key, id, refusals)
    te.make_due(P, te.returned(env), now + REFUSED_PAUSE_MS)
  end
end

-- Operations of one field each: what is done and how many arguments it has.
local SINGLE = {
  o = { end_with, 3 },
  h = { hand_back, 2 },
  b = { redeliver, 2 },
  l = { lost, 3 },
  n = { refused, 3 },
}

te.register("finish", function(keys, args)
  local P, wid = keys[1], args[1]
  local now = te.now()
  if not te.renew(P, wid, now, tonumber(args[2])) then
    return { "FENCED" }
  end
  local i, own, total = 3, 0, 0
  while i <= #args do
    local op = args[i]
    if op == "s" then
      i, own = succeed(P, wid, args, i)
    elseif op == "d" then
      i, own = succeed_quietly(P, wid, args, i)
    elseif SINGLE[op] then
      local env = take(P, wid, args[i + 1])
      if env then
        SINGLE[op][1](P, env, args[i + 2], now, wid)
      end
      i, own = i + SINGLE[op][2], env and 1 or 0
    else
      return redis.error_reply("ERR te1_finish: unknown operation")
    end
    total = total + own
  end
  return { total }
end)

-- Everything that the shard keeps of a worker, but what is in flight.
local function forget_worker(P, wid)
  local queues = call("SMEMBERS", P .. "q")
  for i = 1, #queues do
    call("SREM", P .. "ws:" .. queues[i], wid)
    call("SREM", P .. "sl:" .. queues[i], wid)
  end
  call("UNLINK", P .. "b:" .. wid)
  call("HDEL", P .. "wi", wid)
  call("ZREM", P .. "w", wid)
end

te.register("leave", function(keys, args)
  local P, wid = keys[1], args[1]
  if call("EXISTS", P .. "f:" .. wid) == 1 then
    return 0
  end
  forget_worker(P, wid)
  return 1
end)

te.register("holds", function(keys, args)
  return call("HKEYS", keys[1] .. "f:" .. args[1])
end, { "no-writes" })

-- A task whose worker was lost: had it started, that counts.
local function reap_one(P, env, outcome, now, started)
  if not started then
    hand_back(P, env)
    return
  end
  env = te.raise(env, te.AT_REAPS)
  te.count(P, te.queue(env), "lost", 1)
  if te.fails_when_lost(env) or byte(env, 25) >= te.REAPS_MAX then
    te.settle(P, te.returned(env), outcome, now)
  else
    hand_back(P, env)
  end
end

te.register("reap", function(keys, args)
  local P, wid, outcome = keys[1], args[1], args[3]
  local now = te.now()
  local deadline = call("ZSCORE", P .. "w", wid)
  if not deadline or args[2] ~= "1" and tonumber(deadline) > now then
    return -1
  end
  local all, started = args[4] == "-", {}
  for i = 4, #args do
    started[args[i]] = true
  end
  local held = call("HGETALL", P .. "f:" .. wid)
  call("UNLINK", P .. "f:" .. wid)
  for i = 1, #held, 2 do
    reap_one(P, held[i + 1], outcome, now, all or started[held[i]])
  end
  forget_worker(P, wid)
  return #held / 2
end)
