--- What callers ask of a model about results.
-- @module spec.support.model.results

local ends = require("spec.support.model.ends")
local ids = require("spec.support.model.ids")
local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")
local unique = require("spec.support.model.unique")

local results = {}

local TRIM_EVERY_MS <const> = 16

local function outcome(self, id)
  return ends.get_outcome(self, id)
    or self.dead[id] and self.dead[id].record
    or ids.was_enqueued(self, id) and "=" .. id
    or "?"
end

function results.outcome(self, ...)
  local reply = {}
  for i, id in ipairs { ... } do
    reply[i] = outcome(self, ids.resolve(self, id))
  end
  return reply
end

function results.look(self, ...)
  local reply = {}
  for i, any in ipairs { ... } do
    local id = unique.original(self, ids.resolve(self, any))
    local record = outcome(self, id)
    local is_gone = record == "=" .. id and not self.tasks[id]
      and not queues.any_ready(self)
    reply[i] = is_gone and "-" or ends.inline(record)
  end
  return reply
end

function results.await(self, inbox, ...)
  local reply = {}
  if self.now % TRIM_EVERY_MS == 0 then
    ends.trim_waits(self, state.TRIMMED_MAX)
  end
  for i, any in ipairs { ... } do
    local id = ids.resolve(self, any)
    local record = outcome(self, id)
    reply[i] = ends.inline(record)
    if record:sub(1, 1) == "=" then
      local wait = self.waits[id] or {}
      self.waits[id] = wait
      wait.at = self.now
      if not state.has(wait, inbox) then
        wait[#wait + 1] = inbox
      end
    end
  end
  return reply
end

function results.unwait(self, inbox, ...)
  local count_ended = 0
  for _, any in ipairs { ... } do
    local id = ids.resolve(self, any)
    local wait = self.waits[id] or {}
    for i = #wait, 1, -1 do
      if wait[i] == inbox then
        table.remove(wait, i)
        count_ended = count_ended + 1
      end
    end
    if not wait[1] then
      self.waits[id] = nil
    end
  end
  return count_ended
end

function results.forget(self, ...)
  local forgotten = 0
  for _, any in ipairs { ... } do
    local id = ids.resolve(self, any)
    if (ends.get_outcome(self, id) or "-") ~= "-" then
      local records = self.chunks[id:sub(1, 19)].records
      records[id:sub(20)] = "-"
      records[id:sub(20) .. "k"], records[id:sub(20) .. "p"] = nil, nil
      forgotten = forgotten + 1
    end
  end
  return forgotten
end

return results
