--- `te1_enqueue` of a model.
-- @module spec.support.model.enqueue

local envelope = require("spec.support.envelope")
local ends = require("spec.support.model.ends")
local handover = require("spec.support.model.handover")
local ids = require("spec.support.model.ids")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")
local unique = require("spec.support.model.unique")

local enqueue = {}

local function retire(self, producer)
  local last, retired = ids.producer(self, producer)
  if not retired then
    self.producers[producer] =
      { last = last, retired = true, until_ms = self.now + state.WEEK_MS }
  end
end

-- For how many ms a task locks out others like it, or nil; and whether it
-- repeats another ("i") or which name it has.
local function read_kind(kind)
  local for_ms, rest = kind:match("^l(%d*)(.*)$")
  return for_ms, rest or kind
end

local function lock(self, bytes, for_ms, batch)
  local holder = unique.lock(self, envelope.read(bytes), for_ms)
  if holder then
    if not batch.has_doubles then
      batch.has_doubles, self.doubles[batch.producer] = true, nil
    end
    unique.note_double(self, bytes:sub(1, 20), holder)
  end
  return holder
end

local function existing(self, bytes, kind, batch)
  local id = bytes:sub(1, 20)
  local for_ms, rest = read_kind(kind)
  if rest == "i" then
    local original = unique.original(self, id)
    if original ~= id or ids.was_enqueued(self, id)
      or ends.get_outcome(self, id) then
      return original
    end
    retire(self, id:sub(1, 12))
  elseif rest ~= "" then
    local name = state.kept(self, self.names, rest:sub(2))
    if name then
      return name.id
    end
    self.names[rest:sub(2)] = { id = id }
  end
  local holder = for_ms and lock(self, bytes, for_ms, batch)
  if not holder and rest == "i" then
    self.names[id] = { id = id, until_ms = self.now + state.WEEK_MS }
  end
  return holder
end

local function accept(self, bytes)
  local parts = envelope.read(bytes)
  assert(not self.made[parts.id], "a task was made twice")
  local task = { parts = parts, bytes = bytes }
  self.made[parts.id], self.tasks[parts.id] = true, task
  queues.count(self, parts.queue, "enqueued")
  return task
end

local function accept_general(self, batch, bytes, delay, expires, kind)
  local id = bytes:sub(1, 20)
  local before = existing(self, bytes, kind, batch)
  if before then
    return before
  end
  local task = accept(self, bytes)
  if expires ~= "" then
    task.parts.expiry_ms = self.now + expires
    queues.pack(task)
  end
  local when = delay:sub(1, 1) == "+" and self.now + delay:sub(2)
    or tonumber(delay) or 0
  if when > self.now then
    queues.make_due(self, task, when)
  elseif not handover.give(self, task) then
    queues.make_ready(self, task)
  end
  return id
end

-- Tasks that are enqueued together may be handed over when it is one.
local function accept_plain(self, first, ...)
  local task = accept(self, first)
  if ... or not handover.give(self, task) then
    queues.make_ready(self, task)
  end
  for _, bytes in ipairs { ... } do
    queues.make_ready(self, accept(self, bytes))
  end
end

local function accepted_id(self, bytes, kind)
  local for_ms, rest = read_kind(kind)
  local name = rest:sub(1, 1) == "u" and state.kept(self, self.names,
    rest:sub(2))
  local id = bytes:sub(1, 20)
  return name and name.id or for_ms and unique.original(self, id) or id
end

-- Calls fn(letter, ...) for each group.
local function each_group(args, fn)
  local i = 1
  while args[i] do
    if args[i] == "r" then
      fn("r", table.unpack(args, i + 3, i + 2 + args[i + 2]))
      i = i + 3 + args[i + 2]
    elseif args[i] == "a" then
      fn("a", args[i - 1]:sub(1, 20), args[i + 1])
      i = i + 2
    elseif args[i] == "c" then
      fn("c", args[i + 1], args[i + 2])
      i = i + 3
    else
      fn("g", args[i + 1], args[i + 3], args[i + 4], args[i + 5])
      i = i + 6
    end
  end
end

-- What each kind of group does in a batch that is carried out: it returns the
-- ids of its tasks.
local GROUPS <const> = {}

function GROUPS.g(self, batch, ...)
  return { accept_general(self, batch, ...) }
end

function GROUPS.r(self, _, ...)
  accept_plain(self, ...)
  local made = { ... }
  for i, bytes in ipairs(made) do
    made[i] = bytes:sub(1, 20)
  end
  return made
end

function GROUPS.a(self, _, id, inbox)
  self.waits[id] = { inbox, at = self.now }
end

function GROUPS.c(_, batch, parent, ttl_s)
  batch.parent, batch.ttl_s = parent ~= "" and parent, ttl_s
end

-- Carries out a group, and returns the id that is told of it.
local function carry_out(self, batch, letter, ...)
  local made = GROUPS[letter](self, batch, ...)
  if made and batch.parent then
    ends.note_kin(self, batch.parent, made, batch.ttl_s * 1000)
  end
  return letter == "g" and made[1] or nil
end

local NEEDS_TIME <const> = { g = true, a = true }

function enqueue.enqueue(self, producer, first, last, ...)
  local before, retired = ids.producer(self, producer)
  local verdict = first <= before and 1
    or (retired or first > before + 1) and 2 or 0
  assert(verdict ~= 1 or last <= before)
  local reply, batch = { 0, verdict }, { producer = producer }
  each_group({ ... }, function(letter, ...)
    reply[1] = NEEDS_TIME[letter] and self.now or reply[1]
    if verdict == 0 then
      reply[#reply + 1] = carry_out(self, batch, letter, ...)
    elseif verdict == 1 and letter == "g" then
      local bytes, _, _, kind = ...
      reply[#reply + 1] = accepted_id(self, bytes, kind)
    end
  end)
  if verdict == 0 then
    self.producers[producer] =
      { last = last, until_ms = self.now + state.WEEK_MS }
  end
  return reply
end

return enqueue
