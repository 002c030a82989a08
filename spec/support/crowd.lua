--- Workers and clients of one shard, over connections that lose requests,
-- lose replies, and deliver both late and twice.
--
-- Everything is drawn from a seed and happens in virtual time. Each request
-- that Redis carries out is told to a model (`spec.support.model`) too, and
-- the replies must agree. Workers and clients know only what was answered, and
-- behave as docs/protocol.md asks of them.
-- @module spec.support.crowd

local crowd_client = require("spec.support.crowd_client")
local crowd_worker = require("spec.support.crowd_worker")
local envelope = require("spec.support.envelope")
local model = require("spec.support.model")
local random = require("spec.support.fake_redis.random")
local shard = require("spec.support.shard")

local crowd = {}

local Crowd = {}
Crowd.__index = Crowd

local QUEUES <const> = { "a", "b" }
local HISTORY_MAX <const> = 40
local KNOWN_MAX <const> = 60
local REVOKED <const> = "R\x80"
local LETTERS <const> =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

--- A crowd.
-- @tparam table opts `seed`; `workers` and `clients`: how many; `forgets`:
-- days may pass, so that times to live end; `limits`: as for
-- @{spec.support.shard.new}; `record`: called with the name and arguments of
-- each call and its reply, or nil and the error
-- @treturn Crowd
function crowd.new(opts)
  local s = shard.new(opts.seed, opts.limits)
  local self = setmetatable({
    shard = s,
    model = model.new(s:now(), opts.limits),
    chance = random.new(opts.seed),
    forgets = opts.forgets,
    record = opts.record or function() end,
    late = {}, -- requests that are still to come
    known = {}, -- ids to ask about
    doubtful = {}, -- envelopes that may have been enqueued
    history = {},
    steps = 0,
    names = 0,
    handed = 0, -- how many tasks workers took out of their bells
    doubles = 0, -- how many were not made, beside one that was like them
    asked = 0, -- how many they ended because they were asked to
    newer = 0,
    dead = {}, -- ids and times of death that were listed, by turns
    dropped = {}, -- queue to the number of tasks for newer workers
    workers = {},
    clients = {},
  }, Crowd)
  function self.model.handed_to(id)
    return self:handed_to(id)
  end
  for i = 1, opts.workers do
    self.workers[i] = crowd_worker.new(self)
  end
  for i = 1, opts.clients do
    self.clients[i] = crowd_client.new(self, i)
  end
  return self
end

-- Chance.

function Crowd:upto(n)
  return self.chance:upto(n)
end

function Crowd:one_in(n)
  return self.chance:upto(n) == 1
end

function Crowd:pick(list)
  return self.chance:pick(list)
end

-- 12 characters, never drawn twice.
function Crowd:name()
  self.names = self.names + 1
  local at = self:upto(#LETTERS)
  return ("%s%05d%06d"):format(LETTERS:sub(at, at), self:upto(99999),
    self.names)
end

-- Requests.

local function show(value)
  if type(value) ~= "table" then
    local text = ("%q"):format(value):gsub("\\?[^%g ]", ".")
    return #text > 60 and text:sub(1, 28) .. "..." .. text:sub(-28) or text
  end
  local parts = {}
  for i, item in ipairs(value) do
    parts[i] = show(item)
  end
  return "{" .. table.concat(parts, " ") .. "}"
end

local function is_same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for i = 1, math.max(#a, #b) do
    if not is_same(a[i], b[i]) then
      return false
    end
  end
  return true
end

function Crowd:note(text)
  local history = self.history
  history[#history + 1] = text
  if #history > HISTORY_MAX then
    table.remove(history, 1)
  end
end

-- Redis carries out a request.
function Crowd:carry_out(name, args)
  self.model.now = self.shard:now()
  local reply, problem = self.shard:try(name, table.unpack(args))
  local due = self.model:call(name, table.unpack(args))
  if name == "holds" then
    local handed = table.remove(reply, 1)
    table.sort(reply)
    table.insert(reply, 1, handed)
  elseif name == "heartbeat" and reply and reply[7] then
    table.sort(reply[7], function(a, b)
      return a:sub(2) < b:sub(2)
    end)
  end
  self:note(("%d %s %s -> %s"):format(self.shard:now(), name, show(args),
    show(problem or reply)))
  self.record(name, args, reply, problem)
  if problem and not due.err or not problem and not is_same(reply, due) then
    error(("%s: %s is due"):format(name, show(due)), 0)
  end
  return reply
end

-- Sends a request. Returns the reply, or nil when the connection was lost:
-- with the reply, or with the request, which may come later.
function Crowd:request(name, ...)
  local args = { ... }
  local fate = self.is_reliable and 25 or self:upto(25)
  if fate == 1 then
    self.late[#self.late + 1] = { name, args }
    self:note(("%s %s is lost"):format(name, show(args)))
    return nil
  elseif fate == 2 then
    self.late[#self.late + 1] = { name, args }
  end
  local reply = self:carry_out(name, args)
  return fate ~= 3 and reply or nil
end

function Crowd:deliver_late()
  local request = table.remove(self.late, self:upto(#self.late))
  self:carry_out(request[1], request[2])
end

function Crowd:remember(id)
  local known = self.known
  if #known == KNOWN_MAX then
    table.remove(known, self:upto(KNOWN_MAX))
  end
  known[#known + 1] = id
end

-- Ids to ask about: of tasks, of callers, of nobody.
function Crowd:draw_ids()
  local ids = {}
  for i = 1, self:upto(3) do
    ids[i] = self.known[1] and not self:one_in(10) and self:pick(self.known)
      or self:one_in(2) and "name" .. self:upto(30)
      or envelope.id(self:name(), 1)
  end
  return ids
end

--- Deals with the dead: lists them, looks at some, or at times takes one back
-- or away, of which others may have heard meanwhile.
function Crowd:visit_dead()
  local dead, what = self.dead, self:upto(5)
  if what <= 2 or not dead[1] then
    local from = self:pick { "-inf", "-" .. self:upto(60000) }
    self.dead = self:request("dead", from, "+inf", self:upto(20)) or dead
    return
  end
  local at = 2 * self:upto(#dead // 2) - 1
  local id, died = dead[at], self:one_in(5) and "" or dead[at + 1]
  if what == 3 then
    self:request("dead_read", self:pick { "0", "1" }, id,
      table.unpack(self:draw_ids()))
  elseif what == 4 then
    self:request("requeue", id, died, self:draw_ids()[1], "")
  else
    self:request("delete", id, died)
  end
end

--- To whom a task was just handed over, as Redis has it.
-- @tparam string id
-- @treturn[1] string the worker
-- @treturn[1] int the number of the delivery
-- @treturn[2] nil
function Crowd:handed_to(id)
  for wid in pairs(self.model.workers) do
    for _, field in ipairs(self.shard:redis("HKEYS", "f:" .. wid)) do
      if field:sub(1, 20) == id then
        return wid, (string.unpack(">I4", field, 21))
      end
    end
  end
end

-- Takes what has come to an inbox. Returns whether a bell rang, and what else
-- was in it.
function Crowd:hear(inbox)
  self.model.now = self.shard:now()
  local outcomes, rings = {}, false
  for _, item in ipairs(self.shard:heard(inbox)) do
    rings = rings or item == ""
    outcomes[#outcomes + 1] = item ~= "" and item or nil
  end
  local due = self.model:heard(inbox)
  if not is_same(outcomes, due) then
    error(("%s: %s came, %s is due"):format(inbox, show(outcomes), show(due)),
      0)
  end
  return rings, outcomes
end

-- Time.

function Crowd:advance(ms)
  self.shard:advance(ms)
  self.model.now = self.shard:now()
  self:note(("time passes: %d ms"):format(ms))
end

-- What is under way does not outlive a week.
function Crowd:sleep_for_days()
  self.late, self.doubtful = {}, {}
  for _, client in ipairs(self.clients) do
    client:renew()
  end
  self:advance(self:upto(3) * 4 * 86400000)
end

function Crowd:let_time_pass()
  if self.forgets and self:one_in(600) then
    self:sleep_for_days()
  elseif self:one_in(60) then
    self:advance(self:upto(20000))
  else
    self:advance(self:upto(60))
  end
end

function Crowd:intrude()
  local queue = self:pick(QUEUES)
  local bytes = self:pick { "", "rubbish", ("\0"):rep(200) }
  if self.shard:redis("EXISTS", "s:" .. queue) == 1 then
    self.shard:redis("RPUSH", "r:" .. queue, bytes)
    self.model:intrude(queue, bytes)
    self.record("RPUSH", { "r:" .. queue, bytes })
  end
end

--- One thing happens.
function Crowd:step()
  self.steps = self.steps + 1
  local what = self:upto(100)
  if what <= 60 then
    self:pick(self.workers):step()
  elseif what <= 80 then
    self:pick(self.clients):step()
  elseif what <= 86 and self.late[1] then
    self:deliver_late()
  elseif what == 87 then
    self:request("promote", self:upto(3))
  elseif what == 88 and self:one_in(10) then
    self:intrude()
  elseif what == 89 or what == 90 then
    self:visit_dead()
  else
    self:let_time_pass()
  end
end

-- The end.

-- What only a newer worker could take.
local function drop_newer(self)
  for id, task in pairs(self.model.tasks) do
    assert(task.parts.version > 1, "a task is left over")
    if task.place == "prioritised" then
      self:carry_out("cancel", { REVOKED, 1, id })
    end
  end
  for _, queue in ipairs(QUEUES) do
    self.dropped[queue] = self.shard:redis("LLEN", "r:" .. queue)
    self.shard:redis("DEL", "r:" .. queue)
    self.model.queues[queue][0] = {}
  end
  self.model.tasks = {}
end

--- Lets all requests arrive and all workers die but one, which does what is
-- left; then lets so much time pass that nothing is remembered.
function Crowd:finish()
  self.is_reliable = true
  while self.late[1] do
    self:deliver_late()
  end
  local last = self.workers[1]
  last.phase = "out"
  last:start()
  last.queues = QUEUES
  last:start()
  local idle = 0
  while idle < 10 do
    idle = last:drain() == 0 and idle + 1 or 0
    self:advance(5000)
    last:heartbeat()
  end
  drop_newer(self)
  self:advance(8 * 86400000)
  repeat
    last:heartbeat()
  until not next(self.model.dead) and not next(self.model.waits)
  last:leave()
  self:advance(8 * 86400000)
end

return crowd
