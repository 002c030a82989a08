-- te1_await, te1_unwait, te1_outcome, te1_forget, te1_cancel: what callers
-- ask about tasks.

local INBOXES_MAX = 1000

-- The outcome; "=" and the engine's id for a task that waits or runs; "?"
-- for one that was never enqueued (or is no longer remembered).
local function outcome(P, id)
  return te.get_outcome(P, id)
    or te.was_enqueued(P, id) and "=" .. id
    or "?"
end

te.register("outcome", function(keys, args)
  local P, out = keys[1], {}
  for i = 1, #args do
    out[i] = outcome(P, te.resolve(P, args[i]))
  end
  return out
end, { "no-writes" })

local function add_inbox(P, id, inbox)
  local inboxes = call("HGET", P .. "y", id) or ""
  if not string.find(" " .. inboxes .. " ", " " .. inbox .. " ", 1, true)
    and #inboxes < INBOXES_MAX * 16 then
    inboxes = inboxes == "" and inbox or inboxes .. " " .. inbox
    call("HSET", P .. "y", id, inboxes)
  end
end

te.register("await", function(keys, args)
  local P, inbox, out = keys[1], args[1], {}
  for i = 2, #args do
    local id = te.resolve(P, args[i])
    out[i - 1] = outcome(P, id)
    if sub(out[i - 1], 1, 1) == "=" then
      add_inbox(P, id, inbox)
    end
  end
  return out
end)

te.register("unwait", function(keys, args)
  local P, inbox, ended = keys[1], args[1], 0
  for i = 2, #args do
    local id = te.resolve(P, args[i])
    local before = call("HGET", P .. "y", id)
    if before then
      local left = {}
      for other in string.gmatch(before, "%S+") do
        if other ~= inbox then
          left[#left + 1] = other
        end
      end
      if #left == 0 then
        call("HDEL", P .. "y", id)
      else
        call("HSET", P .. "y", id, table.concat(left, " "))
      end
      ended = ended + 1
    end
  end
  return ended
end)

te.register("forget", function(keys, args)
  local P, forgotten = keys[1], 0
  for i = 1, #args do
    local id = te.resolve(P, args[i])
    if (te.get_outcome(P, id) or "-") ~= "-" then
      call("HSET", P .. "v:" .. sub(id, 1, 19), sub(id, 20), "-")
      forgotten = forgotten + 1
    end
  end
  return forgotten
end)

-- Whether a live worker has it in hand.
local function is_in_flight(P, id)
  local wids = call("ZRANGE", P .. "w", 0, -1)
  for i = 1, #wids do
    local fields = call("HKEYS", P .. "f:" .. wids[i])
    for k = 1, #fields do
      if sub(fields[k], 1, 20) == id then
        return true
      end
    end
  end
  return false
end

-- Takes a task out of the due set or a prioritised set.
local function take_waiting(P, id)
  local env = call("HGET", P .. "t", id)
  if env and not call("ZSCORE", P .. "x", id) then
    call("HDEL", P .. "t", id)
    call("ZREM", P .. "z", id)
    call("ZREM", P .. "p:" .. te.queue(env), id)
    return env
  end
end

-- Only a task in some ready list can be revoked without being found.
local function may_be_ready(P)
  local queues = call("SMEMBERS", P .. "q")
  for i = 1, #queues do
    if call("EXISTS", P .. "r:" .. queues[i]) == 1 then
      return true
    end
  end
  return false
end

te.register("cancel", function(keys, args)
  local P, id = keys[1], te.resolve(keys[1], args[1])
  local record, ttl_ms = args[2], math.max(args[3] * 1000, 1)
  if te.get_outcome(P, id) then
    return "finished"
  elseif not te.was_enqueued(P, id) then
    return "unknown"
  elseif is_in_flight(P, id) then
    return "running"
  end
  local env = take_waiting(P, id)
  if env then
    te.settle(P, env, record, te.now())
  elseif not may_be_ready(P) then
    return "finished"
  else
    call("SADD", P .. "cx", id)
    te.put_outcome(P, id, record, ttl_ms)
    te.tell(P, id, record)
  end
  return "revoked"
end)
