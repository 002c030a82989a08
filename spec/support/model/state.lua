--- What the records of a model have in common: their times, their order.
-- @module spec.support.model.state

local state = {}

state.WEEK_MS, state.HOUR_MS = 7 * 86400000, 3600000
--- Of old records, how many go at once.
state.TRIMMED_MAX = 100
--- Of envelopes.
state.VERSION = 1

--- The record under a key of a table whose records expire.
function state.kept(self, records, key)
  local record = records[key]
  if record and record.until_ms and self.now > record.until_ms then
    records[key] = nil
    return nil
  end
  return record
end

--- The keys of a table in order.
function state.keys_of(t)
  local keys = {}
  for key in pairs(t) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

--- The keys of the oldest of some records, as many as may go at once.
function state.too_old(self, records, limit)
  local old = {}
  for key, record in pairs(records) do
    if record.at <= self.now - state.WEEK_MS then
      old[#old + 1] = key
    end
  end
  table.sort(old, function(a, b)
    local at, bt = records[a].at, records[b].at
    return at < bt or at == bt and a < b
  end)
  return table.move(old, 1, math.min(limit, #old), 1, {})
end

--- Whether an item is in a list.
function state.has(list, item)
  for _, other in ipairs(list) do
    if other == item then
      return true
    end
  end
  return false
end

return state
