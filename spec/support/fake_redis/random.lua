--- Chance from a seed, apart from `math.random`, so that one run of a spec
-- can be repeated whatever else draws numbers (xorshift64*).
-- @module spec.support.fake_redis.random

local random = {}

local Random = {}
Random.__index = Random

--- A new generator.
-- @tparam int seed any integer
-- @treturn Random
function random.new(seed)
  local state = seed * 0x9E3779B97F4A7C15 + 0x1234567
  return setmetatable({ state = state ~= 0 and state or 1 }, Random)
end

--- The next number.
-- @tparam int limit
-- @treturn int from 1 to limit
function Random:upto(limit)
  local x = self.state
  x = x ~ (x >> 12)
  x = x ~ (x << 25)
  x = x ~ (x >> 27)
  self.state = x
  return ((x * 0x2545F4914F6CDD1D) >> 33) % limit + 1
end

--- One element of a list.
-- @tparam table list not empty
-- @return the element
function Random:pick(list)
  return list[self:upto(#list)]
end

return random
