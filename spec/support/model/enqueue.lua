--- `te1_enqueue` of a model.
-- @module spec.support.model.enqueue

local envelope = require("spec.support.envelope")
local ends = require("spec.support.model.ends")
local handover = require("spec.support.model.handover")
local ids = require("spec.support.model.ids")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")

local enqueue = {}

local function existing(self, id, unique)
  if unique == "i" then
    if ids.was_enqueued(self, id) or ends.get_outcome(self, id) then
      return id
    end
    self.names[id] = { id = id, until_ms = self.now + state.WEEK_MS }
    local last, retired = ids.producer(self, id:sub(1, 12))
    if not retired then
      self.producers[id:sub(1, 12)] =
        { last = last, retired = true, until_ms = self.now + state.WEEK_MS }
    end
  elseif unique ~= "" then
    local name = state.kept(self, self.names, unique:sub(2))
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
  queues.count(self, parts.queue, "enqueued")
  return task
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

local function accepted_id(self, bytes, unique)
  local name = unique:sub(1, 1) == "u" and state.kept(self, self.names,
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

function enqueue.enqueue(self, producer, first, last, ...)
  local before, retired = ids.producer(self, producer)
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
      { last = last, until_ms = self.now + state.WEEK_MS }
  end
  return reply
end

return enqueue
