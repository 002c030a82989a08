--- What the functions for Redis do, in plain tables: the reference for
-- `spec/unit/functions/interleavings_spec.lua`.
--
-- A model is told of every call, in the order in which Redis carries them
-- out, and answers with the reply that is due. `spec.support.model_keys` says
-- what Redis must hold then, byte for byte and to the millisecond. Left out is
-- only what is decided by chance: who of several sleepers is woken; of a task
-- that was handed to one, `handed_to(id)` tells: his name and its number.
--
-- Its rooms are those of lua/taskengine/functions: each has the functions
-- that are called there, by their names without `te1_`. What these share is
-- in `state`, `queues`, `ends`, `ids`, `unique`, `handover` and `leases`.
-- @module spec.support.model

local ends = require("spec.support.model.ends")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")

local model = {}

local Model = {}
Model.__index = Model

local calls <const> = {}
for _, room in ipairs {
  "enqueue", "fetch", "finish", "workers", "results", "revoke", "survey",
  "purge", "dead", "states",
} do
  for name, fn in pairs(require("spec.support.model." .. room)) do
    assert(not calls[name], name)
    calls[name] = fn
  end
end

--- An empty shard.
-- @tparam int now ms
-- @tparam[opt] table limits as for @{spec.support.shard.new}
-- @treturn Model
function model.new(now, limits)
  limits = limits or {}
  return setmetatable({
    now = now,
    fetch_bytes_max = limits.fetch_bytes_max or 16 * 1024 * 1024,
    dead_bytes_max = limits.dead_bytes_max or 256 * 1024 * 1024,
    made = {}, -- ids of all tasks that there ever were
    tasks = {}, -- id to task: `bytes`, `parts`, `place`; gone when it ends
    due = {}, -- id to task, for those that are due later
    queues = {}, -- name to { [0] = entries, ... [9] = entries, counters }
    workers = {}, -- wid to { deadline, number, queues, description, held }
    producers = {}, -- name to { last, retired, until_ms }
    names = {}, -- caller's id to { id, until_ms }
    chunks = {}, -- 19 characters of an id to { records, until_ms }
    dead = {}, -- id to { at, record, bytes, parts }
    pasts = {}, -- id to notes, and until_ms
    said = {}, -- id to { wid, field, at, record }: what it says of itself
    waits = {}, -- id to { at, inbox... }
    inboxes = {}, -- name to { until_ms, item... }
    tombstones = {}, -- id to time
    refusals = {}, -- id to { since, until_ms, wid... }
    malformed = {}, -- newest first, and until_ms
    locks = {}, -- digest to { id, until_ms }
    locked = {}, -- id to digest
    doubles = {}, -- producer to { ids, until_ms }
    handed_to = function() end,
  }, Model)
end

--- A function is called.
-- @tparam string name without `te1_`
-- @param ... its arguments, but for the key
-- @return the reply that is due
function Model:call(name, ...)
  return calls[name](self, ...)
end

--- Somebody puts bytes into a ready list that are no task of ours.
-- @tparam string queue
-- @tparam string bytes
function Model:intrude(queue, bytes)
  table.insert(queues.of(self, queue)[0], { bytes = bytes })
end

--- Takes all items of an inbox.
-- @tparam string inbox
-- @treturn {string,...} outcomes
function Model:heard(inbox)
  local box = state.kept(self, self.inboxes, inbox) or {}
  self.inboxes[inbox] = nil
  return table.move(box, 1, #box, 1, {})
end

--- How many bytes the dead are.
-- @treturn int
function Model:dead_bytes()
  return ends.dead_bytes(self)
end

return model
