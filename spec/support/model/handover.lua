--- Tasks that are handed to a worker that sleeps, and taken back.
-- @module spec.support.model.handover

local envelope = require("spec.support.envelope")
local ends = require("spec.support.model.ends")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")

local handover = {}

local UNIQUE_START <const> = 32
local FIRST <const> = 1 << 31

--- Redis has handed a task to a worker that sleeps, if it is in flight there.
-- Returns whether it has.
function handover.give(self, task)
  local parts = task.parts
  local wid, number = self.handed_to(parts.id)
  if not wid then
    return false
  end
  local worker, bell = self.workers[wid], "b:" .. wid
  for level = 0, 9 do
    assert(not queues.of(self, parts.queue)[level][1], "it overtakes others")
  end
  assert(state.has(worker.queues, parts.queue),
    "it is handed to somebody else's")
  assert(parts.priority == 0 and parts.version == state.VERSION
    and parts.expiry_ms == 0 and parts.flags & UNIQUE_START == 0,
    "it is for a fetch")
  assert(not state.kept(self, self.inboxes, bell), "nobody listens to the bell")
  worker.handed = worker.handed + 1
  assert(number == worker.handed, "its number is another")
  task.place = "in flight"
  worker.held[envelope.field(task.bytes, number)] = task
  self.inboxes[bell] = { ("!%s%s"):format((">I4"):pack(number), task.bytes) }
  return true
end

--- What lies in a worker's bell, if a task does that it has not read; or false.
function handover.lies_unread(self, wid)
  local box = state.kept(self, self.inboxes, "b:" .. wid)
  return box and box[1]:sub(1, 1) == "!" and box
end

--- From now on tasks may be handed to a worker that has room for so many.
function handover.accept(self, wid, room)
  local worker = self.workers[wid]
  worker.handed = worker.handed or FIRST
  worker.limit = worker.handed + (handover.lies_unread(self, wid) and 0 or room)
end

--- Takes back what lies unread in a worker's bell.
function handover.take_back(self, wid)
  local worker, bell = self.workers[wid], "b:" .. wid
  local box = handover.lies_unread(self, wid)
  if not box then
    return 0
  end
  local item = table.remove(box, 1)
  local field = envelope.field(item:sub(6), (">I4"):unpack(item, 2))
  local task, request = worker.held[field], worker.asked[field]
  worker.held[field], worker.asked[field] = nil, nil
  if request then
    ends.settle(self, task, request.record)
  else
    queues.make_ready(self, task, true)
  end
  if not box[1] then
    self.inboxes[bell] = nil
  end
  return 1
end

--- Takes back what no other worker has read yet.
function handover.take_back_from_others(self, wid)
  for _, other in ipairs(state.keys_of(self.workers)) do
    if other ~= wid and self.workers[other].handed then
      handover.take_back(self, other)
    end
  end
end

return handover
