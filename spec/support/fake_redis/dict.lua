--- A map that remembers the order of insertion: the value of a hash or a set.
--
-- Lua's own order of keys changes from run to run, which would make replies
-- depend on more than the seed. Keys stand in slots; a deleted key leaves its
-- slot empty until more than half are.
-- @module spec.support.fake_redis.dict

local dict = {}

local Dict = {}
Dict.__index = Dict

local EMPTY <const> = false
local SLOTS_KEPT <const> = 8

--- An empty map.
-- @treturn Dict
function dict.new()
  return setmetatable(
    { count = 0, last = 0, slots = {}, slot_of = {}, values = {} },
    Dict
  )
end

--- The value of a key.
-- @tparam string key
-- @return the value, or nil
function Dict:get(key)
  return self.values[key]
end

--- Gives a key its value; a key that was there keeps its place.
-- @tparam string key
-- @param value not nil
-- @treturn boolean whether the key is new
function Dict:set(key, value)
  local is_new = self.values[key] == nil
  if is_new then
    self.last = self.last + 1
    self.slots[self.last] = key
    self.slot_of[key] = self.last
    self.count = self.count + 1
  end
  self.values[key] = value
  return is_new
end

local function compact(self)
  local slots, last = {}, 0
  for i = 1, self.last do
    local key = self.slots[i]
    if key ~= EMPTY then
      last = last + 1
      slots[last] = key
      self.slot_of[key] = last
    end
  end
  self.slots, self.last = slots, last
end

--- Takes a key out.
-- @tparam string key
-- @treturn boolean whether it was there
function Dict:delete(key)
  if self.values[key] == nil then
    return false
  end
  self.slots[self.slot_of[key]] = EMPTY
  self.slot_of[key] = nil
  self.values[key] = nil
  self.count = self.count - 1
  if self.last > 2 * self.count + SLOTS_KEPT then
    compact(self)
  end
  return true
end

--- The keys, in the order of insertion.
-- @treturn {string,...}
function Dict:keys()
  local keys, n = {}, 0
  for i = 1, self.last do
    local key = self.slots[i]
    if key ~= EMPTY then
      n = n + 1
      keys[n] = key
    end
  end
  return keys
end

--- A key by chance.
-- @tparam Random random
-- @treturn string
function Dict:pick(random)
  assert(self.count > 0)
  local key
  repeat
    key = self.slots[random:upto(self.last)]
  until key ~= EMPTY
  return key
end

return dict
