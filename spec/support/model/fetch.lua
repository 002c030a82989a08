--- `te1_fetch` and `te1_promote` of a model.
-- @module spec.support.model.fetch

local envelope = require("spec.support.envelope")
local ends = require("spec.support.model.ends")
local handover = require("spec.support.model.handover")
local leases = require("spec.support.model.leases")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")
local unique = require("spec.support.model.unique")

local fetch = {}

local EXPIRED <const> = "R\x82\xa4kind\xa7Expired\xa7message"
  .. "\xd9\x25expired before a worker could take it"
local UNIQUE_START <const> = 32

-- Whether a worker gets what came out of a queue.
local function deliver(self, task, newer)
  local parts = task.parts
  if not parts then
    queues.set_aside(self, task)
  elseif parts.version > state.VERSION then
    newer[#newer + 1] = task
  elseif self.tombstones[parts.id] then
    ends.drop_revoked(self, task)
  elseif parts.expiry_ms ~= 0 and parts.expiry_ms <= self.now then
    ends.settle(self, task, EXPIRED, "expired")
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
    local queue = queues.of(self, name)
    table.move(queue, 0, 0, #plain + 1, plain)
    for level = 9, 1, -1 do
      urgent[#urgent + 1] = queue[level]
    end
  end
  local got, newer = { bytes = 0 }, {}
  drain(self, urgent, want, got, newer)
  drain(self, plain, want, got, newer)
  for _, task in ipairs(newer) do
    queues.make_ready(self, task)
  end
  return got
end

local function begin(self, worker, task, number)
  task.place = "in flight"
  worker.held[envelope.field(task.bytes, number)] = task
  if task.parts.flags & UNIQUE_START ~= 0 then
    unique.unlock(self, task.parts.id)
  end
end

function fetch.fetch(self, wid, lease_ms, want, number, flags, ...)
  local worker = leases.renew(self, wid, lease_ms)
  if not worker then
    return leases.FENCED
  elseif not leases.advance(worker, number) then
    return { err = "past" }
  end
  local next_due = queues.promote(self, 100)
  if flags & 1 ~= 0 then
    handover.take_back_from_others(self, wid)
  end
  local got, reply = take(self, want, { ... }), { self.now, next_due }
  local sleeps = #got < want and not got.is_full
  if flags & 2 ~= 0 and (sleeps or flags & 1 ~= 0) then
    handover.accept(self, wid, want - #got)
  end
  for i, task in ipairs(got) do
    begin(self, worker, task, number)
    reply[i + 2] = task.bytes
  end
  if sleeps and flags & 1 == 0 then
    handover.take_back_from_others(self, wid)
  end
  return reply
end

function fetch.promote(self, limit)
  return { self.now, queues.promote(self, limit) }
end

return fetch
