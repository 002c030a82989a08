--- `te1_state` and `te1_kin` of a model: what tasks say of themselves, and who
-- sent them.
-- @module spec.support.model.states

local ends = require("spec.support.model.ends")
local ids = require("spec.support.model.ids")
local queues = require("spec.support.model.queues")
local results = require("spec.support.model.results")
local state = require("spec.support.model.state")
local unique = require("spec.support.model.unique")

local states = {}

local ID_BYTES <const> = 20
-- What is known of a worker that has said nothing of itself.
local NO_WORDS <const> = "\0\0\0"

-- Who has the task in flight under the delivery for which something was said.
local function said_by(self, id)
  local said = self.said[id]
  local worker = said and self.workers[said.wid]
  return worker and worker.held[said.field] and said
end

local function holder_of(self, id)
  for wid, worker in pairs(self.workers) do
    for field in pairs(worker.held) do
      if field:sub(1, ID_BYTES) == id then
        return wid
      end
    end
  end
end

local function place_of(self, id)
  local task = self.tasks[id] or {}
  if task.place == "prioritised" then
    return "prioritised"
  elseif holder_of(self, id) then
    return "in flight"
  end
  return queues.any_ready(self) and "ready" or nil
end

-- Where a task is, and when it is due.
local function find(self, id, everywhere)
  if said_by(self, id) then
    return "in flight", 0
  elseif self.due[id] then
    return "due", self.due[id].when
  elseif everywhere then
    return place_of(self, id), 0
  end
  return "", 0
end

local NOTHING <const>, SILENCE <const> = {}, { at = 0, record = "" }

local function describe(self, id, everywhere)
  local place, due = find(self, id, everywhere)
  if not place then
    return "-"
  end
  local said = said_by(self, id) or SILENCE
  local past = state.kept(self, self.pasts, id) or NOTHING
  local about = everywhere and place == "in flight" and NO_WORDS or ""
  return {
    "=" .. id, place, due, said.at, said.record, past[#past] or "", about,
  }
end

function states.state(self, everywhere, ...)
  local reply = {}
  for i, any in ipairs { ... } do
    local id = unique.original(self, ids.resolve(self, any))
    local known = ends.inline(results.outcome(self, id)[1])
    reply[i] = known == "=" .. id and describe(self, id, everywhere == "1")
      or known
  end
  return reply
end

function states.kin(self, any)
  local id = unique.original(self, ids.resolve(self, any))
  local sent = ends.get_outcome(self, id, "k") or ""
  local reply, seen = { ends.get_outcome(self, id, "p") or "" }, {}
  for child in sent:gmatch(("."):rep(ID_BYTES)) do
    if not seen[child] then
      seen[child] = true
      reply[#reply + 1] = child
    end
  end
  return reply
end

return states
