--- A list that grows and shrinks at both ends: the value of a list.
-- @module spec.support.fake_redis.deque

local deque = {}

local Deque = {}
Deque.__index = Deque

--- An empty list.
-- @treturn Deque
function deque.new()
  return setmetatable({ count = 0, first = 1, items = {} }, Deque)
end

--- Puts an element at the head.
-- @tparam string item
function Deque:push_left(item)
  self.first = self.first - 1
  self.items[self.first] = item
  self.count = self.count + 1
end

--- Puts an element at the tail.
-- @tparam string item
function Deque:push_right(item)
  self.items[self.first + self.count] = item
  self.count = self.count + 1
end

--- Takes the head.
-- @treturn ?string
function Deque:pop_left()
  if self.count == 0 then
    return nil
  end
  local item = self.items[self.first]
  self.items[self.first] = nil
  self.first = self.first + 1
  self.count = self.count - 1
  return item
end

--- Takes the tail.
-- @treturn ?string
function Deque:pop_right()
  if self.count == 0 then
    return nil
  end
  local last = self.first + self.count - 1
  local item = self.items[last]
  self.items[last] = nil
  self.count = self.count - 1
  return item
end

--- An element by its place.
-- @tparam int index from 1
-- @treturn ?string
function Deque:at(index)
  if index < 1 or index > self.count then
    return nil
  end
  return self.items[self.first + index - 1]
end

--- The elements between two places.
-- @tparam int from 1 or more
-- @tparam int to the count or less
-- @treturn {string,...}
function Deque:slice(from, to)
  return table.move(
    self.items,
    self.first + from - 1,
    self.first + to - 1,
    1,
    {}
  )
end

--- Takes out elements that stand anywhere.
-- @tparam {[int]=boolean} places
-- @tparam int count how many places
function Deque:delete(places, count)
  local items, kept = {}, 0
  for i = 1, self.count do
    if not places[i] then
      kept = kept + 1
      items[kept] = self:at(i)
    end
  end
  assert(kept == self.count - count)
  self.items, self.first, self.count = items, 1, kept
end

return deque
