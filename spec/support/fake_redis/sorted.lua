--- Members in the order of their scores: the value of a sorted set.
--
-- Members stand in chunks of bounded size, so that a change moves few of
-- them. Ties are ordered by the members' bytes. Every range is a range of
-- ranks: by score and by bytes are turned into ranks by counting what stands
-- before their ends.
-- @module spec.support.fake_redis.sorted

local sorted = {}

local Sorted = {}
Sorted.__index = Sorted

local CHUNK_MAX <const> = 256

--- An empty sorted set.
-- @treturn Sorted
function sorted.new()
  -- Lua compares strings by the locale; only this one compares bytes.
  assert(os.setlocale(nil, "collate") == "C", "the locale's collation is not C")
  return setmetatable({ count = 0, chunks = {}, scores = {} }, Sorted)
end

-- How many of the first n items of a list are `before`, which holds for none
-- after the first for which it does not.
local function count_before(n, before, item)
  local low, high = 0, n
  while low < high do
    local middle = (low + high + 1) // 2
    if before(item(middle)) then
      low = middle
    else
      high = middle - 1
    end
  end
  return low
end

-- The chunk in which the first member that is not `before` stands or would
-- stand, and how many members of this chunk are before it.
local function locate(self, before)
  local chunks = self.chunks
  local at = count_before(#chunks, before, function(i)
    return chunks[i][#chunks[i]]
  end) + 1
  if at > #chunks then
    at = #chunks
  end
  local chunk = chunks[at]
  if not chunk then
    return 0, 0
  end
  return at, count_before(#chunk, before, function(i)
    return chunk[i]
  end)
end

local function locate_member(self, member, score)
  local scores = self.scores
  return locate(self, function(other)
    local other_score = scores[other]
    return other_score < score or other_score == score and other < member
  end)
end

local function insert(self, member, score)
  local at, offset = locate_member(self, member, score)
  local chunk = self.chunks[at]
  if not chunk then
    self.chunks[1] = { member }
    return
  end
  table.insert(chunk, offset + 1, member)
  if #chunk > CHUNK_MAX then
    local half = #chunk // 2
    local tail = table.move(chunk, half + 1, #chunk, 1, {})
    for i = #chunk, half + 1, -1 do
      chunk[i] = nil
    end
    table.insert(self.chunks, at + 1, tail)
  end
end

--- The score of a member.
-- @tparam string member
-- @treturn ?number
function Sorted:score(member)
  return self.scores[member]
end

--- Takes a member out.
-- @tparam string member
-- @treturn boolean whether it was there
function Sorted:delete(member)
  local score = self.scores[member]
  if not score then
    return false
  end
  local at, offset = locate_member(self, member, score)
  local chunk = self.chunks[at]
  assert(table.remove(chunk, offset + 1) == member)
  if #chunk == 0 then
    table.remove(self.chunks, at)
  end
  self.scores[member] = nil
  self.count = self.count - 1
  return true
end

--- Gives a member its score.
-- @tparam string member
-- @tparam number score not NaN
function Sorted:set(member, score)
  self:delete(member)
  insert(self, member, score)
  self.scores[member] = score
  self.count = self.count + 1
end

local function rank_of(self, at, offset)
  for i = 1, at - 1 do
    offset = offset + #self.chunks[i]
  end
  return offset
end

--- How many members stand before one.
-- @tparam string member
-- @treturn ?int
function Sorted:rank(member)
  local score = self.scores[member]
  return score and rank_of(self, locate_member(self, member, score))
end

--- How many members have a score below a limit.
-- @tparam number limit
-- @tparam boolean inclusive counts the limit itself too
-- @treturn int
function Sorted:count_below(limit, inclusive)
  local scores = self.scores
  return rank_of(self, locate(self, function(member)
    local score = scores[member]
    return score < limit or inclusive and score == limit
  end))
end

--- How many members are smaller than a text; all scores must be equal.
-- @tparam string limit
-- @tparam boolean inclusive counts the limit itself too
-- @treturn int
function Sorted:count_smaller(limit, inclusive)
  return rank_of(self, locate(self, function(member)
    return member < limit or inclusive and member == limit
  end))
end

--- The members between two ranks.
-- @tparam int from 1 or more
-- @tparam int to the count or less
-- @treturn {string,...}
function Sorted:slice(from, to)
  local members, passed = {}, 0
  for _, chunk in ipairs(self.chunks) do
    if passed >= to then
      break
    end
    local first = math.max(from - passed, 1)
    local last = math.min(to - passed, #chunk)
    if first <= last then
      table.move(chunk, first, last, #members + 1, members)
    end
    passed = passed + #chunk
  end
  return members
end

return sorted
