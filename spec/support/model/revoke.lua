--- `te1_cancel` and `te1_revoke` of a model.
-- @module spec.support.model.revoke

local ends = require("spec.support.model.ends")
local ids = require("spec.support.model.ids")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")
local unique = require("spec.support.model.unique")

local revoke = {}

-- Who holds a task, and its field there.
local function holder(self, id)
  for wid, worker in pairs(self.workers) do
    for field, task in pairs(worker.held) do
      if task.parts.id == id then
        return wid, worker, field
      end
    end
  end
end

-- The first outcome stays; only the kill may come later.
local function request(self, id, record, mode)
  local wid, worker, field = holder(self, id)
  local before = worker.asked[field]
  if before and (mode ~= "t" or before.mode == "t") then
    return
  end
  worker.asked[field] =
    { mode = mode, record = before and before.record or record }
  local box = state.kept(self, self.inboxes, "b:" .. wid) or {}
  self.inboxes["b:" .. wid] = box
  box[#box + 1] = "~" .. mode .. field
end

local function revoke_one(self, id, record, ttl_s, mode)
  local task = self.tasks[id] or {}
  if ends.get_outcome(self, id) or self.dead[id] then
    return "finished"
  elseif queues.is_kept_by_id(task) then
    queues.take_waiting(self, task)
    ends.ended(self, task, record)
    queues.count(self, task.parts.queue, "revoked")
  elseif not ids.was_enqueued(self, id) then
    return "unknown"
  elseif task.place == "in flight" and mode == "w" then
    return "running"
  elseif task.place == "in flight" then
    request(self, id, record, mode)
    return "asked"
  elseif not queues.any_ready(self) then
    return "finished"
  else
    self.tombstones[id] = self.now
    unique.unlock(self, id)
    ends.tell(self, id, record)
  end
  ends.put_outcome(self, id, record, ttl_s * 1000)
  return "revoked"
end

function revoke.revoke(self, record, ttl_s, mode, ...)
  local reply = {}
  for i, any in ipairs { ... } do
    reply[i] = revoke_one(self, ids.resolve(self, any), record, ttl_s, mode)
  end
  return reply
end

function revoke.cancel(self, record, ttl_s, ...)
  return revoke.revoke(self, record, ttl_s, "w", ...)
end

return revoke
