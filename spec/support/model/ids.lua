--- Who a task is: what was enqueued before, and by which name.
-- @module spec.support.model.ids

local envelope = require("spec.support.envelope")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")

local ids = {}

--- The last number of a producer, and whether it may enqueue no more.
function ids.producer(self, producer)
  local known = state.kept(self, self.producers, producer)
  return known and known.last or 0, known ~= nil and known.retired
end

--- Whether it is known that a task was enqueued.
function ids.was_enqueued(self, id)
  local number = envelope.number(id)
  local task = self.tasks[id]
  return number and number > 0 and number <= ids.producer(self, id:sub(1, 12))
    or task and queues.is_kept_by_id(task)
    or self.dead[id] ~= nil
    or state.kept(self, self.names, id) ~= nil
end

--- The id that a caller's id stands for.
function ids.resolve(self, id)
  local name = not envelope.number(id) and state.kept(self, self.names, id)
  return name and name.id or id
end

return ids
