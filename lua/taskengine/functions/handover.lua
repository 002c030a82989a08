-- How a new task goes straight to a worker that sleeps: it is in
-- flight there at once, and lies in the worker's bell, which saves the worker
-- the fetch. What lies unread there can be taken back by anybody: whom the
-- bell did not wake is busy, or dead.

-- Delivery numbers of tasks that are handed over start here, above those of
-- fetches, and count up for each worker. One that never said that tasks may be
-- handed to it counts from 0.
local FIRST, LAST = 2 ^ 31, 2 ^ 32 - 1
-- What is larger is worth a fetch.
local HANDED_BYTES_MAX = 16384
local HANDED, ITEM_AT = "!", 6 -- behind the mark and the number: the envelope

-- The number of this hand-over to a worker; nil when it takes none, or has had
-- all that there are.
local function count_up(P, wid)
  local number = call("HINCRBY", P .. "hn", wid, "1")
  if number > FIRST and number <= LAST then
    return te.bytes_of(number, 4)
  elseif number <= FIRST then
    call("HDEL", P .. "hn", wid)
  else
    call("HSET", P .. "hn", wid, string.format("%.0f", LAST))
  end
end

-- Whether nothing is to be looked at that a fetch would look at.
local function is_simple(env, queue)
  local version, priority, named, flags = te.read_header(env)
  return version == te.VERSION and priority == 0 and named == queue
    and #env <= HANDED_BYTES_MAX and not te.has_expiry(env)
    and not te.unlocks_at_start(flags)
end

-- Hands a plain task to a sleeper of its queue. Another one is woken, because
-- the first may have died in its sleep. Returns "handed"; or "nobody" when
-- nobody sleeps; or "queue", when others are before it there, or it is not for
-- this.
function te.hand_over(P, queue, env)
  local wids = call("SRANDMEMBER", P .. "sl:" .. queue, "2")
  local wid = wids[1]
  if not wid then
    return "nobody"
  elseif not is_simple(env, queue)
    or call("EXISTS", P .. "r:" .. queue, P .. "p:" .. queue,
      P .. "b:" .. wid) > 0 then
    return "queue"
  end
  local number = count_up(P, wid)
  if not number then
    return "queue"
  end
  call("HSET", P .. "f:" .. wid, te.id(env) .. number, env)
  call("RPUSH", P .. "b:" .. wid, HANDED .. number .. env)
  if wids[2] then
    call("SREM", P .. "sl:" .. queue, wids[2])
    call("RPUSH", P .. "b:" .. wids[2], "")
  end
  return "handed"
end

-- Takes back the task that lies unread in a worker's bell, to the head of its
-- queue: one at most, and the first there, because only into an empty bell one
-- is put. Notes in `counts` how many tasks each queue got; returns how many it
-- were.
function te.take_back(P, wid, counts)
  local bell, f = P .. "b:" .. wid, P .. "f:" .. wid
  local item = call("LINDEX", bell, "0")
  if not item or sub(item, 1, 1) ~= HANDED then
    return 0
  end
  call("LPOP", bell)
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
  local request = te.take_request(P, wid, field)
  if request then
    te.settle(P, env, request, te.now())
    return 1
  end
  te.make_ready(P, env, true)
  local queue = te.queue(env)
  counts[queue] = (counts[queue] or 0) + 1
  return 1
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

-- From now on tasks may be handed to a worker.
function te.accept_hand_overs(P, wid)
  call("HSETNX", P .. "hn", wid, string.format("%.0f", FIRST))
end

-- The number of the last hand-over to a worker, or of none: FIRST; 0 for one
-- that takes none.
function te.last_handed(P, wid)
  return tonumber(call("HGET", P .. "hn", wid) or 0) or 0
end
