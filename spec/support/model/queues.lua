--- The queues of a model: what is ready, what is due, what is counted.
-- @module spec.support.model.queues

local envelope = require("spec.support.envelope")
local state = require("spec.support.model.state")

local queues = {}

--- A queue, which is there from when it is first named.
function queues.of(self, name)
  local queue = self.queues[name]
  if not queue then
    queue = { counters = {} }
    for level = 0, 9 do
      queue[level] = {}
    end
    self.queues[name] = queue
  end
  return queue
end

--- Counts one more.
function queues.count(self, queue, counter)
  local counters = queues.of(self, queue).counters
  counters[counter] = (counters[counter] or 0) + 1
end

--- Writes a task's envelope anew.
function queues.pack(task)
  task.bytes = envelope.new(task.parts)
end

--- Puts a task behind those that are ready, or before them all.
function queues.make_ready(self, task, first)
  local level = queues.of(self, task.parts.queue)[task.parts.priority]
  table.insert(level, first and 1 or #level + 1, task)
  task.place = task.parts.priority > 0 and "prioritised" or "ready"
end

--- Puts a task among those that are due later.
function queues.make_due(self, task, when)
  task.place, task.when = "due", when
  self.due[task.parts.id] = task
end

--- What is due later, in order.
function queues.due(self)
  local list = {}
  for _, task in pairs(self.due) do
    list[#list + 1] = task
  end
  table.sort(list, function(a, b)
    if a.when ~= b.when then
      return a.when < b.when
    end
    return a.parts.id < b.parts.id
  end)
  return list
end

--- Makes ready what is due; tells when the next one is.
function queues.promote(self, limit)
  local list = queues.due(self)
  for i, task in ipairs(list) do
    if i > limit or task.when > self.now then
      return task.when
    end
    self.due[task.parts.id] = nil
    queues.make_ready(self, task)
  end
  return 0
end

--- Whether anything is ready in a queue.
function queues.has_work(self, name)
  local queue = self.queues[name]
  for level = 0, 9 do
    if queue and #queue[level] > 0 then
      return true
    end
  end
  return false
end

--- Whether a task without priority is ready in any queue.
function queues.any_ready(self)
  for _, queue in pairs(self.queues) do
    if #queue[0] > 0 then
      return true
    end
  end
  return false
end

--- Whether a task waits where it is found by its id.
function queues.is_kept_by_id(task)
  return task.place == "due" or task.place == "prioritised"
end

--- Takes a task out of where it waits.
function queues.take_waiting(self, task)
  self.due[task.parts.id] = nil
  local level = queues.of(self, task.parts.queue)[task.parts.priority]
  for i, other in ipairs(level) do
    if other == task then
      table.remove(level, i)
    end
  end
end

-- Whether a task is looked at behind (at, id). Those of the same time are when
-- that one has left its place.
local function is_behind(self, task, at, id)
  local last = self.due[id]
  if at == "" or task.when ~= tonumber(at) then
    return at == "" or task.when > tonumber(at)
  end
  return not (last and last.when == tonumber(at)) or task.parts.id > id
end

--- At most `limit` of the due set, and whether there is more.
function queues.due_after(self, limit, at, id)
  local out = {}
  for _, task in ipairs(queues.due(self)) do
    if #out < limit and is_behind(self, task, at, id) then
      out[#out + 1] = task
    end
  end
  return out, #out == limit and 1 or 0
end

--- Keeps what is no task for somebody to look at.
function queues.set_aside(self, task)
  local malformed = state.kept(self, self, "malformed") or {}
  table.insert(malformed, 1, task.bytes)
  malformed.until_ms, self.malformed = self.now + state.WEEK_MS, malformed
end

return queues
