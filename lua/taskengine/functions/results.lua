-- te1_outcome, te1_look, te1_await, te1_unwait, te1_forget: what callers ask
-- about tasks.

local TRIMMED_MAX, TRIM_EVERY_MS = 100, 16
local LOOKED_AT_MAX = 5000

-- The outcome; "=" and the engine's id for a task that waits or runs, or
-- that has ended and left nothing; "?" for one that was never enqueued (or
-- is no longer remembered).
local function outcome(P, id)
  local record = te.get_outcome(P, id) or call("HGET", P .. "e", id)
  return record and not te.is_old_outcome(P, id, record) and record
    or te.was_enqueued(P, id) and "=" .. id
    or "?"
end

-- A thousand large ones would be no reply any more.
local function inline(record)
  return #record <= te.INLINE_BYTES_MAX and record or ">"
end

function te.known_outcome(P, id)
  return inline(outcome(P, id))
end

te.register("outcome", function(keys, args)
  local P, out = keys[1], {}
  for i = 1, #args do
    out[i] = outcome(P, te.resolve(P, args[i]))
  end
  return out
end, { "no-writes" })

local function count_in_flight(P)
  local count, wids = 0, call("ZRANGE", P .. "w", 0, -1)
  for i = 1, #wids do
    count = count + call("HLEN", P .. "f:" .. wids[i])
  end
  return count
end

-- Whether so little is in flight that to look for a task there does not hold
-- Redis up.
function te.is_few_in_flight(P, seen)
  if seen.is_few == nil then
    seen.is_few = count_in_flight(P) <= LOOKED_AT_MAX
  end
  return seen.is_few
end

-- An envelope alone, left where the sets were lost, is no task.
function te.is_prioritised(P, id)
  local env = call("HGET", P .. "t", id)
  return env and call("ZSCORE", P .. "p:" .. te.queue(env), id) and true
end

local function is_waiting(P, id)
  return te.is_prioritised(P, id)
    or call("HEXISTS", P .. "t", id) == 1 and call("ZSCORE", P .. "z", id)
end

-- Whether a task that was enqueued is nowhere any more. But for what a flow
-- knows nobody can tell while there are ready lists, because no task is found
-- in those, nor while there is so much in flight that to look for it would hold
-- Redis up.
local function is_gone(P, id, seen)
  if te.has_ended_in_flow(P, id) then
    return true
  end
  if seen.can_tell == nil then
    seen.can_tell = not te.any_ready(P) and te.is_few_in_flight(P, seen)
  end
  return seen.can_tell
    and not te.place_in_flight(P, id, seen)
    and not is_waiting(P, id)
    and not te.waits_in_flow(P, id)
end

te.register("look", function(keys, args)
  local P, out, seen = keys[1], {}, {}
  for i = 1, #args do
    local id = te.original(P, te.resolve(P, args[i]))
    out[i] = inline(outcome(P, id))
    if sub(out[i], 1, 1) == "=" then
      out[i] = te.is_hopeless(P, id, seen) and te.FLOW_DAMAGED
        or is_gone(P, id, seen) and "-" or out[i]
    end
  end
  return out
end, { "no-writes" })

te.register("await", function(keys, args)
  local P, inbox, out = keys[1], args[1], {}
  local now = te.now()
  if now % TRIM_EVERY_MS == 0 then -- where no worker's heartbeat does it
    te.trim_waits(P, now, TRIMMED_MAX)
  end
  for i = 2, #args do
    local id = te.resolve(P, args[i])
    out[i - 1] = inline(outcome(P, id))
    if sub(out[i - 1], 1, 1) == "="
      and not te.add_inbox(P, id, inbox, now) then
      return redis.error_reply("ERR te1_await: too many wait for one task")
    end
  end
  return out
end)

-- The inboxes without one of them, and whether it was among them.
local function without(inboxes, inbox)
  local left, found = {}, false
  for other in string.gmatch(inboxes, "%S+") do
    if other == inbox then
      found = true
    else
      left[#left + 1] = other
    end
  end
  return table.concat(left, " "), found
end

te.register("unwait", function(keys, args)
  local P, inbox, ended = keys[1], args[1], 0
  for i = 2, #args do
    local id = te.resolve(P, args[i])
    local left, found = without(call("HGET", P .. "y", id) or "", inbox)
    if found then
      ended = ended + 1
      if left == "" then
        call("HDEL", P .. "y", id)
        call("ZREM", P .. "yt", id)
      else
        call("HSET", P .. "y", id, left)
      end
    end
  end
  return ended
end)

te.register("forget", function(keys, args)
  local P, forgotten = keys[1], 0
  for i = 1, #args do
    local id = te.resolve(P, args[i])
    if (te.get_outcome(P, id) or "-") ~= "-" and not te.is_in_live_flow(P, id)
    then
      call("HSET", P .. "v:" .. sub(id, 1, 19), sub(id, 20), "-")
      te.forget_kin(P, id)
      forgotten = forgotten + 1
    end
  end
  return forgotten
end)
