--- Who waits for which task's outcome.
--
-- Redis is told once of each task that somebody waits for (te1_await), and
-- lays its outcome into our inbox. Several may wait for one task. After a
-- silence it is asked what became of some (te1_look): an outcome that has
-- expired comes to no inbox.
-- @module taskengine.waits

local core = require("taskengine.core")
local header = require("taskengine.header")
local refusal = require("taskengine.refusal")
local silence = require("taskengine.silence")

local waits = {}

local IDS_MAX <const> = 1000 -- in one call
local CALLS_MAX <const> = 4 -- under way
local SILENCE_MS <const>, SILENCE_MS_MAX <const> = 2000, 60000
local LOOK_MAX <const> = 250 -- ids in one question after a silence

-- The enqueues under way that say where the outcome is to come to. It may
-- come ahead of the answer that tells the id.
local Ahead = {}

function Ahead:__close()
  self.count = self.count - 1
  if self.count == 0 and next(self.early) then
    self.early = {}
  end
end

--- The waits of one client.
-- @type Waits
local Waits = {}
Waits.__index = Waits

--- Makes an empty set.
-- @tparam table transport see @{taskengine.requests}
-- @tparam Requests requests
-- @tparam number timeout_ms for requests
-- @treturn Waits
function waits.new(transport, requests, timeout_ms)
  local self = setmetatable({
    transport = transport,
    requests = requests,
    timeout_ms = timeout_ms,
    listeners = {}, -- id to a function, or to a set of them
    count = 0, -- ids
    to_ask = {}, -- ids that Redis is to be told of, from first to last
    first = 1,
    last = 0,
    ids_max = IDS_MAX,
    asking = 0, -- calls under way
    to_end = {}, -- ids that nobody waits for any more
    to_look = {}, -- ids for the next silences
    ahead = setmetatable({
      count = 0,
      early = {}, -- id to what the inbox had of it
    }, Ahead),
  }, Waits)
  self.silence = silence.new(SILENCE_MS, SILENCE_MS_MAX, function()
    return self:look()
  end)
  return self
end

local function will_ask(self, id)
  self.last = self.last + 1
  self.to_ask[self.last] = id
end

local function add_listener(self, id, fn)
  local there = self.listeners[id]
  if not there then
    self.listeners[id] = fn
    self.count = self.count + 1
    return true
  elseif type(there) == "function" then
    self.listeners[id] = { [there] = true, [fn] = true }
  else
    there[fn] = true
  end
  return false
end

-- Takes all who wait for it.
local function take_listeners(self, id)
  local there = self.listeners[id]
  if there then
    self.listeners[id] = nil
    self.count = self.count - 1
    if self.count == 0 then
      self.transport:listen(false)
    end
  end
  return there
end

local function deliver(self, id, record, problem)
  local there = take_listeners(self, id)
  self.silence:heard()
  if type(there) == "function" then
    there(id, record, problem)
  elseif there then
    for fn in pairs(there) do
      fn(id, record, problem)
    end
  end
end

local function take_ids(self)
  local ids = {}
  while self.first <= self.last and #ids < self.ids_max do
    local id = self.to_ask[self.first]
    self.to_ask[self.first] = nil
    self.first = self.first + 1
    if self.listeners[id] then
      ids[#ids + 1] = id
    end
  end
  return ids
end

local function flush_soon(self)
  if not self.will_flush then
    self.will_flush = true
    core.loop.defer(function()
      self.will_flush = false
      self:flush()
    end)
  end
end

-- Outcomes too large to come along are fetched one by one.
local function fetch(self, id)
  self.requests:send("te1_outcome", { id }, self.timeout_ms,
    function(reply, problem)
      deliver(self, id, reply and reply[1], problem)
    end)
end

local function on_reply(self, ids, reply)
  self.ids_max = math.min(2 * self.ids_max, IDS_MAX)
  for i, id in ipairs(ids) do
    if reply[i] == ">" then
      fetch(self, id)
    elseif reply[i]:sub(1, 1) ~= "=" then -- that one comes to the inbox
      deliver(self, id, reply[i])
    end
  end
  self:flush()
end

local function on_refusal(self, ids, why)
  for _, id in ipairs(ids) do
    deliver(self, id, nil, { reason = refusal.sentence(why) })
  end
  self:flush()
end

-- Asked again when Redis can be reached; perhaps it can be already. If the
-- connection broke because all the outcomes together are too large for a
-- reply, fewer will do.
local function on_loss(self, ids)
  self.ids_max = math.max(self.ids_max // 4, 1)
  for _, id in ipairs(ids) do
    will_ask(self, id)
  end
  if not self.transport:why() then
    flush_soon(self)
  end
end

local function ask(self, ids)
  self.asking = self.asking + 1
  local args = table.move(ids, 1, #ids, 2, { self.transport:inbox() })
  self.transport:fcall("te1_await", args, function(reply, why, code)
    self.asking = self.asking - 1
    if not code then
      on_reply(self, ids, reply)
    elseif code == "EREPLY" then
      on_refusal(self, ids, why)
    else
      on_loss(self, ids)
    end
  end)
end

-- The waits that nobody ended: no answer is needed, in time they expire.
local function end_waits(self)
  local ids = {}
  for id in pairs(self.to_end) do
    if not self.listeners[id] then
      ids[#ids + 1] = id
    end
  end
  self.to_end = {}
  for from = 1, #ids, IDS_MAX do
    local args = table.move(ids, from, math.min(from + IDS_MAX - 1, #ids), 2,
      { self.transport:inbox() })
    self.requests:send("te1_unwait", args, self.timeout_ms, function() end)
  end
end

--- Tells Redis what is new.
function Waits:flush()
  while self.asking < CALLS_MAX and self.first <= self.last do
    local ids = take_ids(self)
    if #ids > 0 then
      ask(self, ids)
    end
  end
  if next(self.to_end) then
    end_waits(self)
  end
end

local function ids_awaited(self)
  local ids = {}
  for id in pairs(self.listeners) do
    ids[#ids + 1] = id
  end
  return ids
end

-- What is no more will not come to the inbox: the wait for that ends. Returns
-- whether there was any.
local function settle_silent(self, ids, reply)
  local found = false
  for i, id in ipairs(ids) do
    if reply[i]:sub(1, 1) ~= "=" and self.listeners[id] then
      found = true
      if reply[i] == ">" then
        fetch(self, id)
      else
        self.to_end[id] = true
        deliver(self, id, reply[i])
      end
    end
  end
  self:flush()
  return found
end

-- Some of those that are waited for, others each time until all had a turn.
local function take_silent(self)
  if not self.to_look[1] then
    self.to_look = ids_awaited(self)
  end
  local ids, left = {}, self.to_look
  while left[1] and #ids < LOOK_MAX do
    local id = table.remove(left)
    ids[#ids + 1] = self.listeners[id] and id or nil
  end
  return ids
end

--- Asks what became of some tasks that nothing is heard of; and of more, if
-- there was something to be heard.
-- @treturn boolean whether anybody waits
function Waits:look()
  local ids = self.transport:why() and {} or take_silent(self)
  if #ids > 0 then
    self.requests:send("te1_look", ids, self.timeout_ms, function(reply)
      -- Without a reply there will be another silence.
      if reply and settle_silent(self, ids, reply) then
        self:look()
      end
    end)
  end
  return self.count > 0
end

--- Where the outcome of the task that is sent next should come to. Who waited
-- at once for the one before will wait for this one, too: a question less.
-- @treturn ?string our inbox
-- @treturn ?table with an inbox: to be closed when what was sent is noted
function Waits:anticipate()
  self.is_eager = self.is_eager and self.newest == nil
  if self.is_eager and self.transport.asks_ahead then
    self.ahead.count = self.ahead.count + 1
    return self.transport:inbox(), self.ahead
  end
end

--- Notes a task that was sent.
-- @tparam string id
-- @tparam boolean is_told Redis knows that we wait for it
function Waits:note_sent(id, is_told)
  self.newest, self.is_newest_told = id, is_told
  self.early = self.ahead.early[id]
end

-- Whether Redis has to be told that we wait for a task.
local function is_untold(self, id)
  if id ~= self.newest then
    return true
  end
  local is_told, early = self.is_newest_told, self.early
  self.newest, self.early, self.is_eager = nil, nil, true
  if early then
    core.loop.defer(function()
      self:on_item(id .. early)
    end)
  end
  return not is_told
end

--- Waits for a task.
-- @tparam string id the engine's
-- @tparam function fn called once by the loop, with the id and its record:
-- an outcome as docs/protocol.md has them, or `"?"`; or with the id, nil and
-- a problem. A function waits once for each id
function Waits:add(id, fn)
  if add_listener(self, id, fn) then
    if self.count == 1 then
      self.transport:listen(true)
    end
    if is_untold(self, id) then
      will_ask(self, id)
      flush_soon(self)
    end
    self.silence:watch()
  end
end

--- Waits no more.
-- @tparam string id
-- @tparam function fn
function Waits:remove(id, fn)
  local there = self.listeners[id]
  if type(there) == "table" then
    there[fn] = nil
    there = next(there) == nil and fn or there
  end
  if there == fn then
    take_listeners(self, id)
    self.to_end[id] = true
    flush_soon(self)
  end
end

--- Takes an item from the inbox.
-- @tparam string item an id, and the record or `>`
function Waits:on_item(item)
  local id, record = header.id(item), item:sub(header.ID_BYTES + 1)
  if id == self.newest then
    self.early = record
  elseif self.ahead.count > 0 and not self.listeners[id] then
    self.ahead.early[id] = record
  elseif record ~= ">" then
    deliver(self, id, record)
  elseif self.listeners[id] then
    fetch(self, id)
  end
end

--- Ends all waits.
-- @tparam string reason a sentence
function Waits:give_up(reason)
  for _, id in ipairs(ids_awaited(self)) do
    deliver(self, id, nil, { reason = reason, sent = false })
  end
  self.to_end = {} -- Redis cannot be told any more
  self.silence:stop()
end

--- Asks for all anew, because items may have been missed.
function Waits:ask_again()
  self.to_ask = ids_awaited(self)
  self.first, self.last = 1, #self.to_ask
  self.is_newest_told, self.early = false, nil
  self:flush()
end

return waits
