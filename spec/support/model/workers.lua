--- `te1_register`, `te1_describe` and `te1_heartbeat` of a model.
-- @module spec.support.model.workers

local ends = require("spec.support.model.ends")
local handover = require("spec.support.model.handover")
local leases = require("spec.support.model.leases")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")

local workers = {}

local function report(self, wid, names)
  local foreign, whose = 0, ""
  for _, other in ipairs(state.keys_of(self.workers)) do
    local deadline = self.workers[other].deadline
    if other ~= wid and (whose == "" or deadline < foreign) then
      foreign, whose = deadline, other
    end
  end
  local work = 0
  for _, name in ipairs(names) do
    work = queues.has_work(self, name) and 1 or work
  end
  local due = queues.due(self)[1]
  return { self.now, due and due.when or 0, work, foreign, whose,
    self.workers[wid].handed or 0 }
end

local function describe(self, wid, description, names)
  local worker = self.workers[wid]
  worker.description, worker.queues = description, names
  for _, name in ipairs(names) do
    queues.of(self, name)
  end
  return report(self, wid, names)
end

function workers.register(self, wid, lease_ms, description, ...)
  self.workers[wid] = self.workers[wid] or { held = {}, asked = {} }
  self.workers[wid].deadline = self.now + lease_ms
  handover.take_back_from_others(self, wid)
  return describe(self, wid, description, { ... })
end

function workers.describe(self, wid, lease_ms, description, ...)
  if not leases.renew(self, wid, lease_ms) then
    return leases.FENCED
  end
  return describe(self, wid, description, { ... })
end

function workers.heartbeat(self, wid, lease_ms, ...)
  if not leases.renew(self, wid, lease_ms) then
    return leases.FENCED
  end
  ends.trim_dead(self)
  ends.trim_waits(self, state.TRIMMED_MAX)
  if not queues.any_ready(self) then
    self.tombstones = {}
  end
  local reply, asked = report(self, wid, { ... }), self.workers[wid].asked
  reply[#reply + 1] = {}
  for i, field in ipairs(state.keys_of(asked)) do
    reply[#reply][i] = asked[field].mode .. field
  end
  return reply
end

return workers
