--- The results of a group.
-- @module taskengine.canvas.group_result

local caller = require("taskengine.caller")
local completion = require("taskengine.completion")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local growth = require("taskengine.canvas.growth")
local handle = require("taskengine.canvas.handle")
local options = require("taskengine.options")
local plan = require("taskengine.canvas.plan")
local result = require("taskengine.result")
local results = require("taskengine.results")

local group_result = {}

--- The results of a group, an array: `group[i]`, `#group` and `ipairs` work,
-- for the members that are known: those that were sent, and in the end those
-- that tasks of the group have added.
-- @type GroupResult
-- @tfield string id of the node that gathers them
-- @tfield ?Flow flow what it is part of
-- @tfield Results members one for each, in order
local GroupResult = {
  __name = "taskengine.GroupResult",
  __cannot_travel = "the result of a group cannot be sent; what get()"
    .. " returns can, or its id, for app:result(id)",
}

-- The nodes of the members: runs of neighbours.
local function ranges_of(flow, outlet)
  local ranges, i = {}, 1
  while i <= outlet.count do
    local from, first = i, plan.node_at(outlet, i)
    while i < outlet.count
      and plan.node_at(outlet, i + 1) == first + i + 1 - from do
      i = i + 1
    end
    ranges[#ranges + 1] = {
      first = flow.base + first, last = flow.base + first + i - from,
    }
    i = i + 1
  end
  return ranges
end

--- Makes one.
-- @tparam Flow flow
-- @tparam int node that gathers
-- @tparam Outlet outlet the members
-- @tparam int nodes how many the flow had when this was sent
-- @treturn GroupResult
function group_result.new(flow, node, outlet, nodes)
  local id = flow:node_id(node)
  local self = setmetatable({
    id = id,
    flow = flow,
    nodes = nodes,
    ranges = ranges_of(flow, outlet),
    whole = result.new(flow.client, id, { engine_id = id }),
    members = results.new(flow.client, { keeps_result = true }, {}),
  }, GroupResult)
  for _, range in ipairs(self.ranges) do
    results.append(self.members, core.envelope.id(flow.producer, range.first),
      range.last - range.first + 1)
  end
  return self
end

--- Makes that of a group without members, which needs no Redis.
-- @treturn GroupResult
function group_result.empty()
  local whole = result.new(nil, "", { engine_id = "" })
  whole.outcome = { state = "SUCCESS", value = { n = 0 } }
  return setmetatable({
    id = "",
    ranges = {},
    whole = whole,
    members = results.new(nil, { keeps_result = true }, {}),
  }, GroupResult)
end

--- Whether a value is one.
-- @param value anything
-- @treturn boolean
function group_result.is(value)
  return getmetatable(value) == GroupResult
end

-- See @{taskengine.completion}.
function GroupResult:__awaits()
  return { self.whole }
end

--- Waits for all, and returns their values: one question for the whole group,
-- read page by page when it is large.
-- @tparam[opt] table opts
-- @tparam[opt] number opts.timeout in seconds
-- @treturn table the values in order, their number in `n`
-- @raise the TaskError of the member that failed first; TaskError of kind
-- Timeout, Forgotten, BrokerUnavailable
function GroupResult:get(opts)
  local ok, value = pcall(self.whole.get, self.whole, opts)
  if ok then
    return value
  elseif errors.is(value) then
    errors.raise(errors.cause(value))
  end
  error(value, 0)
end

--- Waits for all without raising an error.
-- @tparam[opt] number timeout in seconds
-- @treturn[1] boolean true
-- @treturn[1] table as @{GroupResult:get}
-- @treturn[2] boolean false
-- @treturn[2] TaskError of the member that failed first
-- @return[3] nil: the time is up
-- @treturn[3] string `"timeout"`
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:wait(timeout)
  local ok, value = self.whole:wait(timeout)
  return ok, ok == false and errors.cause(value) or value
end

--- Yields results as their tasks end, see @{taskengine.as_completed}; those of
-- members that tasks of the group have added, too.
-- @tparam[opt] number timeout in seconds, for all of them
-- @return an iterator for a generic `for`
-- @raise in the loop: TaskError of kind Timeout when the time is up
function GroupResult:iter(timeout)
  return growth.iterate(self, timeout)
end

--- Waits for every member, also those that were added, whether others fail or
-- not, and returns their values in order.
-- @tparam[opt] table opts
-- @tparam[opt] number opts.timeout in seconds, for all of them
-- @tparam[opt=true] boolean opts.propagate false: errors stand in the table
-- where the values would
-- @treturn table with their number in `n`
-- @raise the TaskError of the first, in this order, that failed; of kind
-- Timeout, BrokerUnavailable
function GroupResult:join(opts)
  opts = options.check("join", options.JOIN, opts)
  for _ in growth.iterate(self, opts.timeout) do end
  local out = { n = #self.members }
  for i = 1, out.n do
    out[i] = completion.value(self.members[i], opts.propagate)
  end
  return out
end

--- How many members have ended, however they did; of all, also those that were
-- added. From then on `#` counts these, too.
-- @treturn int
-- @raise TaskError of kind BrokerUnavailable, Forgotten
function GroupResult:completed_count()
  growth.see(self)
  return self.flow and self.flow:ended(self.ranges) or 0
end

--- Whether it is known how the group ends: all have returned a value, or one
-- has failed, while others may go on. From then on `get` does not wait; but it
-- is the first to read the values, from Redis.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:ready()
  return self.whole:ready()
end

--- Whether all have returned a value.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:successful()
  return self.whole:successful()
end

--- Whether one has failed or was revoked.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:failed()
  return self.whole:failed()
end

--- The state of the group, see @{taskengine.result.Result:state}.
-- @treturn string
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:state()
  return self.whole:state()
end

--- The values, without waiting.
-- @return as of @{GroupResult:get}; nil before all have ended; the TaskError of
-- the member that failed first
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:result()
  local _, value = self:wait(0)
  return value ~= "timeout" and value or nil
end

--- All that is known of the group as a whole, without waiting.
-- @treturn table see @{taskengine.result.Result:info}: `id`, `state`, and
-- `value` or `error` of one that has ended
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:info()
  local info = self.whole:info()
  info.error = info.error and errors.cause(info.error)
  return info
end

--- Its members, also those that were added.
-- @treturn {Result,...}
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:children()
  growth.see(self)
  return table.move(self, 1, #self, 1, {})
end

--- The task that has sent the group.
-- @treturn ?Result nil when none has, or it is not known any more
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:parent()
  return self.flow and self.whole:parent()
end

--- Revokes what has not ended of all that was sent with the group.
-- @tparam[opt] table opts see @{taskengine.canvas.handle.Flow:revoke}
-- @treturn[1] boolean true
-- @treturn[1] string `"revoked"`
-- @treturn[2] boolean false
-- @treturn[2] string why not
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:revoke(opts)
  if not self.flow then
    return false, "finished"
  end
  return self.flow:revoke(opts)
end

--- Lets Redis forget the results of the group and of its members. While what
-- was sent with the group goes on, they are needed and stay.
-- @treturn int how many there were
-- @raise TaskError of kind BrokerUnavailable
function GroupResult:forget()
  if not self.flow then
    return 0
  end
  growth.see(self)
  self.whole.outcome = nil
  return handle.forget(self.flow, #self.members + 1, function(i)
    return i == 1 and self.id or results.id(self.members, i - 1)
  end)
end

--- For people.
-- @treturn string
function GroupResult:__tostring()
  return ("results of a group of %d"):format(#self.members)
end

caller.guard_methods(GroupResult, "group")

local methods = {}
for name, method in pairs(GroupResult) do
  if name:sub(1, 2) ~= "__" then
    methods[name] = method
  end
end

function GroupResult:__index(key)
  local method = methods[key]
  if method then
    return method
  end
  return math.type(key) == "integer" and self.members[key] or nil
end

function GroupResult:__len()
  return #self.members
end

return group_result
