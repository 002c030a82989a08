--- Entries with growing ids: the value of a stream.
-- @module spec.support.fake_redis.stream

local deque = require("spec.support.fake_redis.deque")

local stream = {}

local Stream = {}
Stream.__index = Stream

--- An empty stream.
-- @treturn Stream
function stream.new()
  return setmetatable({ entries = deque.new(), ms = 0, seq = 0 }, Stream)
end

--- The id after the last one, at a time.
-- @tparam int ms
-- @treturn int ms, which never goes back
-- @treturn int sequence number
function Stream:next_id(ms)
  if ms > self.ms then
    return ms, 0
  end
  return self.ms, self.seq + 1
end

--- Whether an id may follow.
-- @tparam int ms
-- @tparam int seq
-- @treturn boolean
function Stream:is_after(ms, seq)
  return ms > self.ms or ms == self.ms and seq > self.seq
end

--- Puts an entry at the end.
-- @tparam int ms
-- @tparam int seq
-- @tparam {string,...} fields names and values in turn
-- @treturn string the id
function Stream:add(ms, seq, fields)
  self.ms, self.seq = ms, seq
  local id = ("%d-%d"):format(ms, seq)
  self.entries:push_right({ id, fields })
  return id
end

--- Drops the oldest entries.
-- @tparam int length_max
-- @treturn int how many were dropped
function Stream:trim(length_max)
  local dropped = 0
  while self.entries.count > length_max do
    self.entries:pop_left()
    dropped = dropped + 1
  end
  return dropped
end

return stream
