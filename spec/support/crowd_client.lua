--- A client of a crowd: it enqueues tasks and asks about them.
-- @module spec.support.crowd_client

local envelope = require("spec.support.envelope")

local crowd_client = {}

--- A client. Its `inbox` is where outcomes come to.
-- @type Client
local Client = {}
Client.__index = Client

local QUEUES <const> = { "a", "b" }
local NEWER_MAX <const> = 4
local BUSY_STEPS <const> = 300
local NO_RESULT <const>, LOST_FAILS <const>, UNIQUE_START <const> = 1, 2, 32
local REVOKED <const> = "R\x80"
local NO_DIGEST <const> = ("\0"):rep(16)

--- A new client.
-- @tparam Crowd crowd
-- @tparam int number among the clients
-- @treturn Client
function crowd_client.new(crowd, number)
  local self = setmetatable({
    crowd = crowd,
    inbox = ("a:client%06d"):format(number),
  }, Client)
  self:renew()
  return self
end

--- Goes on as another producer.
function Client:renew()
  self.id, self.last, self.pending = self.crowd:name(), 0, nil
end

-- The parts of a task's envelope.
local function draw_parts(c)
  local no_result, lost_fails = c:one_in(5), c:one_in(7)
  local parts = {
    queue = c:pick(QUEUES),
    priority = c:one_in(3) and c:upto(9) or 0,
    flags = (no_result and NO_RESULT or 0) | (lost_fails and LOST_FAILS or 0),
    ttl_s = c:pick { 3600, 7200 },
    body = "\x91\x91" .. string.char(c:upto(127)),
  }
  if c.newer < NEWER_MAX and c:one_in(300) then
    c.newer, parts.version = c.newer + 1, 2
  end
  return parts
end

local function draw_delay(c)
  if not c:one_in(4) then
    return ""
  end
  return c:one_in(3) and tostring(c.shard:now() + c:upto(600) - 100)
    or "+" .. c:upto(500)
end

-- Makes a task unique: among few, so that others like it are there.
local function draw_lock(c, parts)
  parts.digest = ("digest%010d"):format(c:upto(6))
  if c:one_in(3) then
    parts.flags = parts.flags | UNIQUE_START
  end
  return c:one_in(3) and "l" .. c:upto(30000) or "l"
end

-- The options of a task; a caller's id becomes one of its parts.
local function draw_options(c, parts)
  local opts = { delay = draw_delay(c), unique = "" }
  opts.expires = c:one_in(8) and tostring(c:upto(700)) or ""
  if c:one_in(8) and not parts.version then
    parts.alias = "name" .. c:upto(30)
    opts.unique = "u" .. parts.alias
  elseif c:one_in(6) and not parts.version then
    opts.unique = draw_lock(c, parts)
  end
  return opts
end

local function is_plain(parts, opts)
  return parts.priority == 0
    and opts.delay .. opts.expires .. opts.unique == ""
end

-- The id of a task that may have sent some, or of none.
local function draw_parent(c)
  local id = c:pick(c.known)
  return envelope.number(id) and id or ""
end

-- The groups of a batch of n tasks. Plain ones of one queue go together.
local function draw_batch(self, n)
  local c, args, sent, queue, at = self.crowd, {}, {}, nil, nil
  for i = 1, n do
    if c.known[1] and c:one_in(12) then -- the client is a task itself
      queue = nil
      table.move({ "c", draw_parent(c), c:pick { 60, 7200 } }, 1, 3, #args + 1,
        args)
    end
    local parts = draw_parts(c)
    local opts = draw_options(c, parts)
    parts.id = envelope.id(self.id, self.last + i)
    local bytes = envelope.new(parts)
    sent[i] = { bytes = bytes, is_named = parts.alias ~= nil,
      is_plain = is_plain(parts, opts) }
    if not sent[i].is_plain then
      queue = nil
      table.move({ "g", bytes, parts.queue, opts.delay, opts.expires,
        opts.unique }, 1, 6, #args + 1, args)
    else
      if queue ~= parts.queue then
        queue, at = parts.queue, #args + 3
        table.move({ "r", queue, 0 }, 1, 3, #args + 1, args)
      end
      args[at] = args[at] + 1
      args[#args + 1] = bytes
    end
  end
  if n == 1 and sent[1].is_plain and c:one_in(3) then
    table.move({ "a", self.inbox }, 1, 2, #args + 1, args)
  end
  return args, sent
end

-- A batch that repeats what may have been enqueued, by whomever.
local function repeat_doubtful(self)
  local c = self.crowd
  local bytes = table.remove(c.doubtful, c:upto(#c.doubtful))
  local parts = envelope.read(bytes)
  local kind = parts.digest == NO_DIGEST and "i" or "li"
  return { "g", bytes, parts.queue, "", "", kind },
    { { bytes = bytes, is_repeat = true } }
end

-- Once it was said to be enqueued there must be one task for each.
local function check_accepted(self, sent, ids)
  local made, at = self.crowd.model.made, 0
  for _, task in ipairs(sent) do
    local id = task.bytes:sub(1, 20)
    if not task.is_plain then
      at = at + 1
      self.crowd.doubles = self.crowd.doubles
        + (ids[at] ~= id and not task.is_named and 1 or 0)
      id = ids[at]
    end
    assert(made[id], "an accepted task is not there")
    self.crowd:remember(id)
  end
end

local function on_answer(self, reply)
  local batch = self.pending
  self.pending = nil
  if reply[2] == 2 then
    for _, task in ipairs(batch.sent) do
      if task.is_repeat then
        table.insert(self.crowd.doubtful, task.bytes)
      else
        assert(not self.crowd.model.made[task.bytes:sub(1, 20)],
          "a refused task is there")
      end
    end
    self:renew()
  else
    check_accepted(self, batch.sent, table.move(reply, 3, #reply, 1, {}))
  end
end

local function send(self)
  local batch = self.pending
  local reply = self.crowd:request("enqueue", self.id, batch.first, batch.last,
    table.unpack(batch.args))
  if reply then
    on_answer(self, reply)
  end
end

-- What was not answered may be sent again, later and by others, but only as
-- what it is; its own producer is not used any more.
local function give_up(self)
  for _, task in ipairs(self.pending.sent) do
    if not task.is_named then
      table.insert(self.crowd.doubtful, task.bytes)
    end
  end
  self:renew()
end

-- There are times with much to do and times in which workers sleep: then
-- tasks come one by one, as those that can be handed over do.
local function is_busy(c)
  return c.steps // BUSY_STEPS % 2 == 0
end

-- Makes what it sends next. Returns whether that repeats an earlier task.
local function draw_next(self)
  local c = self.crowd
  local repeats = c.doubtful[1] and c:one_in(2)
  local n = repeats and 1 or c:upto(is_busy(c) and 4 or 1)
  local args, sent = (repeats and repeat_doubtful or draw_batch)(self, n)
  self.pending = { args = args, sent = sent,
    first = self.last + 1, last = self.last + n }
  self.last = self.last + n
  return repeats
end

--- Sends a batch of tasks, or one that was not answered again.
function Client:enqueue()
  local c = self.crowd
  if self.pending then
    return (c:one_in(3) and give_up or send)(self)
  end
  local repeats = draw_next(self)
  if c:one_in(40) and not repeats then
    self.pending = nil -- Redis refuses it, for want of memory
  else
    send(self)
  end
end

-- Looks at what is due, from where the last look ended or from the first.
local function walk_due(self, name, ...)
  local c = self.crowd
  local at, id = "", ""
  if c.walked and c:one_in(2) then
    at, id = table.unpack(c.walked)
  end
  local args = { ... }
  args[#args + 1], args[#args + 2] = at, id
  local reply = c:request(name, table.unpack(args))
  if reply then
    local last = name == "survey_due" and 2 or 3
    c.walked = { reply[last], reply[last + 1] }
  end
end

-- Asks about queues, or purges a little of one.
local function ask_of_queues(self)
  local c = self.crowd
  local what = c:upto(4)
  if what == 1 then
    c:request("survey")
  elseif what == 2 then
    walk_due(self, "survey_due", c:upto(4))
  elseif what == 3 then
    c:request("purge", REVOKED, c:upto(6), c:pick(QUEUES))
  else
    walk_due(self, "purge_due", REVOKED, c:upto(3), c:pick(QUEUES))
  end
end

--- Asks something about tasks.
function Client:ask()
  local c = self.crowd
  if c:one_in(12) then
    return ask_of_queues(self)
  end
  local ids = c:draw_ids()
  local what = c:upto(11)
  if what <= 3 then
    c:request("await", self.inbox, table.unpack(ids))
  elseif what == 4 then
    c:request("unwait", self.inbox, table.unpack(ids))
  elseif what == 5 then
    c:request("outcome", table.unpack(ids))
  elseif what == 6 then
    c:request(c:one_in(2) and "forget" or "history", ids[1])
  elseif what == 7 then
    c:request("look", table.unpack(ids))
  elseif what == 8 then
    c:request("state", c:pick { "0", "1" }, table.unpack(ids))
  elseif what == 9 then
    c:request("kin", ids[1])
  elseif what == 10 then
    c:request("cancel", REVOKED, 3600, table.unpack(ids))
  else
    c:request("revoke", REVOKED, 3600, c:pick { "w", "c", "t" },
      table.unpack(ids))
  end
end

--- Does one thing.
function Client:step()
  local c = self.crowd
  if self.pending and c:one_in(3) or c:one_in(is_busy(c) and 5 or 8) then
    self:enqueue()
  elseif c.forgets and c:one_in(6) then
    c:hear(self.inbox)
  else
    self:ask()
  end
end

return crowd_client
