--- What Redis holds when all went as a model says.
-- @module spec.support.model_keys

local dump = require("spec.support.fake_redis.dump")
local shard = require("spec.support.shard")

local model_keys = {}

-- Each adds what one field of the model is in Redis, by put(key, type, value,
-- until_ms). What has expired, and what is empty, is not there.
local FIELDS <const> = {}

local function list_of(tasks)
  local bytes = {}
  for i, task in ipairs(tasks) do
    bytes[i] = task.bytes
  end
  return bytes
end

function FIELDS.queues(queues, put)
  local names = {}
  for name, queue in pairs(queues) do
    names[#names + 1] = name
    put("r:" .. name, "list", list_of(queue[0]))
    local ids = {}
    for level = 9, 1, -1 do
      for _, task in ipairs(queue[level]) do
        ids[#ids + 1] = task.parts.id
      end
    end
    put("p:" .. name, "zset", ids)
    local counters = {}
    for counter, n in pairs(queue.counters) do
      counters[counter] = tostring(n)
    end
    put("s:" .. name, "hash", counters)
  end
  table.sort(names)
  put("q", "set", names)
end

-- A sorted set as a dump has it, of members and scores.
local function zset_of(scores)
  local members, flat = {}, {}
  for member in pairs(scores) do
    members[#members + 1] = member
  end
  table.sort(members, function(a, b)
    local sa, sb = scores[a], scores[b]
    return sa < sb or sa == sb and a < b
  end)
  for i, member in ipairs(members) do
    flat[2 * i - 1] = member
    flat[2 * i] = ("%d"):format(scores[member])
  end
  return flat
end

function FIELDS.due(due, put)
  local times = {}
  for id, task in pairs(due) do
    times[id] = task.when
  end
  put("z", "zset", zset_of(times))
end

function FIELDS.workers(workers, put)
  local deadlines, numbers, descriptions, queues = {}, {}, {}, {}
  local served, handed, limits = {}, {}, {}
  for wid, worker in pairs(workers) do
    deadlines[wid], numbers[wid] = worker.deadline, worker.number
    descriptions[wid] = worker.description
    handed[wid] = worker.handed and tostring(worker.handed)
    limits[wid] = worker.limit and tostring(worker.limit)
    queues[wid] = table.concat(worker.queues, " ")
    for _, queue in ipairs(worker.queues) do
      served[queue] = served[queue] or {}
      table.insert(served[queue], wid)
    end
    local held = {}
    for field, task in pairs(worker.held) do
      held[field] = task.bytes
    end
    put("f:" .. wid, "hash", held)
    local asked = {}
    for field, request in pairs(worker.asked) do
      asked[field] = request.mode .. request.record
    end
    put("cr:" .. wid, "hash", asked)
  end
  put("w", "zset", zset_of(deadlines))
  put("wn", "zset", zset_of(numbers))
  put("hn", "hash", handed)
  put("hl", "hash", limits)
  put("wi", "hash", descriptions)
  put("wq", "hash", queues)
  for queue, wids in pairs(served) do
    table.sort(wids)
    put("ws:" .. queue, "set", wids)
  end
end

function FIELDS.producers(producers, put)
  for name, state in pairs(producers) do
    local text = state.last .. (state.retired and "!" or "")
    put("i:" .. name, "string", text, state.until_ms)
  end
end

function FIELDS.names(names, put)
  for name, entry in pairs(names) do
    put("u:" .. name, "string", entry.id, entry.until_ms)
  end
end

function FIELDS.chunks(chunks, put)
  for prefix, chunk in pairs(chunks) do
    put("v:" .. prefix, "hash", chunk.records, chunk.until_ms)
  end
end

function FIELDS.dead(dead, put)
  local times, records = {}, {}
  for id, death in pairs(dead) do
    times[id], records[id] = death.at, death.record
  end
  put("x", "zset", zset_of(times))
  put("e", "hash", records)
end

function FIELDS.pasts(pasts, put)
  for id, past in pairs(pasts) do
    put("h:" .. id, "list", table.move(past, 1, #past, 1, {}), past.until_ms)
  end
end

function FIELDS.said(said, put)
  local entries = {}
  for id, entry in pairs(said) do
    entries[id] = entry.wid .. entry.field:sub(#id + 1)
      .. (">I8"):pack(entry.at) .. entry.record
  end
  put("st", "hash", entries)
end

function FIELDS.waits(waits, put)
  local inboxes, times = {}, {}
  for id, wait in pairs(waits) do
    inboxes[id], times[id] = table.concat(wait, " "), wait.at
  end
  put("y", "hash", inboxes)
  put("yt", "zset", zset_of(times))
end

function FIELDS.inboxes(inboxes, put)
  for name, box in pairs(inboxes) do
    put(name, "list", table.move(box, 1, #box, 1, {}), box.until_ms)
  end
end

function FIELDS.tombstones(tombstones, put)
  put("cx", "zset", zset_of(tombstones))
end

function FIELDS.refusals(refusals, put)
  for id, refusal in pairs(refusals) do
    put("nr:" .. id, "string",
      refusal.since .. " " .. table.concat(refusal, " "), refusal.until_ms)
  end
end

function FIELDS.locks(locks, put)
  local fields = {}
  for digest, lock in pairs(locks) do
    fields[digest] = lock.id .. (">I8"):pack(lock.until_ms)
  end
  put("l", "hash", fields)
end

function FIELDS.locked(locked, put)
  put("lo", "hash", locked)
end

function FIELDS.doubles(doubles, put)
  for producer, entry in pairs(doubles) do
    put("d:" .. producer, "hash", entry.ids, entry.until_ms)
  end
end

function FIELDS.malformed(malformed, put)
  put("m", "list", table.move(malformed, 1, #malformed, 1, {}),
    malformed.until_ms)
end

-- The hash `t`: all that is found by its id.
local function kept_by_id(model)
  local kept = {}
  for id, task in pairs(model.tasks) do
    if task.place == "due" or task.place == "prioritised" then
      kept[id] = task.bytes
    end
  end
  for id, death in pairs(model.dead) do
    kept[id] = death.bytes
  end
  return kept
end

--- What a model expects, as a dump.
-- @tparam Model model
-- @treturn table
function model_keys.expected(model)
  local keys = {}
  local function put(key, kind, value, until_ms)
    local is_there = kind == "string" or next(value)
    if is_there and not (until_ms and model.now > until_ms) then
      keys[shard.PREFIX .. key] = {
        type = kind,
        value = value,
        ttl_ms = until_ms and until_ms - model.now,
      }
    end
  end
  for name, add in pairs(FIELDS) do
    add(model[name] or {}, put)
  end
  put("t", "hash", kept_by_id(model))
  local bytes = model:dead_bytes()
  put("n", "hash", { dead = bytes > 0 and tostring(bytes) or nil })
  return keys
end

local function members_of(flat)
  local members = {}
  for i = 1, #flat, 2 do
    members[#members + 1] = flat[i]
  end
  return members
end

local function outcomes_of(items)
  local outcomes = {}
  for _, item in ipairs(items) do
    outcomes[#outcomes + 1] = item ~= "" and item or nil
  end
  return outcomes[1] and outcomes
end

local function nothing()
  return nil
end

-- Of the numbers in `n` a model knows how many bytes the dead are.
local function bytes_of_dead(fields)
  return fields.dead and { dead = fields.dead }
end

-- What a model says of some keys: not the numbers that order priorities, nor
-- who sleeps, nor the bells between outcomes.
local SAID <const> = {
  ["n"] = bytes_of_dead,
  ["sl:"] = nothing,
  ["p:"] = members_of,
  ["b:"] = outcomes_of,
}

local function reduced(keys)
  local result = {}
  for key, entry in pairs(keys) do
    local name, value = key:sub(#shard.PREFIX + 1), entry.value
    local said = SAID[name:match("^%a+:?")]
    if said then
      value = said(value)
    end
    result[key] = value
      and { type = entry.type, value = value, ttl_ms = entry.ttl_ms }
  end
  return result
end

--- The keys at which Redis and a model differ.
-- @tparam Model model
-- @tparam table keys a dump of what Redis holds
-- @tparam[opt=0] number slack_ms as for `dump.difference`
-- @treturn {string,...} sorted
function model_keys.difference(model, keys, slack_ms)
  return dump.difference(model_keys.expected(model), reduced(keys), slack_ms)
end

return model_keys
