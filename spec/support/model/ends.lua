--- The ends of tasks: outcomes, who is told of them, the dead.
-- @module spec.support.model.ends

local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")
local unique = require("spec.support.model.unique")

local ends = {}

local TTL_SLACK_MS <const> = 60000
local INLINE_BYTES_MAX <const> = 65536
local HAS_PAST <const> = 16
local KIN_MAX <const> = 1000
local PAST_MAX <const>, PAST_RECORD_BYTES_MAX <const> = 16, 4096
local COUNTER_OF <const> = { S = "done", F = "failed", R = "revoked" }

--- The outcome that is kept of a task; or what stands beside it: `k` of what
-- it sent, `p` of who sent it.
function ends.get_outcome(self, id, beside)
  local chunk = state.kept(self, self.chunks, id:sub(1, 19))
  return chunk and chunk.records[id:sub(20) .. (beside or "")]
end

--- The value of an outcome is written once: who asks twice gets one answer.
function ends.put_outcome(self, id, record, ttl_ms)
  local before = ends.get_outcome(self, id)
  assert(not before, "a second outcome")
  ends.keep(self, id, record, ttl_ms)
end

--- Writes an outcome, or what stands beside it.
function ends.keep(self, id, record, ttl_ms, beside)
  state.kept(self, self.chunks, id:sub(1, 19))
  local key = id:sub(1, 19)
  local chunk = self.chunks[key] or { records = {}, until_ms = 0 }
  self.chunks[key] = chunk
  chunk.records[id:sub(20) .. (beside or "")] = record
  if chunk.until_ms < self.now + ttl_ms then
    chunk.until_ms = self.now + ttl_ms + math.min(ttl_ms // 64, TTL_SLACK_MS)
  end
end

--- An outcome as it is told: of a large one only that it is there.
function ends.inline(record)
  return #record <= INLINE_BYTES_MAX and record or ">"
end

--- Tells who waits for a task how it ended.
function ends.tell(self, id, record)
  local item = id .. ends.inline(record)
  for _, inbox in ipairs(self.waits[id] or {}) do
    local box = state.kept(self, self.inboxes, inbox) or {}
    self.inboxes[inbox] = box
    box[#box + 1], box.until_ms = item, self.now + state.HOUR_MS
  end
  self.waits[id] = nil
end

--- Notes what happened to a task.
function ends.note(self, task, letter, who, record)
  local id = task.parts.id
  local past = state.kept(self, self.pasts, id) or {}
  self.pasts[id] = past
  past[#past + 1] = string.pack(">I8", self.now) .. letter .. who
    .. (#record <= PAST_RECORD_BYTES_MAX and record or "")
  if #past > PAST_MAX then
    table.remove(past, 1)
  end
  past.until_ms = self.now + state.WEEK_MS
  task.parts.flags = task.parts.flags | HAS_PAST
end

--- Notes which tasks a task has sent, the first 1,000.
function ends.note_kin(self, parent, children, ttl_ms)
  for _, id in ipairs(children) do
    local before = ends.get_outcome(self, parent, "k") or ""
    if #before < KIN_MAX * #parent then
      ends.keep(self, parent, before .. id, ttl_ms, "k")
      ends.keep(self, id, parent, ttl_ms, "p")
    end
  end
end

-- Of one that was retried and kept its outcome the attempts are kept as long.
local function close_past(self, task, record)
  local parts = task.parts
  local past = state.kept(self, self.pasts, parts.id)
  if not past then
    return
  elseif record:sub(1, 1) == "F" then
    past.until_ms = self.now + state.WEEK_MS
  elseif parts.attempt > 0 and parts.flags % 2 == 0 and parts.ttl_s > 0 then
    past.until_ms = self.now + parts.ttl_s * 1000
  else
    self.pasts[parts.id] = nil
  end
end

--- A task is no more.
function ends.ended(self, task, record)
  self.tasks[task.parts.id], self.said[task.parts.id] = nil, nil
  ends.tell(self, task.parts.id, record)
  close_past(self, task, record)
  unique.unlock(self, task.parts.id)
  local name = state.kept(self, self.names, task.parts.alias)
  if name then
    name.until_ms = self.now + math.max(task.parts.ttl_s * 1000, 1)
  end
end

--- Forgets one of the dead.
function ends.drop_dead(self, id)
  self.dead[id], self.pasts[id] = nil, nil
end

--- How many bytes the dead are.
function ends.dead_bytes(self)
  local total = 0
  for _, death in pairs(self.dead) do
    total = total + #death.bytes + #death.record
  end
  return total
end

--- The dead of a time from one to another, the oldest first.
function ends.dead_between(self, from, to)
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

--- Forgets those of the dead that are too old, or too many.
function ends.trim_dead(self)
  for _, id in ipairs(state.too_old(self, self.dead, state.TRIMMED_MAX)) do
    ends.drop_dead(self, id)
  end
  local total = ends.dead_bytes(self)
  for _, id in ipairs(ends.dead_between(self, 0, self.now)) do
    if total <= self.dead_bytes_max then
      break
    end
    total = total - #self.dead[id].bytes - #self.dead[id].record
    ends.drop_dead(self, id)
  end
end

--- Ends a task with its outcome.
function ends.settle(self, task, record, counter)
  local parts, letter = task.parts, record:sub(1, 1)
  if parts.flags % 2 == 0 and parts.ttl_s > 0 then
    ends.put_outcome(self, parts.id, record, parts.ttl_s * 1000)
  end
  ends.ended(self, task, record)
  if letter == "F" then
    self.dead[parts.id] =
      { at = self.now, record = record, bytes = task.bytes, parts = parts }
    ends.trim_dead(self)
  end
  queues.count(self, parts.queue, counter or COUNTER_OF[letter])
end

--- Forgets who has waited too long.
function ends.trim_waits(self, limit)
  for _, id in ipairs(state.too_old(self, self.waits, limit)) do
    self.waits[id] = nil
  end
end

--- Ends what was revoked while it stood in a ready list.
function ends.drop_revoked(self, task)
  self.tombstones[task.parts.id] = nil
  queues.count(self, task.parts.queue, "revoked")
  ends.ended(self, task, "-")
end

return ends
