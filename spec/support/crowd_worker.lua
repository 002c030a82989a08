--- A worker of a crowd. It keeps to what docs/protocol.md asks of one.
-- @module spec.support.crowd_worker

local envelope = require("spec.support.envelope")

local crowd_worker = {}

--- A worker. Its `phase` is `out` (no process), `joining`, `up`, or `down`
-- (it lost its connection and has not recovered); `wakes`: it will fetch.
-- @type Worker
local Worker = {}
Worker.__index = Worker

local LEASE_MS <const> = 15000
local SLOTS <const>, FIELD_BYTES <const> = 5, 24
local HANDED_FIRST <const> = 1 << 31
local NO_RESULT <const>, HAS_PAST <const> = 1, 16
local NO_DIGEST <const> = ("\0"):rep(16)
local FAILURE <const>, REVOKED <const> = "F\x81\xa4kind\xa1x", "R\x80"

--- A host for one worker after the other.
-- @tparam Crowd crowd
-- @treturn Worker
function crowd_worker.new(crowd)
  return setmetatable({ crowd = crowd, phase = "out", ghosts = {} }, Worker)
end

local function reset(self)
  self.held, self.ended = {}, {}
  self.number, self.wakes, self.sleeps = self.crowd:upto(3) - 1, true, false
  self.handed = HANDED_FIRST
end

--- How many tasks more a worker could take.
-- @treturn int
function Worker:room()
  local room = SLOTS - #self.ended
  for _ in pairs(self.held) do
    room = room - 1
  end
  return room
end

--- Whether a worker knows of a task that it has in flight.
-- @tparam string field
-- @treturn boolean
function Worker:knows(field)
  for _, task in ipairs(self.ended) do
    if task.field == field then
      return true
    end
  end
  return self.held[field] ~= nil
end

--- Takes a lease under a new name.
function Worker:start()
  local c = self.crowd
  if self.phase == "out" then
    self.wid, self.phase = c:name(), "joining"
    self.queues = c:pick { { "a", "b" }, { "b", "a" }, { "a" }, { "b" } }
    reset(self)
  end
  if c:request("register", self.wid, LEASE_MS, "", table.unpack(self.queues))
  then
    self.phase = "up"
  end
end

-- Returns nil when the worker has to recover, and when it was told FENCED:
-- others have its tasks.
local function request(self, name, ...)
  local reply = self.crowd:request(name, self.wid, ...)
  if not reply then
    self.phase = "down"
  elseif type(reply) == "table" and reply[1] == "FENCED" then
    self.phase = "out"
    return nil
  end
  return reply
end

--- After a lost connection: does it have its lease, and what does it hold?
function Worker:recover()
  local reply = request(self, "heartbeat", LEASE_MS, table.unpack(self.queues))
  local fields = reply and request(self, "holds", self.number)
  if not fields then
    return
  end
  self.handed = tonumber(fields[1])
  for _, field in ipairs(fields) do
    if #field == FIELD_BYTES and not self:knows(field) then
      table.insert(self.ended, { field = field, op = "h" })
    end
  end
  self.phase, self.wakes, self.sleeps = "up", true, true
end

--- Fetches when it is awake and has room.
function Worker:fetch()
  local c, room = self.crowd, self:room()
  if not self.wakes or room < 1 then
    return
  end
  local want = c:upto(room)
  self.number = self.number + 1
  local queues = self.queues
  if c:one_in(2) then
    queues = { queues[2] or queues[1], queues[2] and queues[1] }
  end
  local reply = request(self, "fetch", LEASE_MS, want, self.number,
    (self.sleeps and 1 or 0) | (c.forgets and 2 or 0), table.unpack(queues))
  if reply then
    for i = 3, #reply do
      local field = envelope.field(reply[i], self.number)
      self.held[field] =
        { parts = envelope.read(reply[i]), has_begun = c:one_in(2) }
    end
    self.wakes = #reply - 2 == want
    self.sleeps = not self.wakes
  end
end

local function sorted_fields(held)
  local fields = {}
  for field in pairs(held) do
    fields[#fields + 1] = field
  end
  table.sort(fields)
  return fields
end

-- Whether a success of it may be told together with others.
local function goes_together(parts)
  return parts.alias == "" and parts.digest == NO_DIGEST
    and parts.flags & HAS_PAST == 0
end

-- What is said of a task that is to run again.
local function draw_verdict(c, parts)
  local body = c:one_in(4) and parts.body .. "+" or ""
  if c:one_in(3) then
    return string.pack(">I8Bs4", c:upto(200), 0, body)
  elseif c:one_in(4) then
    return string.pack(">I8Bs4", c.model.now + c:upto(200) - 100, 3, body)
      .. FAILURE
  end
  return string.pack(">I8Bs4", c:one_in(3) and 0 or c:upto(200), 1, body)
    .. (c:one_in(3) and "" or FAILURE)
end

-- Operations, as often as they come; `s`: it succeeds.
local ENDS <const> = { "s", "s", "s", "s", "s", "s", "o", "l", "n", "b", "h",
  "h", "r", "r" }

-- How a task ends that begins now or has begun.
local function draw_end(c, parts)
  local how = c:pick(ENDS)
  if how == "s" then
    local plain = goes_together(parts) and not c:one_in(5)
    return plain and "plain" or "o", "S" .. parts.body
  elseif how == "o" then
    return "o", c:one_in(2) and FAILURE or REVOKED
  elseif how == "r" then
    return "r", draw_verdict(c, parts)
  end
  return how, (how == "l" or how == "n") and FAILURE or nil
end

--- Begins or ends a task.
function Worker:work()
  local c, fields = self.crowd, sorted_fields(self.held)
  if not fields[1] then
    return
  end
  local field = c:pick(fields)
  local task = self.held[field]
  if not task.has_begun then
    task.has_begun = true
  else
    self.held[field] = nil
    local op, record = draw_end(c, task.parts)
    table.insert(self.ended, { field = field, op = op, record = record,
      parts = task.parts })
  end
end

--- A task that has begun says something of itself.
function Worker:say()
  local c, fields = self.crowd, sorted_fields(self.held)
  if fields[1] then
    local field = c:pick(fields)
    local parts = self.held[field].parts
    parts.flags = parts.flags | HAS_PAST
    request(self, "finish", LEASE_MS, "p", field,
      "\x81\xa1s\xa1" .. c:pick { "A", "B" })
  end
end

-- What successes must have in common to go together; nil for what goes on its
-- own: all else, and what was told once in vain.
local function kind_of(task)
  if task.op ~= "plain" or task.told then
    return nil
  end
  local parts = task.parts
  local keeps = parts.flags & NO_RESULT == 0
  return ("%s %s %d"):format(keeps and "s" or "d", parts.queue, parts.ttl_s)
end

-- Appends the operation that some tasks of one kind make together.
local function add_run(args, tasks, first, last)
  local parts = tasks[first].parts
  local keeps = parts.flags & NO_RESULT == 0
  local head = keeps and { "s", parts.queue, parts.ttl_s, last - first + 1 }
    or { "d", parts.queue, last - first + 1 }
  table.move(head, 1, #head, #args + 1, args)
  for i = first, last do
    args[#args + 1] = tasks[i].field
    args[#args + 1] = keeps and tasks[i].record or nil
  end
end

-- The operations of te1_finish for some ended tasks.
local function operations(tasks)
  local args, i = {}, 1
  while tasks[i] do
    local task, kind, last = tasks[i], kind_of(tasks[i]), i
    if kind then
      while tasks[last + 1] and kind_of(tasks[last + 1]) == kind do
        last = last + 1
      end
      add_run(args, tasks, i, last)
    else
      local op = task.op == "plain" and "o" or task.op
      table.move({ op, task.field, task.record }, 1, 3, #args + 1, args)
    end
    i = last + 1
  end
  return args
end

--- Tells how tasks ended.
function Worker:finish()
  if not self.ended[1] and not self.crowd:one_in(10) then
    return
  end
  local n = self.crowd:upto(SLOTS)
  local tasks = table.move(self.ended, 1, n, 1, {})
  local args = operations(tasks)
  for _, task in ipairs(tasks) do
    task.told = true
  end
  if request(self, "finish", LEASE_MS, table.unpack(args)) then
    self.ended = table.move(self.ended, n + 1, #self.ended, 1, {})
  end
end

-- Tasks that were handed to it by the last time, and did not come since, are
-- lost on the way.
local function compare_handed(self, handed)
  if handed > self.handed then
    if self.missed and self.handed < self.missed then
      self.phase = "down"
    end
    self.missed = handed
  end
end

--- Is asked to end a task: one that has not begun never does, another may go
-- on for a while.
-- @tparam string asked a mode and a field
function Worker:hear_request(asked)
  local c, mode, field = self.crowd, asked:sub(1, 1), asked:sub(2)
  local task = self.held[field]
  if task and (mode == "t" or not task.has_begun or c:one_in(2)) then
    c.asked = c.asked + 1
    self.held[field] = nil
    table.insert(self.ended, { field = field, op = "o", record = REVOKED,
      parts = task.parts })
  end
end

--- Renews the lease, and reaps a worker whose lease has ended.
function Worker:heartbeat()
  local c = self.crowd
  local reply = request(self, "heartbeat", LEASE_MS, table.unpack(self.queues))
  if not reply then
    return
  end
  self.wakes = self.wakes or reply[3] == 1
  compare_handed(self, reply[6])
  for _, asked in ipairs(reply[7]) do
    self:hear_request(asked)
  end
  if reply[5] ~= "" and reply[4] <= reply[1] then
    c:request("reap", reply[5], "0", FAILURE, "-")
  end
end

--- Takes tasks that were handed over. One that it should have got before is
-- lost or was taken back.
-- @tparam {string,...} items what came out of its bell
function Worker:take_handed(items)
  for _, item in ipairs(items) do
    local number = item:sub(1, 1) == "!" and string.unpack(">I4", item, 2)
    if number and number > self.handed then
      if number > self.handed + 1 then
        self.phase = "down"
      end
      self.handed = number
      self.crowd.handed = self.crowd.handed + 1
      local bytes = item:sub(6)
      self.held[envelope.field(bytes, number)] =
        { parts = envelope.read(bytes), has_begun = self.crowd:one_in(2) }
    end
  end
end

--- Takes what has come to its bell; that connection may break too.
function Worker:listen()
  local c = self.crowd
  if c.forgets then
    local rings, items = c:hear("b:" .. self.wid)
    if c:one_in(30) then
      self.phase = "down"
    else
      self:take_handed(items)
      for _, item in ipairs(items) do
        if item:sub(1, 1) == "~" then
          self:hear_request(item:sub(2))
        end
      end
    end
    self.wakes = self.wakes or rings
  end
end

--- One of its tasks waits for others.
function Worker:await()
  local c = self.crowd
  c:request("await", "b:" .. self.wid, table.unpack(c:draw_ids()))
end

--- Dies. What had begun is known on its host.
function Worker:crash()
  local begun = {}
  for _, field in ipairs(sorted_fields(self.held)) do
    begun[#begun + 1] = self.held[field].has_begun and field or nil
  end
  for _, task in ipairs(self.ended) do
    begun[#begun + 1] = task.parts and task.field or nil
  end
  table.insert(self.ghosts, { wid = self.wid, begun = begun })
  self.phase = "out"
end

--- A process of the same host knows that another is dead.
function Worker:reap_ghost()
  local ghost = table.remove(self.ghosts)
  if ghost then
    self.crowd:request("reap", ghost.wid, "1", FAILURE,
      table.unpack(ghost.begun))
  end
end

--- Hands everything back, and leaves when nothing is left.
function Worker:leave()
  for _, field in ipairs(sorted_fields(self.held)) do
    table.insert(self.ended, { field = field, op = "h" })
    self.held[field] = nil
  end
  if self.ended[1] then
    self:finish()
  elseif request(self, "leave") == 0 then
    self.phase = "down"
  else
    self.phase = "out"
  end
end

local UP <const> = {
  { 8, "fetch" },
  { 9, "work" },
  { 6, "finish" },
  { 2, "heartbeat" },
  { 6, "listen" },
  { 1, "await" },
  { 2, "say" },
}
local UP_SUM <const> = 34

-- Draws one of what a worker does while all is well.
local function draw_action(c)
  local at = c:upto(UP_SUM)
  for _, entry in ipairs(UP) do
    at = at - entry[1]
    if at <= 0 then
      return entry[2]
    end
  end
end

--- Does one thing.
function Worker:step()
  local c = self.crowd
  if self.phase == "out" and self.ghosts[1] and c:one_in(2) then
    self:reap_ghost()
  elseif self.phase == "out" then
    self:start()
  elseif c:one_in(150) then
    self:crash()
  elseif self.phase == "joining" then
    self:start()
  elseif self.phase == "down" then
    self:recover()
  elseif c:one_in(150) then
    self:leave()
  else
    self[draw_action(c)](self)
  end
end

--- Does all there is, once.
-- @treturn int how many tasks it was
function Worker:drain()
  self.wakes = true
  self:fetch()
  local fields = sorted_fields(self.held)
  for _, field in ipairs(fields) do
    local parts = self.held[field].parts
    table.insert(self.ended, { field = field, parts = parts,
      op = goes_together(parts) and "plain" or "o", record = "S\x01" })
  end
  request(self, "finish", LEASE_MS, table.unpack(operations(self.ended)))
  self.held, self.ended = {}, {}
  return #fields
end

return crowd_worker
