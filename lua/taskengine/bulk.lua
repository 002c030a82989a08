--- Sends a long list of calls of one task, some batches at a time.
-- @module taskengine.bulk

local core = require("taskengine.core")
local errors = require("taskengine.errors")
local lane = require("taskengine.lane")
local message = require("taskengine.message")

local bulk = {}

-- Batches under way; measured: more gain nothing.
local LANES <const> = 4
local TASKS_MAX <const> = 1000
local BYTES_MAX <const> = 4 * 1024 * 1024
-- Until it is known how large the calls are.
local TASKS_FIRST <const> = 100

--- A list on its way.
-- @type Bulk
-- @tfield {table,...} accepted parts of the list: `from`, `to`, and `id`, that
-- of the first task; `ids` where those of the others do not follow from that
-- @tfield {table,...} unknown parts that may have been accepted: `from`, `to`
-- @tfield ?table problem what ended it early: `reason` and `code`, see
-- @{bulk.send}
local Bulk = {}
Bulk.__index = Bulk

-- Packs calls of a unique task, each of which has a digest of its own.
local function pack_unique(self, producer, first, from, to)
  local m, envelopes, total = self.message, {}, 0
  for i = from, to do
    local bytes, why, code = core.envelope.pack(
      message.template(m, m.digests[i]),
      core.envelope.id(producer, first + i - from), self.list[i], self.extra,
      self.bytes_max)
    if not bytes then
      return nil, ("call %d: %s"):format(i, errors.sentence(why)), code
    end
    envelopes[#envelopes + 1], total = bytes, total + #bytes
  end
  return envelopes, total
end

local function pack_part(self, producer, first, from, to)
  if self.message.digests then
    return pack_unique(self, producer, first, from, to)
  end
  return core.envelope.pack_many(self.message.template, producer, first,
    self.list, from, to, self.extra, self.bytes_max)
end

-- Packs the next calls, fewer when they turn out to be large.
local function pack(self, producer, first)
  local from, count = self.from, self.batch_max
  while true do
    local to = math.min(from + count - 1, #self.list)
    local envelopes, bytes, code = pack_part(self, producer, first, from, to)
    if not envelopes then
      return nil, { reason = bytes, code = code }
    end
    local fit = math.max(1, BYTES_MAX * #envelopes // bytes)
    self.batch_max = math.min(fit, TASKS_MAX)
    if fit >= #envelopes then
      return envelopes, bytes
    end
    count = fit
  end
end

local pump

local function on_answer(self, one, part, problem)
  self.free[#self.free + 1] = one
  self.under_way = self.under_way - 1
  if part.id then
    table.insert(self.accepted, part)
  else
    self.problem = self.problem or problem
    if problem.sent then
      table.insert(self.unknown, part)
    end
  end
  pump(self)
end

local function send_next(self)
  local one = table.remove(self.free) or lane.new(self.requests,
    self.timeout_ms)
  local envelopes, bytes = pack(self, one:next())
  if not envelopes then
    self.free[#self.free + 1] = one
    self.problem = bytes
    return
  end
  local part = { from = self.from, to = self.from + #envelopes - 1 }
  self.from = part.to + 1
  self.under_way = self.under_way + 1
  one:add(self.message, envelopes, bytes, function(id, problem, ids)
    part.id, part.ids = id, self.message.digests and ids
    on_answer(self, one, part, problem)
  end, nil, self.parent)
  one:flush()
end

local function by_position(a, b)
  return a.from < b.from
end

function pump(self)
  while not self.problem and self.from <= #self.list
    and self.under_way < LANES do
    send_next(self)
  end
  if self.under_way == 0 then
    table.sort(self.accepted, by_position)
    table.sort(self.unknown, by_position)
    self.on_end(self)
  end
end

--- Sends a list. After a failure it sends no more, and ends when what is
-- under way is answered.
-- @tparam table opts
-- @tparam Requests opts.requests
-- @tparam number opts.timeout_ms for each batch
-- @tparam int opts.bytes_max of a call's arguments
-- @tparam {Lane,...} opts.free idle lanes; those that were used go back there
-- @tparam Message opts.message
-- @tparam {table,...} opts.list of lists of arguments
-- @tparam ?table opts.extra what else goes into each body
-- @tparam ?string opts.parent the id of the task that sends them
-- @tparam function opts.on_end called once with the @{Bulk}. Its `problem` is
-- one of @{taskengine.requests}, or has the `code` of the codec when one of
-- the calls cannot travel
function bulk.send(opts)
  local self = setmetatable(opts, Bulk)
  self.from, self.batch_max, self.under_way = 1, TASKS_FIRST, 0
  self.accepted, self.unknown = {}, {}
  pump(self)
end

return bulk
