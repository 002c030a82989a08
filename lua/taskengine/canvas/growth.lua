--- Members that were added to a group since it was sent.
--
-- A task adds before it ends: when all members that are known have ended, all
-- that they added can be seen.
-- @module taskengine.canvas.growth

local completion = require("taskengine.completion")
local core = require("taskengine.core")
local flow_look = require("taskengine.canvas.flow_look")
local results = require("taskengine.results")

local growth = {}

-- What a node gathers, as ranges of nodes.
local function gathered_by(look, node)
  local inputs = look:piece("i", look:record(node).inputs)
  return flow_look.sources(inputs, node)
end

-- Those behind the first `count` nodes.
local function behind(ranges, count)
  local rest = {}
  for _, range in ipairs(ranges) do
    local size = math.max(range.last - range.first + 1, 0)
    if size > count then
      rest[#rest + 1] = { first = range.first + count, last = range.last }
    end
    count = math.max(count - size, 0)
  end
  return rest
end

--- Lets a group know of the members that were added to it.
-- @tparam GroupResult group
-- @treturn boolean whether there are some that it did not know
-- @raise TaskError of kind BrokerUnavailable
function growth.see(group)
  local flow = group.flow
  local look = flow and flow_look.new(flow.client, flow.id)
  local head = look and look:head()
  if not head or head.nodes == group.nodes then
    return false
  end
  group.nodes = head.nodes
  local before = #group.members
  local gathers = core.envelope.seq(group.id)
  for _, range in ipairs(behind(gathered_by(look, gathers), before)) do
    table.insert(group.ranges, range)
    results.append(group.members, core.envelope.id(flow.producer, range.first),
      range.last - range.first + 1)
  end
  return #group.members > before
end

-- Members from one on, as a list.
local function rest_of(group, from)
  local list = {}
  for i = from, #group.members do
    list[#list + 1] = group.members[i]
  end
  return list
end

local function seconds_left(deadline_ms)
  return deadline_ms and math.max(deadline_ms - core.loop.now(), 0) / 1000
end

-- Closes what is waited for when the loop is left.
local Closing = {}

function Closing:__close()
  local _ <close> = self.inner
end

--- Yields the results of a group's members as they end, those of added ones,
-- too.
-- @tparam GroupResult group
-- @tparam ?number timeout in seconds, for all of them
-- @treturn function the iterator, and what `for` needs besides
-- @raise in the loop: TaskError of kind Timeout when the time is up
function growth.iterate(group, timeout)
  local next_one, _, _, inner = completion.as_completed(group.members, timeout)
  local deadline_ms = timeout and core.loop.now() + timeout * 1000
  local closing = setmetatable({ inner = inner }, Closing)
  return function()
    local one = next_one()
    while not one do
      local from = #group.members + 1
      if not growth.see(group) then
        return nil
      end
      next_one, _, _, closing.inner = completion.as_completed(
        rest_of(group, from), seconds_left(deadline_ms))
      one = next_one()
    end
    return one
  end, nil, nil, closing
end

return growth
