--- What must hold in a crowd after every step, seen from Redis.
-- @module spec.support.census

local census = {}

local VERSION <const> = 1

local function put(places, id, place)
  if places[id] then
    error(("%s is %s and %s"):format(id, places[id], place), 0)
  end
  places[id] = place
end

-- Where Redis has each task. What is in a ready list and is no task of ours
-- does not count.
local function find_tasks(s, tasks)
  local places = {}
  for _, id in ipairs(s:redis("ZRANGE", "z", 0, -1)) do
    put(places, id, "due")
  end
  for _, wid in ipairs(s:redis("ZRANGE", "w", 0, -1)) do
    for _, field in ipairs(s:redis("HKEYS", "f:" .. wid)) do
      put(places, field:sub(1, 20), "in flight")
    end
  end
  for _, queue in ipairs(s:redis("SMEMBERS", "q")) do
    for _, id in ipairs(s:redis("ZRANGE", "p:" .. queue, 0, -1)) do
      put(places, id, "prioritised")
    end
    for _, bytes in ipairs(s:redis("LRANGE", "r:" .. queue, 0, -1)) do
      if tasks[bytes:sub(1, 20)] then
        put(places, bytes:sub(1, 20), "ready")
      end
    end
  end
  return places
end

-- Every accepted task that has not ended is in exactly one place, the one
-- where it belongs, and no other task is anywhere.
local function check_places(c)
  local tasks = c.model.tasks
  local places = find_tasks(c.shard, tasks)
  for id, task in pairs(tasks) do
    if places[id] ~= task.place then
      error(("%s is %s, not %s"):format(id, places[id], task.place), 0)
    end
  end
  for id, place in pairs(places) do
    if not tasks[id] then
      error(("%s has ended and is %s"):format(id, place), 0)
    end
  end
end

local function worker_of(c, wid)
  for _, worker in ipairs(c.workers) do
    if worker.wid == wid and worker.phase ~= "out" then
      return worker
    end
  end
end

local function has_work(c, queue)
  for level = 0, 9 do
    for _, task in ipairs(queue[level]) do
      local id = task.parts and task.parts.id
      if id and task.parts.version == VERSION and not c.model.tombstones[id]
      then
        return true
      end
    end
  end
  return false
end

local function serves(worker, name)
  for _, queue in ipairs(worker.queues) do
    if queue == name then
      return true
    end
  end
  return false
end

-- Somebody will look for work of his own accord: he is awake, was woken, has
-- to recover first, or is dead, of which others will hear.
local function somebody_comes(c, name)
  for wid, registered in pairs(c.model.workers) do
    if serves(registered, name) then
      local worker = worker_of(c, wid)
      if not worker or worker.phase ~= "up"
        or worker.wakes and worker:room() > 0
        or c.shard:redis("EXISTS", "b:" .. wid) == 1 then
        return true
      end
    end
  end
  return false
end

-- Nobody sleeps beside work, unless somebody comes for it.
local function check_sleepers(c)
  for name, queue in pairs(c.model.queues) do
    if has_work(c, queue) and not somebody_comes(c, name) then
      for _, wid in ipairs(c.shard:redis("SMEMBERS", "sl:" .. name)) do
        if worker_of(c, wid) then
          error(("%s sleeps beside work of %s"):format(wid, name), 0)
        end
      end
    end
  end
end

-- Whether a task lies in the bell; or did so, until that has expired, and is
-- missed at the next heartbeat.
local function is_on_its_way(worker, field)
  return string.unpack(">I4", field, 21) > worker.handed
end

-- A worker that heard all answers knows of all that it has in flight.
local function check_stuck(c)
  for _, worker in ipairs(c.workers) do
    local registered = c.model.workers[worker.wid]
    if worker.phase == "up" and registered then
      for field in pairs(registered.held) do
        if not worker:knows(field) and not is_on_its_way(worker, field) then
          error(("%s does not know of %q"):format(worker.wid, field), 0)
        end
      end
    end
  end
end

--- Checks a crowd.
-- @tparam Crowd c
-- @raise what does not hold
function census.check(c)
  check_places(c)
  check_sleepers(c)
  check_stuck(c)
end

return census
