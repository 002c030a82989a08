--- What the functions for Redis do, in plain tables: the reference for
-- `spec/unit/functions/interleavings_spec.lua`.
--
-- A model is told of every call, in the order in which Redis carries them
-- out, and answers with the reply that is due. `spec.support.model_keys` says
-- what Redis must hold then, byte for byte and to the millisecond. Left out is
-- only what is decided by chance: who of several sleepers is woken; of a task
-- that was handed to one, `handed_to(id)` tells: his name and its number.
-- @module spec.support.model

local envelope = require("spec.support.envelope")

local model = {}

local Model = {}
Model.__index = Model

local WEEK_MS <const>, HOUR_MS <const> = 7 * 86400000, 3600000
local VERSION <const> = 1
local EXPIRED <const> = "R\x82\xa4kind\xa7Expired\xa7message"
  .. "\xd9\x25expired before a worker could take it"
local TRIMMED_MAX <const>, TRIM_EVERY_MS <const> = 100, 16
local TTL_SLACK_MS <const> = 60000
local HANDED_FIRST <const> = 1 << 31
local HAS_PAST <const> = 16
local PAST_MAX <const>, PAST_RECORD_BYTES_MAX <const> = 16, 4096
-- What is noted of a worker that has said nothing of itself.
local NO_WORDS <const> = "\0\0\0"
local COUNTER_OF <const> = { S = "done", F = "failed", R = "revoked" }
local FENCED <const> = { "FENCED" }

--- An empty shard.
-- @tparam int now ms
-- @tparam[opt] table limits as for @{spec.support.shard.new}
-- @treturn Model
function model.new(now, limits)
  limits = limits or {}
  return setmetatable({
    now = now,
    fetch_bytes_max = limits.fetch_bytes_max or 16 * 1024 * 1024,
    dead_bytes_max = limits.dead_bytes_max or 256 * 1024 * 1024,
    made = {}, -- ids of all tasks that there ever were
    tasks = {}, -- id to task: `bytes`, `parts`, `place`; gone when it ends
    due = {}, -- id to task, for those that are due later
    queues = {}, -- name to { [0] = entries, ... [9] = entries, counters }
    workers = {}, -- wid to { deadline, number, queues, description, held }
    producers = {}, -- name to { last, retired, until_ms }
    names = {}, -- caller's id to { id, until_ms }
    chunks = {}, -- 19 characters of an id to { records, until_ms }
    dead = {}, -- id to { at, record, bytes, parts }
    pasts = {}, -- id to notes, and until_ms
    waits = {}, -- id to { at, inbox... }
    inboxes = {}, -- name to { until_ms, item... }
    tombstones = {}, -- id to time
    refusals = {}, -- id to { since, until_ms, wid... }
    malformed = {}, -- newest first, and until_ms
    handed_to = function() end,
  }, Model)
end

-- The record under a key of a table whose records expire.
local function kept(self, records, key)
  local record = records[key]
  if record and record.until_ms and self.now > record.until_ms then
    records[key] = nil
    return nil
  end
  return record
end

local function keys_of(t)
  local keys = {}
  for key in pairs(t) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

-- The keys of the oldest of some records, as many as may go at once.
local function too_old(self, records, limit)
  local old = {}
  for key, record in pairs(records) do
    if record.at <= self.now - WEEK_MS then
      old[#old + 1] = key
    end
  end
  table.sort(old, function(a, b)
    local at, bt = records[a].at, records[b].at
    return at < bt or at == bt and a < b
  end)
  return table.move(old, 1, math.min(limit, #old), 1, {})
end

local function has(list, item)
  for _, other in ipairs(list) do
    if other == item then
      return true
    end
  end
  return false
end

local function queue_of(self, name)
  local queue = self.queues[name]
  if not queue then
    queue = { counters = {} }
    for level = 0, 9 do
      queue[level] = {}
    end
    self.queues[name] = queue
  end
  return queue
end

local function count(self, queue, counter, n)
  local counters = queue_of(self, queue).counters
  counters[counter] = (counters[counter] or 0) + (n or 1)
end

local function pack(task)
  task.bytes = envelope.new(task.parts)
end

-- Where a task is found by its id.
local KEPT_BY_ID <const> = { due = true, prioritised = true }

-- Ready.

local function make_ready(self, task, first)
  local level = queue_of(self, task.parts.queue)[task.parts.priority]
  table.insert(level, first and 1 or #level + 1, task)
  task.place = task.parts.priority > 0 and "prioritised" or "ready"
end

local function make_due(self, task, when)
  task.place, task.when = "due", when
  self.due[task.parts.id] = task
end

local function due_tasks(self)
  local list = {}
  for _, task in pairs(self.due) do
    list[#list + 1] = task
  end
  table.sort(list, function(a, b)
    if a.when ~= b.when then
      return a.when < b.when
    end
    return a.parts.id < b.parts.id
  end)
  return list
end

local function promote(self, limit)
  local list = due_tasks(self)
  for i, task in ipairs(list) do
    if i > limit or task.when > self.now then
      return task.when
    end
    self.due[task.parts.id] = nil
    make_ready(self, task)
  end
  return 0
end

local function has_work(self, name)
  local queue = self.queues[name]
  for level = 0, 9 do
    if queue and #queue[level] > 0 then
      return true
    end
  end
  return false
end

local function any_ready(self)
  for _, queue in pairs(self.queues) do
    if #queue[0] > 0 then
      return true
    end
  end
  return false
end

-- Ends.

local function get_outcome(self, id)
  local chunk = kept(self, self.chunks, id:sub(1, 19))
  return chunk and chunk.records[id:sub(20)]
end

-- The value of an outcome is written once: who asks twice gets one answer.
local function put_outcome(self, id, record, ttl_ms)
  local before = get_outcome(self, id)
  assert(not before, "a second outcome")
  local key = id:sub(1, 19)
  local chunk = self.chunks[key] or { records = {}, until_ms = 0 }
  self.chunks[key] = chunk
  chunk.records[id:sub(20)] = record
  if chunk.until_ms < self.now + ttl_ms then
    chunk.until_ms = self.now + ttl_ms + math.min(ttl_ms // 64, TTL_SLACK_MS)
  end
end

local function tell(self, id, record)
  local item = id .. (#record <= 65536 and record or ">")
  for _, inbox in ipairs(self.waits[id] or {}) do
    local box = kept(self, self.inboxes, inbox) or {}
    self.inboxes[inbox] = box
    box[#box + 1], box.until_ms = item, self.now + HOUR_MS
  end
  self.waits[id] = nil
end

-- Notes what happened to a task.
local function note(self, task, letter, who, record)
  local id = task.parts.id
  local past = kept(self, self.pasts, id) or {}
  self.pasts[id] = past
  past[#past + 1] = string.pack(">I8", self.now) .. letter .. who
    .. (#record <= PAST_RECORD_BYTES_MAX and record or "")
  if #past > PAST_MAX then
    table.remove(past, 1)
  end
  past.until_ms = self.now + WEEK_MS
  task.parts.flags = task.parts.flags | HAS_PAST
end

local function close_past(self, task, record)
  local past = kept(self, self.pasts, task.parts.id)
  if not past then
    return
  elseif record:sub(1, 1) == "F" then
    past.until_ms = self.now + WEEK_MS
  else
    self.pasts[task.parts.id] = nil
  end
end

local function ended(self, task, record)
  self.tasks[task.parts.id] = nil
  tell(self, task.parts.id, record)
  close_past(self, task, record)
  local name = kept(self, self.names, task.parts.alias)
  if name then
    name.until_ms = self.now + math.max(task.parts.ttl_s * 1000, 1)
  end
end

local function drop_dead(self, id)
  self.dead[id], self.pasts[id] = nil, nil
end

--- How many bytes the dead are.
-- @treturn int
function Model:dead_bytes()
  local total = 0
  for _, death in pairs(self.dead) do
    total = total + #death.bytes + #death.record
  end
  return total
end

-- Those of a time from one to another, the oldest first.
local function dead_between(self, from, to)
  local ids = {}
  for id, death in pairs(self.dead) do
    if death.at >= from and death.at <= to then
      ids[#ids + 1] = id
    end
  end
  table.sort(ids, function(a, b)
    local at, bt = self.dead[a].at, self.dead[b].at
    return at < bt or at == bt and a < b
  end)
  return ids
end

local function trim_dead(self)
  for _, id in ipairs(too_old(self, self.dead, TRIMMED_MAX)) do
    drop_dead(self, id)
  end
  local total = self:dead_bytes()
  for _, id in ipairs(dead_between(self, 0, self.now)) do
    if total <= self.dead_bytes_max then
      break
    end
    total = total - #self.dead[id].bytes - #self.dead[id].record
    drop_dead(self, id)
  end
end

local function settle(self, task, record, counter)
  local parts, letter = task.parts, record:sub(1, 1)
  if parts.flags % 2 == 0 and parts.ttl_s > 0 then
    put_outcome(self, parts.id, record, parts.ttl_s * 1000)
  end
  ended(self, task, record)
  if letter == "F" then
    self.dead[parts.id] =
      { at = self.now, record = record, bytes = task.bytes, parts = parts }
    trim_dead(self)
  end
  count(self, parts.queue, counter or COUNTER_OF[letter])
end

-- Identities.

local function producer_state(self, producer)
  local state = kept(self, self.producers, producer)
  return state and state.last or 0, state ~= nil and state.retired
end

local function was_enqueued(self, id)
  local number = envelope.number(id)
  local task = self.tasks[id]
  return number and number <= producer_state(self, id:sub(1, 12))
    or task and KEPT_BY_ID[task.place]
    or self.dead[id] ~= nil
    or kept(self, self.names, id) ~= nil
end

local function resolve(self, id)
  local name = not envelope.number(id) and kept(self, self.names, id)
  return name and name.id or id
end

-- te1_enqueue.

local function existing(self, id, unique)
  if unique == "i" then
    if was_enqueued(self, id) or get_outcome(self, id) then
      return id
    end
    self.names[id] = { id = id, until_ms = self.now + WEEK_MS }
    local last, retired = producer_state(self, id:sub(1, 12))
    if not retired then
      self.producers[id:sub(1, 12)] =
        { last = last, retired = true, until_ms = self.now + WEEK_MS }
    end
  elseif unique ~= "" then
    local name = kept(self, self.names, unique:sub(2))
    if name then
      return name.id
    end
    self.names[unique:sub(2)] = { id = id }
  end
end

local function accept(self, bytes)
  local parts = envelope.read(bytes)
  assert(not self.made[parts.id], "a task was made twice")
  local task = { parts = parts, bytes = bytes }
  self.made[parts.id], self.tasks[parts.id] = true, task
  count(self, parts.queue, "enqueued")
  return task
end

-- Redis has handed a task to a worker that sleeps, if it is in flight there.
local function hand_over(self, task)
  local parts = task.parts
  local wid, number = self.handed_to(parts.id)
  if not wid then
    return false
  end
  local worker, bell = self.workers[wid], "b:" .. wid
  for level = 0, 9 do
    assert(not queue_of(self, parts.queue)[level][1], "it overtakes others")
  end
  assert(has(worker.queues, parts.queue), "it is handed to somebody else's")
  assert(parts.priority == 0 and parts.version == VERSION
    and parts.expiry_ms == 0, "it is for a fetch")
  assert(not kept(self, self.inboxes, bell), "nobody listens to the bell")
  worker.handed = worker.handed + 1
  assert(number == worker.handed, "its number is another")
  task.place = "in flight"
  worker.held[envelope.field(task.bytes, number)] = task
  self.inboxes[bell] = { ("!%s%s"):format((">I4"):pack(number), task.bytes) }
  return true
end

-- Takes back what lies unread in a worker's bell.
local function take_back(self, wid)
  local worker, bell = self.workers[wid], "b:" .. wid
  local box = kept(self, self.inboxes, bell)
  if not box or box[1]:sub(1, 1) ~= "!" then
    return 0
  end
  local item = table.remove(box, 1)
  local field = envelope.field(item:sub(6), (">I4"):unpack(item, 2))
  make_ready(self, worker.held[field], true)
  worker.held[field] = nil
  if not box[1] then
    self.inboxes[bell] = nil
  end
  return 1
end

local function take_back_from_others(self, wid)
  for _, other in ipairs(keys_of(self.workers)) do
    if other ~= wid and self.workers[other].handed then
      take_back(self, other)
    end
  end
end

local function accept_general(self, bytes, delay, expires, unique)
  local id = bytes:sub(1, 20)
  local before = existing(self, id, unique)
  if before then
    return before
  end
  local task = accept(self, bytes)
  if expires ~= "" then
    task.parts.expiry_ms = self.now + expires
    pack(task)
  end
  local when = delay:sub(1, 1) == "+" and self.now + delay:sub(2)
    or tonumber(delay) or 0
  if when > self.now then
    make_due(self, task, when)
  elseif not hand_over(self, task) then
    make_ready(self, task)
  end
  return id
end

-- Tasks that are enqueued together may be handed over when it is one.
local function accept_plain(self, first, ...)
  local task = accept(self, first)
  if ... or not hand_over(self, task) then
    make_ready(self, task)
  end
  for _, bytes in ipairs { ... } do
    make_ready(self, accept(self, bytes))
  end
end

local function accepted_id(self, bytes, unique)
  local name = unique:sub(1, 1) == "u" and kept(self, self.names,
    unique:sub(2))
  return name and name.id or bytes:sub(1, 20)
end

-- Calls fn(kind, ...) for each group.
local function each_group(args, fn)
  local i = 1
  while args[i] do
    if args[i] == "r" then
      fn("r", table.unpack(args, i + 3, i + 2 + args[i + 2]))
      i = i + 3 + args[i + 2]
    elseif args[i] == "a" then
      fn("a", args[i - 1]:sub(1, 20), args[i + 1])
      i = i + 2
    else
      fn("g", args[i + 1], args[i + 3], args[i + 4], args[i + 5])
      i = i + 6
    end
  end
end

function Model:enqueue(producer, first, last, ...)
  local before, retired = producer_state(self, producer)
  local verdict = first <= before and 1
    or (retired or first > before + 1) and 2 or 0
  assert(verdict ~= 1 or last <= before)
  local reply = { 0, verdict }
  each_group({ ... }, function(kind, ...)
    reply[1] = kind ~= "r" and self.now or reply[1]
    if kind == "g" and verdict < 2 then
      local bytes, delay, expires, unique = ...
      reply[#reply + 1] = verdict == 1 and accepted_id(self, bytes, unique)
        or accept_general(self, bytes, delay, expires, unique)
    elseif kind == "r" and verdict == 0 then
      accept_plain(self, ...)
    elseif kind == "a" and verdict == 0 then
      local id, inbox = ...
      self.waits[id] = { inbox, at = self.now }
    end
  end)
  if verdict == 0 then
    self.producers[producer] =
      { last = last, until_ms = self.now + WEEK_MS }
  end
  return reply
end

--- Somebody puts bytes into a ready list that are no task of ours.
-- @tparam string queue
-- @tparam string bytes
function Model:intrude(queue, bytes)
  table.insert(queue_of(self, queue)[0], { bytes = bytes })
end

-- Workers.

local function renew(self, wid, lease_ms)
  local worker = self.workers[wid]
  if worker
    and math.abs(self.now + lease_ms - worker.deadline) * 64 > lease_ms then
    worker.deadline = self.now + lease_ms
  end
  return worker
end

local function report(self, wid, queues)
  local foreign, whose = 0, ""
  for _, other in ipairs(keys_of(self.workers)) do
    local deadline = self.workers[other].deadline
    if other ~= wid and (whose == "" or deadline < foreign) then
      foreign, whose = deadline, other
    end
  end
  local work = 0
  for _, queue in ipairs(queues) do
    work = has_work(self, queue) and 1 or work
  end
  local due = due_tasks(self)[1]
  return { self.now, due and due.when or 0, work, foreign, whose,
    self.workers[wid].handed or 0 }
end

local function describe(self, wid, description, queues)
  local worker = self.workers[wid]
  worker.description, worker.queues = description, queues
  for _, queue in ipairs(queues) do
    queue_of(self, queue)
  end
  return report(self, wid, queues)
end

function Model:register(wid, lease_ms, description, ...)
  self.workers[wid] = self.workers[wid] or { held = {} }
  self.workers[wid].deadline = self.now + lease_ms
  take_back_from_others(self, wid)
  return describe(self, wid, description, { ... })
end

function Model:describe(wid, lease_ms, description, ...)
  if not renew(self, wid, lease_ms) then
    return FENCED
  end
  return describe(self, wid, description, { ... })
end

local function trim_waits(self, limit)
  for _, id in ipairs(too_old(self, self.waits, limit)) do
    self.waits[id] = nil
  end
end

function Model:heartbeat(wid, lease_ms, ...)
  if not renew(self, wid, lease_ms) then
    return FENCED
  end
  trim_dead(self)
  trim_waits(self, TRIMMED_MAX)
  if not any_ready(self) then
    self.tombstones = {}
  end
  return report(self, wid, { ... })
end

local function advance(worker, number)
  local ahead = (number - (worker.number or number - 1)) % (1 << 32)
  if ahead == 0 or ahead >= 1 << 31 then
    return false
  end
  worker.number = number
  return true
end

local function set_aside(self, task)
  local malformed = kept(self, self, "malformed") or {}
  table.insert(malformed, 1, task.bytes)
  malformed.until_ms, self.malformed = self.now + WEEK_MS, malformed
end

-- What was revoked while it stood in a ready list.
local function drop_revoked(self, task)
  self.tombstones[task.parts.id] = nil
  count(self, task.parts.queue, "revoked")
  ended(self, task, "-")
end

-- Whether a worker gets what came out of a queue.
local function deliver(self, task, newer)
  local parts = task.parts
  if not parts then
    set_aside(self, task)
  elseif parts.version > VERSION then
    newer[#newer + 1] = task
  elseif self.tombstones[parts.id] then
    drop_revoked(self, task)
  elseif parts.expiry_ms ~= 0 and parts.expiry_ms <= self.now then
    settle(self, task, EXPIRED, "expired")
  else
    return true
  end
  return false
end

-- A reply takes one task of any size, or as many as fit.
local function drain(self, levels, want, got, newer)
  for _, level in ipairs(levels) do
    while #got < want and level[1] and not got.is_full do
      local bytes = got.bytes + #level[1].bytes
      if got[1] and bytes > self.fetch_bytes_max then
        got.is_full = true
        return
      end
      local task = table.remove(level, 1)
      if deliver(self, task, newer) then
        got[#got + 1], got.bytes = task, bytes
      end
    end
  end
end

-- What a fetch from some queues gets, the urgent tasks of all first.
local function take(self, want, names)
  local urgent, plain = {}, {}
  for _, name in ipairs(names) do
    local queue = queue_of(self, name)
    table.move(queue, 0, 0, #plain + 1, plain)
    for level = 9, 1, -1 do
      urgent[#urgent + 1] = queue[level]
    end
  end
  local got, newer = { bytes = 0 }, {}
  drain(self, urgent, want, got, newer)
  drain(self, plain, want, got, newer)
  for _, task in ipairs(newer) do
    make_ready(self, task)
  end
  return got
end

function Model:fetch(wid, lease_ms, want, number, flags, ...)
  local worker = renew(self, wid, lease_ms)
  if not worker then
    return FENCED
  elseif not advance(worker, number) then
    return { err = "past" }
  end
  local next_due = promote(self, 100)
  if flags & 1 ~= 0 then
    take_back_from_others(self, wid)
  end
  local got, reply = take(self, want, { ... }), { self.now, next_due }
  local sleeps = #got < want and not got.is_full
  if flags & 2 ~= 0 and (sleeps or flags & 1 ~= 0) then
    worker.handed = worker.handed or HANDED_FIRST
  end
  for i, task in ipairs(got) do
    task.place = "in flight"
    worker.held[envelope.field(task.bytes, number)] = task
    reply[i + 2] = task.bytes
  end
  if sleeps and flags & 1 == 0 then
    take_back_from_others(self, wid)
  end
  return reply
end

function Model:promote(limit)
  return { self.now, promote(self, limit) }
end

function Model:holds(wid, number)
  local worker = self.workers[wid]
  if worker and number then
    advance(worker, number)
  end
  if not worker then
    return { "0" }
  end
  take_back(self, wid)
  local reply = keys_of(worker.held)
  table.insert(reply, 1, tostring(worker.handed or 0))
  return reply
end

local function hand_back(self, tasks)
  for i = #tasks, 1, -1 do
    local task = tasks[i]
    task.parts.delivery = task.parts.delivery + 1
    pack(task)
    make_ready(self, task, true)
  end
end

local function leave_worker(self, wid)
  self.workers[wid] = nil
  self.inboxes["b:" .. wid] = nil
end

function Model:leave(wid)
  local worker = self.workers[wid]
  if worker then
    take_back(self, wid)
  end
  if worker and next(worker.held) then
    return 0
  end
  leave_worker(self, wid)
  return 1
end

-- Endings that take one task each: of a task, its outcome, the worker's id
-- and the list of those that go back.
local OPERATIONS <const> = {}

function OPERATIONS.o(self, task, record)
  settle(self, task, record)
end

function OPERATIONS.h(_, task, _, _, back)
  back[#back + 1] = task
end

function OPERATIONS.b(self, task, _, _, back)
  count(self, task.parts.queue, "redelivered")
  back[#back + 1] = task
end

-- How often what runs a task may be lost, and the letter for it in a note.
local LOSSES <const> = {
  deaths = { max = 3, letter = "c" },
  reaps = { max = 10, letter = "w" },
}

local function lost(self, task, record, what, wid, back)
  local parts = task.parts
  parts[what] = parts[what] + 1
  note(self, task, LOSSES[what].letter, wid .. NO_WORDS, record)
  count(self, parts.queue, "lost")
  if parts.flags & 2 ~= 0 or parts[what] >= LOSSES[what].max then
    parts.delivery = parts.delivery + 1
    pack(task)
    settle(self, task, record)
  else
    back[#back + 1] = task
  end
end

function OPERATIONS.l(self, task, record, wid, back)
  lost(self, task, record, "deaths", wid, back)
end

local function is_refused_by_all(self, queue, refusal)
  for wid, worker in pairs(self.workers) do
    if has(worker.queues, queue) and not has(refusal, wid) then
      return false
    end
  end
  return true
end

function OPERATIONS.n(self, task, record, wid)
  local id = task.parts.id
  local refusal = kept(self, self.refusals, id) or { since = self.now }
  if not has(refusal, wid) then
    refusal[#refusal + 1] = wid
  end
  if self.now - refusal.since >= 60000
    or is_refused_by_all(self, task.parts.queue, refusal) then
    self.refusals[id] = nil
    settle(self, task, record)
  else
    refusal.until_ms = self.now + HOUR_MS
    self.refusals[id] = refusal
    task.parts.delivery = task.parts.delivery + 1
    pack(task)
    make_due(self, task, self.now + 250)
  end
end

-- Successes of one operation: of those that are not this worker's any more
-- the outcome is there already.
local function succeed(self, worker, args, i, ttl_s, step)
  local n, own = args[i], 0
  for k = i + 1, i + n * step, step do
    local task = worker.held[args[k]]
    if task then
      worker.held[args[k]] = nil
      own = own + 1
      count(self, task.parts.queue, "done")
      if ttl_s then
        put_outcome(self, task.parts.id, args[k + 1], ttl_s * 1000)
      end
      ended(self, task, ttl_s and args[k + 1] or "-")
    end
  end
  return i + n * step + 1, own
end

local ARGUMENTS <const> = { o = 2, h = 1, b = 1, l = 2, n = 2 }

local function operate(self, wid, args, i, back)
  local worker, op = self.workers[wid], args[i]
  if op == "s" then
    return succeed(self, worker, args, i + 3, args[i + 2], 2)
  elseif op == "d" then
    return succeed(self, worker, args, i + 2, nil, 1)
  end
  local task = worker.held[args[i + 1]]
  if task then
    worker.held[args[i + 1]] = nil
    OPERATIONS[op](self, task, args[i + 2], wid, back)
  end
  return i + 1 + ARGUMENTS[op], task and 1 or 0
end

function Model:finish(wid, lease_ms, ...)
  if not renew(self, wid, lease_ms) then
    return FENCED
  end
  local args, i, back, total = { ... }, 1, {}, 0
  while args[i] do
    local after, own = operate(self, wid, args, i, back)
    i, total = after, total + own
  end
  hand_back(self, back)
  return { total }
end

function Model:reap(wid, is_dead, record, ...)
  local worker, started = self.workers[wid], {}
  if not worker or is_dead ~= "1" and worker.deadline > self.now then
    return -1
  end
  for _, field in ipairs { ... } do
    started[field] = true
  end
  local taken_back = take_back(self, wid)
  local fields = keys_of(worker.held)
  table.sort(fields, function(a, b)
    local an, bn = envelope.number(a:sub(1, 20)), envelope.number(b:sub(1, 20))
    local ad, bd = a:sub(21), b:sub(21)
    return ad < bd or ad == bd and (an < bn or an == bn and a < b)
  end)
  leave_worker(self, wid)
  local back = {}
  for _, field in ipairs(fields) do
    local task = worker.held[field]
    if started["-"] or started[field] then
      lost(self, task, record, "reaps", wid, back)
    else
      back[#back + 1] = task
    end
  end
  hand_back(self, back)
  return #fields + taken_back
end

-- What callers ask.

local function outcome(self, id)
  return get_outcome(self, id)
    or self.dead[id] and self.dead[id].record
    or was_enqueued(self, id) and "=" .. id
    or "?"
end

function Model:outcome(...)
  local reply = {}
  for i, id in ipairs { ... } do
    reply[i] = outcome(self, resolve(self, id))
  end
  return reply
end

function Model:look(...)
  local reply = {}
  for i, any in ipairs { ... } do
    local id = resolve(self, any)
    reply[i] = outcome(self, id)
    if reply[i] == "=" .. id and not self.tasks[id] and not any_ready(self)
    then
      reply[i] = "-"
    elseif #reply[i] > 65536 then
      reply[i] = ">"
    end
  end
  return reply
end

function Model:await(inbox, ...)
  local reply = {}
  if self.now % TRIM_EVERY_MS == 0 then
    trim_waits(self, TRIMMED_MAX)
  end
  for i, any in ipairs { ... } do
    local id = resolve(self, any)
    reply[i] = outcome(self, id)
    if reply[i]:sub(1, 1) == "=" then
      local wait = self.waits[id] or {}
      self.waits[id] = wait
      wait.at = self.now
      if not has(wait, inbox) then
        wait[#wait + 1] = inbox
      end
    elseif #reply[i] > 65536 then
      reply[i] = ">"
    end
  end
  return reply
end

function Model:unwait(inbox, ...)
  local count_ended = 0
  for _, any in ipairs { ... } do
    local id = resolve(self, any)
    local wait = self.waits[id] or {}
    for i = #wait, 1, -1 do
      if wait[i] == inbox then
        table.remove(wait, i)
        count_ended = count_ended + 1
      end
    end
    if not wait[1] then
      self.waits[id] = nil
    end
  end
  return count_ended
end

function Model:forget(...)
  local forgotten = 0
  for _, any in ipairs { ... } do
    local id = resolve(self, any)
    if (get_outcome(self, id) or "-") ~= "-" then
      self.chunks[id:sub(1, 19)].records[id:sub(20)] = "-"
      forgotten = forgotten + 1
    end
  end
  return forgotten
end

local function take_waiting(self, task)
  self.due[task.parts.id] = nil
  local level = queue_of(self, task.parts.queue)[task.parts.priority]
  for i, other in ipairs(level) do
    if other == task then
      table.remove(level, i)
    end
  end
end

local function cancel(self, id, record, ttl_s)
  local task = self.tasks[id] or {}
  if get_outcome(self, id) or self.dead[id] then
    return "finished"
  elseif KEPT_BY_ID[task.place] then
    take_waiting(self, task)
    ended(self, task, record)
    count(self, task.parts.queue, "revoked")
  elseif not was_enqueued(self, id) then
    return "unknown"
  elseif task.place == "in flight" then
    return "running"
  elseif not any_ready(self) then
    return "finished"
  else
    self.tombstones[id] = self.now
    tell(self, id, record)
  end
  put_outcome(self, id, record, ttl_s * 1000)
  return "revoked"
end

function Model:cancel(record, ttl_s, ...)
  local reply = {}
  for i, any in ipairs { ... } do
    reply[i] = cancel(self, resolve(self, any), record, ttl_s)
  end
  return reply
end

-- What waits and runs.

-- Whether a task is looked at behind (at, id). Those of the same time are when
-- that one has left its place.
local function is_behind(self, task, at, id)
  local last = self.due[id]
  if at == "" or task.when ~= tonumber(at) then
    return at == "" or task.when > tonumber(at)
  end
  return not (last and last.when == tonumber(at)) or task.parts.id > id
end

-- At most `limit` of the due set, and whether there is more.
local function due_after(self, limit, at, id)
  local out = {}
  for _, task in ipairs(due_tasks(self)) do
    if #out < limit and is_behind(self, task, at, id) then
      out[#out + 1] = task
    end
  end
  return out, #out == limit and 1 or 0
end

function Model:survey_due(limit, at, id)
  local list, more = due_after(self, limit, at, id)
  local reply, places = { more, at, id }, {}
  for _, task in ipairs(list) do
    local queue = task.parts.queue
    if not places[queue] then
      places[queue] = #reply + 2
      table.move({ queue, 0 }, 1, 2, #reply + 1, reply)
    end
    reply[places[queue]] = reply[places[queue]] + 1
    reply[2], reply[3] = ("%d"):format(task.when), task.parts.id
  end
  return reply
end

function Model:survey()
  local in_flight, reply = {}, {}
  for _, worker in pairs(self.workers) do
    for _, task in pairs(worker.held) do
      local queue = task.parts.queue
      in_flight[queue] = (in_flight[queue] or 0) + 1
    end
  end
  for i, name in ipairs(keys_of(self.queues)) do
    reply[i] = { name, in_flight[name] or 0 }
    for level = 0, 9 do
      table.insert(reply[i], #self.queues[name][level])
    end
  end
  return reply
end

-- te1_purge.

local function purge(self, task, record, reply)
  reply[1] = reply[1] + 1
  if not task.parts then
    set_aside(self, task)
    reply[4] = reply[4] + 1
  elseif self.tombstones[task.parts.id] then
    drop_revoked(self, task)
    reply[3] = reply[3] + 1
  else
    settle(self, task, record)
    reply[2] = reply[2] + 1
  end
end

function Model:purge(record, limit, name)
  local reply, queue = { 0, 0, 0, 0 }, self.queues[name]
  for level = 9, 0, -1 do
    while queue and reply[1] < limit and queue[level][1] do
      purge(self, table.remove(queue[level], 1), record, reply)
    end
  end
  return reply
end

function Model:purge_due(record, limit, name, at, id)
  local list, more = due_after(self, limit, at, id)
  local purged = 0
  for _, task in ipairs(list) do
    if task.parts.queue == name then
      self.due[task.parts.id] = nil
      settle(self, task, record)
      purged = purged + 1
    else
      at, id = ("%d"):format(task.when), task.parts.id
    end
  end
  return { more, purged, at, id }
end

-- The dead.

local NAMES_AT <const> = 102

local function read_dead(self, id, is_whole)
  local death = self.dead[id]
  if not death then
    return "-"
  end
  local parts = death.parts
  local past = kept(self, self.pasts, id) or {}
  return {
    id, tostring(death.at),
    is_whole and death.bytes or death.bytes:sub(1, NAMES_AT + #parts.queue
      + #parts.name + #parts.limit_key + #parts.alias),
    #death.bytes, death.record,
    is_whole and table.move(past, 1, #past, 1, {}) or {},
  }
end

function Model:dead_read(whole, ...)
  local reply = {}
  for i, any in ipairs { ... } do
    reply[i] = read_dead(self, resolve(self, any), whole == "1")
  end
  return reply
end

--- The ids of the dead and when they died, by turns, the newest first. This is
-- `te1_dead`; the model's own field has that name.
function Model:list_dead(from, to, limit)
  local function moment(text, open)
    local ms = tonumber(text) or open
    return ms < 0 and self.now + ms or ms
  end
  local ids, reply = dead_between(self, moment(from, 0),
    moment(to, math.huge)), {}
  for i = #ids, math.max(#ids - limit, 0) + 1, -1 do
    reply[#reply + 1] = ids[i]
    reply[#reply + 1] = tostring(self.dead[ids[i]].at)
  end
  return reply
end

local function forget_outcome(self, id)
  local chunk = kept(self, self.chunks, id:sub(1, 19))
  if chunk then
    chunk.records[id:sub(20)] = nil
    if not next(chunk.records) then
      self.chunks[id:sub(1, 19)] = nil
    end
  end
end

local function remember_ids(self, id, alias)
  if alias ~= "" then
    self.names[alias] = { id = id }
  end
  if not was_enqueued(self, id) then
    self.names[id] = { id = id, until_ms = self.now + WEEK_MS }
  end
end

local function requeue(self, id)
  local death = self.dead[id]
  local parts = death.parts
  local name = kept(self, self.names, parts.alias)
  if name and name.id ~= id then
    return "taken"
  end
  self.dead[id] = nil
  forget_outcome(self, id)
  remember_ids(self, id, parts.alias)
  parts.attempt, parts.deaths, parts.reaps, parts.delivery = 0, 0, 0, 0
  if parts.expiry_ms <= self.now then
    parts.expiry_ms = 0
  end
  local task = { parts = parts }
  note(self, task, "q", ("-"):rep(12) .. NO_WORDS, death.record)
  pack(task)
  self.tasks[id] = task
  count(self, parts.queue, "requeued")
  make_ready(self, task)
  for _, worker in pairs(self.workers) do
    if has(worker.queues, parts.queue) then
      return "requeued"
    end
  end
  return "unserved"
end

-- Calls fn(id) for each entry that is meant.
local function each_meant(self, args, fn)
  local reply = {}
  for i = 1, #args, 2 do
    local id = resolve(self, args[i])
    local death = self.dead[id]
    local is_it = death
      and (args[i + 1] == "" or args[i + 1] == tostring(death.at))
    reply[#reply + 1] = is_it and fn(id) or "missing"
  end
  return reply
end

function Model:requeue(...)
  return each_meant(self, { ... }, function(id)
    return requeue(self, id)
  end)
end

function Model:delete(...)
  return each_meant(self, { ... }, function(id)
    drop_dead(self, id)
    return "deleted"
  end)
end

--- Takes all items of an inbox.
-- @tparam string inbox
-- @treturn {string,...} outcomes
function Model:heard(inbox)
  local box = kept(self, self.inboxes, inbox) or {}
  self.inboxes[inbox] = nil
  return table.move(box, 1, #box, 1, {})
end

return model
