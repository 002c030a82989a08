-- te1_revoke, te1_cancel: tasks that are not to begin, or not to go on.
--
-- What runs is in its worker's hands and cannot be taken out of them. A request
-- to end it stands beside it, in `cr:<wid>`, for as long as it is there. When
-- it leaves its worker otherwise than with an outcome, the request is its end:
-- it never goes back to a queue.

local TOMBSTONES_MAX = 1000000
-- The most with which those of a flow are added.
local ROOM_MAX = 500000
-- Of requests that one heartbeat tells a worker, or that are put up together.
local REQUESTS_MAX = 1000

-- What is asked of a task that runs: nothing, to end, or to end soon, after
-- which its process is killed.
local ONLY_WAITING, ENDING, KILLING = "w", "c", "t"
-- The first byte of an item in a bell.
local REQUEST = "~"

-- Where tasks are in flight: id to `wid` and `field`. They are seen once in a
-- call, in time that is proportional to their number.
local function places_in_flight(P, seen)
  if not seen.places then
    seen.places = {}
    local wids = call("ZRANGE", P .. "w", 0, -1)
    for i = 1, #wids do
      local fields = call("HKEYS", P .. "f:" .. wids[i])
      for k = 1, #fields do
        seen.places[sub(fields[k], 1, 20)] =
          { wid = wids[i], field = fields[k] }
      end
    end
  end
  return seen.places
end

-- Where a worker has the task in hand, or nil. `seen` is of this call.
function te.place_in_flight(P, id, seen)
  return places_in_flight(P, seen)[id]
end

-- What stands in `cr` of a task from now on; nil when that is there. The first
-- outcome stays; then the worker can only be asked to be quicker about it.
local function request_after(before, mode, record)
  if not before then
    return mode .. record
  elseif mode == KILLING and sub(before, 1, 1) ~= KILLING then
    return mode .. sub(before, 2)
  end
end

-- Asks a worker to end what it has in hand.
function te.request_ends(P, wid, fields, mode, record)
  local key = P .. "cr:" .. wid
  for from = 1, #fields, REQUESTS_MAX do
    local last = math.min(from + REQUESTS_MAX - 1, #fields)
    local before = call("HMGET", key, unpack(fields, from, last))
    local requests, items = {}, {}
    for k = from, last do
      local request = request_after(before[k - from + 1], mode, record)
      if request then
        requests[#requests + 1], requests[#requests + 2] = fields[k], request
        items[#items + 1] = REQUEST .. mode .. fields[k]
      end
    end
    if items[1] then
      call("HSET", key, unpack(requests))
      call("RPUSH", P .. "b:" .. wid, unpack(items))
    end
  end
end

-- Whether any task of a worker is asked to end.
function te.some_requests(P, wid)
  return call("EXISTS", P .. "cr:" .. wid) == 1
end

-- A task leaves its worker: takes the request out that it should end. Returns
-- the outcome that this is, and how it was asked; or nil.
function te.take_request(P, wid, field)
  local request = call("HGET", P .. "cr:" .. wid, field)
  if request then
    call("HDEL", P .. "cr:" .. wid, field)
    return sub(request, 2), sub(request, 1, 1)
  end
end

-- What a worker is asked, should its bell not have told it: a mode and a field
-- each.
function te.requests(P, wid)
  local key, out = P .. "cr:" .. wid, {}
  local fields = call("HKEYS", key)
  for i = 1, math.min(#fields, REQUESTS_MAX) do
    out[i] = sub(call("HGET", key, fields[i]), 1, 1) .. fields[i]
  end
  return out
end

-- Takes a task out of the due set or a prioritised set. The timer that a
-- worker has set for it may be gone with its next report.
function te.take_waiting(P, id)
  local env = call("HGET", P .. "t", id)
  if env then
    call("HDEL", P .. "t", id)
    if call("ZREM", P .. "z", id) == 1 then
      call("HDEL", P .. "n", "timer")
    elseif te.is_sound(env, id) then
      call("ZREM", P .. "p:" .. te.queue(env), id)
    end
  end
  return env
end

-- A node that is revoked, done again and revoked again before it came out is
-- in its list as often, and may be there for longer than its flow is kept: `cb`
-- has how many tombstones it needs beside the one.
local function count_tombstones(P, id, is_first)
  if not te.flow_of_id(P, id) then
    return
  elseif is_first then
    call("HDEL", P .. "cb", id)
  else
    call("HINCRBY", P .. "cb", id, "1")
  end
end

-- One of a node's tombstones was taken: the next one is put up.
function te.dig_up(P, id)
  local cb = P .. "cb"
  if call("HEXISTS", cb, id) == 1 then
    call("ZADD", P .. "cx", texts[te.moment or te.now()], id)
    if call("HINCRBY", cb, id, "-1") == 0 then
      call("HDEL", cb, id)
    end
  end
end

-- A task in some ready list cannot be found there: it is dropped when it
-- comes out.
local function bury(P, id, now)
  local added = call("ZADD", P .. "cx", string.format("%.0f", now), id)
  count_tombstones(P, id, added == 1)
  local over = call("ZCARD", P .. "cx") - TOMBSTONES_MAX
  if over > 0 then
    call("ZPOPMIN", P .. "cx", over)
  end
end

-- The same of a node of a flow that was revoked; false when there are so many
-- that the first may soon go. Counted once in a call.
function te.bury_if_room(P, id, seen)
  seen.buried = (seen.buried or call("ZCARD", P .. "cx")) + 1
  if seen.buried > ROOM_MAX then
    return false
  end
  bury(P, id, te.moment or te.now())
  return true
end

-- Of a task that no worker has in hand and that is not kept by its id: one
-- that has ended and left no outcome passes for one that waits while there are
-- ready lists.
local function revoke_ready(P, id, order, seen)
  te.unlock(P, id)
  if seen.any_ready == nil then
    seen.any_ready = te.any_ready(P) -- nothing gets there in this call
  end
  if not seen.any_ready then
    return "finished" -- or it is nowhere: somebody has deleted it
  end
  bury(P, id, seen.now)
  te.tell(P, id, order.record)
  return "revoked"
end

-- A flow by its id: all of it.
local function revoke_flow(P, id, order)
  local is_revoked = te.revoke_whole(P, sub(id, 1, 12), order.record,
    order.mode)
  if is_revoked == nil then
    return te.get_outcome(P, id) and "finished" or "unknown"
  end
  return is_revoked and "revoked" or "finished"
end

-- Whether a task has ended; of a node its flow knows that longer than there is
-- an outcome. The end of one whose flow is done again is taken back for this.
local function has_ended(P, id)
  local f, i = te.flow_of_id(P, id)
  return (f and not te.IS_OPEN[te.node_state(f, i)]
      or te.get_outcome(P, id) or call("ZSCORE", P .. "x", id))
    and not te.take_back_early(P, id)
end

-- Of a task that has ended. Who cancels a flow, and then its nodes to hear how
-- many that were, counts those that went with it.
local function answer_for_ended(P, id, order)
  local f, i = te.flow_of_id(P, id)
  local is_same = f and order.mode == ONLY_WAITING
    and f.revoked == order.record and te.node_state(f, i) == "R"
  return is_same and "revoked" or "finished"
end

-- Takes a task from where it waits, or asks for its end; or says why not.
local function revoke(P, id, order, seen)
  if has_ended(P, id) then
    return answer_for_ended(P, id, order)
  elseif te.revoke_held_back(P, id, order.record, order.mode) then
    return "revoked"
  end
  local env, answer = te.take_waiting(P, id), "revoked"
  if env and not te.is_sound(env, id) then
    te.give_up(P, id, env, order.record)
  elseif env then
    te.ended(P, env, order.record)
    te.count(P, te.queue(env), "revoked", 1)
  elseif not te.was_enqueued(P, id) then
    return "unknown"
  else
    local place = te.place_in_flight(P, id, seen)
    if place and order.mode == ONLY_WAITING then
      return "running"
    elseif place then
      te.request_ends(P, place.wid, { place.field }, order.mode,
        order.record)
      return "asked"
    end
    answer = revoke_ready(P, id, order, seen)
  end
  if answer == "revoked" then
    te.end_or_put(P, id, order.record, order.ttl_ms)
  end
  return answer
end

local function revoke_all(P, args, first, order)
  local out, seen = {}, { now = te.now() }
  for i = first, #args do
    local id = te.resolve(P, args[i])
    local act = te.sequence(id) == 0 and revoke_flow or revoke
    out[#out + 1] = act(P, id, order, seen)
  end
  return out
end

local MODES = { [ONLY_WAITING] = true, [ENDING] = true, [KILLING] = true }

-- For each id from an argument on: what has become of it.
local function answer(name, keys, args, mode, first)
  local seconds = te.natural(args[2], 2 ^ 32)
  if not MODES[mode] or not seconds or not string.find(args[1], "^[RF]") then
    return redis.error_reply("ERR te1_" .. name
      .. ": not an outcome, a time and a mode")
  end
  return revoke_all(keys[1], args, first, {
    record = args[1], ttl_ms = math.max(seconds * 1000, 1), mode = mode,
  })
end

te.register("cancel", function(keys, args)
  return answer("cancel", keys, args, ONLY_WAITING, 3)
end)

te.register("revoke", function(keys, args)
  return answer("revoke", keys, args, args[3], 4)
end)
