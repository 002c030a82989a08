--- The locks of a model's unique tasks.
-- @module spec.support.model.unique

local state = require("spec.support.model.state")

local unique = {}

local NO_DIGEST <const> = ("\0"):rep(16)

--- The digest of a unique task, or nil.
function unique.digest(parts)
  return parts.digest ~= NO_DIGEST and parts.digest or nil
end

--- A task takes its lock; or the id of the task that holds it is returned.
function unique.lock(self, parts, for_ms)
  local lock = self.locks[parts.digest]
  if lock and (lock.until_ms == 0 or lock.until_ms > self.now) then
    return lock.id
  end
  local until_ms = for_ms == "" and 0 or self.now + for_ms
  self.locks[parts.digest] = { id = parts.id, until_ms = until_ms }
  self.locked[parts.id] = parts.digest
end

--- A task holds nothing any more.
function unique.unlock(self, id)
  local digest = self.locked[id]
  local lock = digest and self.locks[digest]
  self.locked[id] = nil
  if lock and lock.id == id then
    self.locks[digest] = nil
  end
end

--- Notes that another task stands for one that was not made.
function unique.note_double(self, id, original)
  local producer = id:sub(1, 12)
  local doubles = state.kept(self, self.doubles, producer) or { ids = {} }
  self.doubles[producer] = doubles
  doubles.ids[id:sub(13)] = original
  doubles.until_ms = self.now + state.WEEK_MS
end

--- The task that stands for this one, which may be itself.
function unique.original(self, id)
  local doubles = state.kept(self, self.doubles, id:sub(1, 12))
  return doubles and #id == 20 and doubles.ids[id:sub(13)] or id
end

return unique
