-- How a new task, or a few, go straight to a worker that sleeps: they are in
-- flight there at once, and lie in the worker's bell, which saves the worker
-- the fetch. What lies unread there can be taken back by anybody: whom the
-- bell did not wake is busy, or dead.

-- Delivery numbers of tasks that are handed over start here, above those of
-- fetches, and count up for each worker. One that never said that tasks may be
-- handed to it counts from 0.
local FIRST, LAST = 2 ^ 31, 2 ^ 32 - 1
-- What is more than these, or larger together, is worth a fetch.
te.HANDED_MAX = 16
local HANDED_BYTES_MAX = 16384
local HANDED, ITEM_AT = "!", 6 -- behind the mark and the number: the envelope

-- Of so many that are handed over to a worker, the number of the first; nil
-- when it takes none, has had all that there are, or has no room for several.
local function count_up(P, wid, n)
  local hn = P .. "hn"
  local last = call("HINCRBY", hn, wid, texts[n])
  local first = last - n + 1
  if last <= FIRST then
    call("HDEL", hn, wid)
  elseif last > LAST then
    call("HSET", hn, wid, string.format("%.0f", LAST))
  elseif n > 1 and last > (tonumber(call("HGET", P .. "hl", wid)) or 0) then
    call("HSET", hn, wid, string.format("%.0f", first - 1))
  else
    return first
  end
end

-- Whether nothing is to be looked at that a fetch would look at.
local function are_simple(envs, queue)
  local bytes = 0
  for k = 1, #envs do
    local env = envs[k]
    local version, priority, named, flags = te.read_header(env)
    bytes = bytes + #env
    if version ~= te.VERSION or priority > 0 or named ~= queue
      or bytes > HANDED_BYTES_MAX or te.has_expiry(env)
      or te.unlocks_at_start(flags) then
      return false
    end
  end
  return true
end

-- Hands plain tasks to a sleeper of their queue: up to te.HANDED_MAX to the
-- only one, or one to any. With that another one is woken, because the first
-- may have died in its sleep. Returns "handed"; or "nobody" when nobody sleeps;
-- or "queue", when others are before them there, or they are not for this.
function te.hand_over(P, queue, envs)
  local wids = call("SRANDMEMBER", P .. "sl:" .. queue, "2")
  local wid = wids[1]
  if not wid then
    return "nobody"
  elseif envs[2] and (wids[2] or te.is_taking(wid))
    or not are_simple(envs, queue)
    or call("EXISTS", P .. "r:" .. queue, P .. "p:" .. queue,
      P .. "b:" .. wid) > 0 then
    return "queue"
  end
  local first = count_up(P, wid, #envs)
  if not first then
    return "queue"
  end
  local pairs, items = {}, {}
  for k = 1, #envs do
    local env, number = envs[k], te.bytes4(first + k - 1)
    pairs[2 * k - 1], pairs[2 * k] = te.id(env) .. number, env
    items[k] = HANDED .. number .. env
  end
  call("HSET", P .. "f:" .. wid, unpack(pairs))
  call("RPUSH", P .. "b:" .. wid, unpack(items))
  if wids[2] then
    call("SREM", P .. "sl:" .. queue, wids[2])
    call("RPUSH", P .. "b:" .. wids[2], "")
  end
  return "handed"
end

-- So many have come to a worker another way.
function te.lower_limit(P, wid, n)
  if n > 0 then
    call("HINCRBY", P .. "hl", wid, texts[-n])
  end
end

-- Whether a task lies in a bell.
local function lies_unread(bell)
  local item = call("LINDEX", bell, "0")
  return item and sub(item, 1, 1) == HANDED
end

-- Takes back a task that lay in a worker's bell. Returns how many it were.
local function take_item_back(P, wid, item, counts)
  local f = P .. "f:" .. wid
  local id = sub(item, ITEM_AT, ITEM_AT + 19)
  local field = id .. sub(item, 2, 5)
  local env = call("HGET", f, field)
  if not env then
    return 0
  end
  call("HDEL", f, field)
  if not te.is_sound(env, id) then
    te.give_up(P, id, env)
    return 0
  end
  local request = te.take_request(P, wid, field) or te.revocation_of(P, env)
  if request then
    te.settle(P, env, request, te.now())
    return 1
  end
  te.make_ready(P, env, true)
  local queue = te.queue(env)
  counts[queue] = (counts[queue] or 0) + 1
  return 1
end

-- Takes back the tasks that lie unread in a worker's bell, to the head of their
-- queues: the first that lie there, because only into an empty bell some are
-- put. Notes in `counts` how many tasks each queue got; returns how many it
-- were.
function te.take_back(P, wid, counts)
  local bell, n = P .. "b:" .. wid, 0
  if not lies_unread(bell) then
    return 0
  end
  local items = call("LRANGE", bell, "0", texts[te.HANDED_MAX - 1])
  while items[n + 1] and sub(items[n + 1], 1, 1) == HANDED do
    n = n + 1
  end
  call("LPOP", bell, texts[n])
  local taken = 0
  for k = n, 1, -1 do
    taken = taken + take_item_back(P, wid, items[k], counts)
  end
  return taken
end

-- The same of all workers but one.
function te.take_back_from_others(P, wid, counts)
  local others, bells = call("HKEYS", P .. "hn"), {}
  table.sort(others)
  for i = #others, 1, -1 do
    if others[i] == wid then
      table.remove(others, i)
    end
  end
  for i = 1, #others do
    bells[i] = P .. "b:" .. others[i]
  end
  if #bells > 0 and call("EXISTS", unpack(bells)) > 0 then
    for i = 1, #others do
      te.take_back(P, others[i], counts)
    end
  end
end

-- Wakes sleepers for what queues got that may have had nothing.
function te.ring_all(P, counts)
  for queue, n in pairs(counts) do
    call("SADD", P .. "q", queue)
    te.ring(P, queue, n)
  end
end

-- From now on tasks may be handed to a worker, several at once as long as there
-- are no more since than it has room for now. What it has not read yet it did
-- not know of when it said so.
function te.accept_hand_overs(P, wid, room)
  local last = te.last_handed(P, wid)
  if lies_unread(P .. "b:" .. wid) then
    room = 0
  end
  if last == 0 then
    last = FIRST
    call("HSET", P .. "hn", wid, string.format("%.0f", FIRST))
  end
  call("HSET", P .. "hl", wid, string.format("%.0f", last + room))
end

-- The number of the last hand-over to a worker, or of none: FIRST; 0 for one
-- that takes none.
function te.last_handed(P, wid)
  return tonumber(call("HGET", P .. "hn", wid) or 0) or 0
end
