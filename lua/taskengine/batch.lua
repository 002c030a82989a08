--- The tasks of one call of te1_enqueue.
--
-- They have consecutive numbers of one producer. Until the batch is sent more
-- can be added; who added one is told how it went.
-- @module taskengine.batch

local core = require("taskengine.core")
local header = require("taskengine.header")

local batch = {}

local TASKS_MAX <const> = 1000
local BYTES_MAX <const> = 4 * 1024 * 1024

--- A batch.
-- @type Batch
-- @tfield int count tasks in it
-- @tfield {string,...} args of te1_enqueue
-- @tfield boolean is_sent
local Batch = {}
Batch.__index = Batch

--- Makes an empty batch.
-- @tparam string producer
-- @tparam int first the number of its first task
-- @treturn Batch
function batch.new(producer, first)
  return setmetatable({
    producer = producer,
    first = first,
    count = 0,
    bytes = 0,
    is_sent = false,
    args = { producer, first, first - 1 },
    groups = 0, -- of kind `g`
    waiting = {},
  }, Batch)
end

--- Whether one more task can be added.
-- @tparam int bytes of its envelope
-- @treturn boolean
function Batch:has_room(bytes)
  return not self.is_sent and self.count < TASKS_MAX
    and self.bytes + bytes <= BYTES_MAX
end

local function counted(self, tasks, bytes)
  self.count, self.bytes = self.count + tasks, self.bytes + bytes
  self.args[3] = self.first + self.count - 1
end

-- The place of the number of tasks in the open group of this queue.
local function open_group(self, queue)
  if self.queue ~= queue then
    local args = self.args
    args[#args + 1], args[#args + 2], args[#args + 3] = "r", queue, 0
    self.queue, self.count_at = queue, #args
  end
  return self.count_at
end

-- Says who sends what follows, when that is another than before.
local function name_parent(self, message, parent)
  if parent ~= self.parent then
    local args = self.args
    args[#args + 1], args[#args + 2] = "c", parent or ""
    args[#args + 1] = message.result_ttl_s
    self.parent, self.queue = parent, nil
  end
end

local function append_plain(self, queue, envelopes)
  local args, at = self.args, open_group(self, queue)
  args[at] = args[at] + #envelopes
  table.move(envelopes, 1, #envelopes, #args + 1, args)
end

local function append_general(self, message, envelopes)
  local args, n = self.args, #self.args
  for _, envelope in ipairs(envelopes) do
    args[n + 1], args[n + 2], args[n + 3] = "g", envelope, message.queue
    args[n + 4], args[n + 5] = message.delay, message.expires
    args[n + 6] = message.unique
    n = n + 6
  end
  self.queue, self.groups = nil, self.groups + #envelopes
end

--- Adds tasks that were packed with the next numbers.
-- @tparam Message message what they are, see @{taskengine.message}
-- @tparam {string,...} envelopes
-- @tparam int bytes of them all
-- @tparam function callback gets the id of the first, whether it was not
-- accepted before, and the ids of all if they are several and not plain; or nil
-- and a problem
-- @tparam ?string inbox where the outcome of a single plain one is to come to
-- @tparam ?string parent the id of the task that sends them
function Batch:add(message, envelopes, bytes, callback, inbox, parent)
  local index = self.count
  name_parent(self, message, parent)
  if message.is_plain then
    if inbox then
      self.queue = nil -- a group of its own
    end
    append_plain(self, message.queue, envelopes)
    self.waiting[#self.waiting + 1] = { callback, index }
    if inbox then
      local args = self.args
      args[#args + 1], args[#args + 2] = "a", inbox
      self.queue = nil
    end
  else
    self.waiting[#self.waiting + 1] =
      { callback, index, self.groups + 1, #envelopes }
    append_general(self, message, envelopes)
  end
  counted(self, #envelopes, bytes)
end

-- Whether a group `g` has an id of another producer's.
local function is_repeat(unique)
  return unique == "i" or unique:find("^l%d*i$") ~= nil
end

-- Calls fn(place, index) for each envelope that has an id of this producer.
local function each_numbered(self, fn)
  local args, i, index = self.args, 4, 0
  while args[i] do
    local from, to, after = i + 1, i + 1, i + 6
    if args[i] == "r" then
      from, to = i + 3, i + 2 + args[i + 2]
      after = to + 1
    elseif args[i] == "a" then
      from, to, after = 1, 0, i + 2
    elseif args[i] == "c" then
      from, to, after = 1, 0, i + 3
    end
    for place = from, to do
      if args[i] == "r" or not is_repeat(args[i + 5]) then
        fn(place, index)
      end
      index = index + 1
    end
    i = after
  end
end

--- Gives the tasks numbers of another producer.
-- @tparam string producer
-- @tparam int first
function Batch:renumber(producer, first)
  local args = self.args
  self.producer, self.first = producer, first
  args[1], args[2], args[3] = producer, first, first + self.count - 1
  each_numbered(self, function(place, index)
    args[place] = core.envelope.id(producer, first + index)
      .. args[place]:sub(header.ID_BYTES + 1)
  end)
end

--- Tells those who wait that all was accepted.
-- @tparam {string,...} ids of its groups `g`, in order
-- @tparam boolean is_first it was not accepted before: outcomes come to inboxes
function Batch:succeed(ids, is_first)
  for _, entry in ipairs(self.waiting) do
    local fn, index, group, count = table.unpack(entry)
    local id = group and ids[group]
      or core.envelope.id(self.producer, self.first + index)
    fn(id, is_first, group and count > 1
      and table.move(ids, group, group + count - 1, 1, {}) or nil)
  end
end

--- Tells those who wait what went wrong.
-- @tparam table problem as @{taskengine.requests} has it
function Batch:fail(problem)
  for _, entry in ipairs(self.waiting) do
    local id = core.envelope.id(self.producer, self.first + entry[2])
    entry[1](nil, problem, id)
  end
end

return batch
