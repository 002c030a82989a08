--- `te1_purge` and `te1_purge_due` of a model.
-- @module spec.support.model.purge

local ends = require("spec.support.model.ends")
local queues = require("spec.support.model.queues")

local purge = {}

local function take_out(self, task, record, reply)
  reply[1] = reply[1] + 1
  if not task.parts then
    queues.set_aside(self, task)
    reply[4] = reply[4] + 1
  elseif self.tombstones[task.parts.id] then
    ends.drop_revoked(self, task)
    reply[3] = reply[3] + 1
  else
    ends.settle(self, task, record)
    reply[2] = reply[2] + 1
  end
end

function purge.purge(self, record, limit, name)
  local reply, queue = { 0, 0, 0, 0 }, self.queues[name]
  for level = 9, 0, -1 do
    while queue and reply[1] < limit and queue[level][1] do
      take_out(self, table.remove(queue[level], 1), record, reply)
    end
  end
  return reply
end

function purge.purge_due(self, record, limit, name, at, id)
  local list, more = queues.due_after(self, limit, at, id)
  local purged = 0
  for _, task in ipairs(list) do
    if task.parts.queue == name then
      self.due[task.parts.id] = nil
      ends.settle(self, task, record)
      purged = purged + 1
    else
      at, id = ("%d"):format(task.when), task.parts.id
    end
  end
  return { more, purged, at, id }
end

return purge
