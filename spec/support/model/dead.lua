--- What is asked of a model about the dead, and done with them.
-- @module spec.support.model.dead

local ends = require("spec.support.model.ends")
local ids = require("spec.support.model.ids")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")
local unique = require("spec.support.model.unique")

local dead = {}

-- What is noted where a worker's name and words are due: nobody's.
local NOBODY <const> = ("-"):rep(12) .. "\0\0\0"
-- How long an envelope is before its names.
local NAMES_AT <const> = 102

local function read_dead(self, id, is_whole)
  local death = self.dead[id]
  if not death then
    return "-"
  end
  local parts = death.parts
  local past = state.kept(self, self.pasts, id) or {}
  return {
    id, tostring(death.at),
    is_whole and death.bytes or death.bytes:sub(1, NAMES_AT + #parts.queue
      + #parts.name + #parts.limit_key + #parts.alias),
    #death.bytes, death.record,
    is_whole and table.move(past, 1, #past, 1, {}) or {},
  }
end

function dead.dead_read(self, whole, ...)
  local reply = {}
  for i, any in ipairs { ... } do
    reply[i] = read_dead(self, ids.resolve(self, any), whole == "1")
  end
  return reply
end

function dead.history(self, any)
  local past = state.kept(self, self.pasts, ids.resolve(self, any)) or {}
  return table.move(past, 1, #past, 1, {})
end

-- The ids of the dead and when they died, by turns, the newest first.
function dead.dead(self, from, to, limit)
  local function moment(text, open)
    local ms = tonumber(text) or open
    return ms < 0 and self.now + ms or ms
  end
  local found, reply = ends.dead_between(self, moment(from, 0),
    moment(to, math.huge)), {}
  for i = #found, math.max(#found - limit, 0) + 1, -1 do
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = tostring(self.dead[found[i]].at)
  end
  return reply
end

local function forget_outcome(self, id)
  local chunk = state.kept(self, self.chunks, id:sub(1, 19))
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
  if not ids.was_enqueued(self, id) then
    self.names[id] = { id = id, until_ms = self.now + state.WEEK_MS }
  end
end

local function requeue(self, id)
  local death = self.dead[id]
  local parts = death.parts
  local name = state.kept(self, self.names, parts.alias)
  if name and name.id ~= id
    or unique.digest(parts) and unique.lock(self, parts, "") then
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
  ends.note(self, task, "q", NOBODY, death.record)
  queues.pack(task)
  self.tasks[id] = task
  queues.count(self, parts.queue, "requeued")
  queues.make_ready(self, task)
  for _, worker in pairs(self.workers) do
    if state.has(worker.queues, parts.queue) then
      return "requeued"
    end
  end
  return "unserved"
end

-- Calls fn(id) for each entry that is meant.
local function each_meant(self, args, fn)
  local reply = {}
  for i = 1, #args, 2 do
    local id = ids.resolve(self, args[i])
    local death = self.dead[id]
    local is_it = death
      and (args[i + 1] == "" or args[i + 1] == tostring(death.at))
    reply[#reply + 1] = is_it and fn(id) or "missing"
  end
  return reply
end

function dead.requeue(self, ...)
  return each_meant(self, { ... }, function(id)
    return requeue(self, id)
  end)
end

function dead.delete(self, ...)
  return each_meant(self, { ... }, function(id)
    ends.drop_dead(self, id)
    return "deleted"
  end)
end

return dead
