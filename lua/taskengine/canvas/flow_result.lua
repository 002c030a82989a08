--- The results of a flow of named nodes.
-- @module taskengine.canvas.flow_result

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local completion = require("taskengine.completion")
local errors = require("taskengine.errors")
local handle = require("taskengine.canvas.handle")
local labels = require("taskengine.canvas.labels")
local options = require("taskengine.options")
local result = require("taskengine.result")

local flow_result = {}

--- The results of a flow; `#` is how many nodes have names.
-- @type FlowResult
-- @tfield string id of the flow, for `taskengine flow`
-- @tfield Flow flow
-- @tfield {string,...} names of the nodes that no other waits for
local FlowResult = {
  __name = "taskengine.FlowResult",
  __cannot_travel = "the result of a flow cannot be sent; what get()"
    .. " returns can, or its id, for app:flow(id)",
}
FlowResult.__index = FlowResult

--- Makes one.
-- @tparam Flow flow
-- @tparam {string,...} names of the sinks
-- @tparam {[string]=int,...} nodes name to the node, of all
-- @tparam {[int]=string,...} within node to name, also of those in flows that
-- are nodes
-- @treturn FlowResult
function flow_result.new(flow, names, nodes, within)
  return setmetatable({
    id = flow.id,
    flow = flow,
    names = names,
    nodes = nodes,
    within = within,
    made = {}, -- name to result
    names_of = {}, -- the other way round
  }, FlowResult)
end

-- The names of all nodes, in order.
local function all_names(self)
  local names = {}
  for name in pairs(self.nodes) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

--- The result of a node.
-- @tparam string name; of a node in a flow that is itself a node: both names,
-- with a dot between
-- @treturn Result
-- @raise when the flow has no such node, or several in flows have that name
function FlowResult:node(name)
  local node = self.nodes[name] or labels.find(self.within, name)
  if not self.made[name] then
    local id = self.flow:node_id(node)
    local one = result.new(self.flow.client, id, { engine_id = id })
    self.made[name], self.names_of[one] = one, name
  end
  return self.made[name]
end

local function sinks(self)
  local list = {}
  for i, name in ipairs(self.names) do
    list[i] = self:node(name)
  end
  return list
end

-- See @{taskengine.completion}.
FlowResult.__awaits = sinks

-- Returns what wait does.
local function await(self, timeout)
  local values, problem, is_over = {}, nil, true
  local function visit(one)
    local ok, value = one:wait(0)
    if ok then
      values[self.names_of[one]] = value
    elseif ok == nil then
      is_over = false
    else
      problem = errors.cause(value)
    end
    return problem ~= nil
  end
  is_over = completion.each(sinks(self), timeout, visit) and is_over
  if problem then
    return false, problem
  elseif not is_over then
    return nil, "timeout"
  end
  return true, values
end

--- Waits for the nodes that no other waits for, and returns their values.
-- @tparam[opt] table opts
-- @tparam[opt] number opts.timeout in seconds, for all of them
-- @treturn table name to value
-- @raise the TaskError of one that failed, or of the node because of which it
-- did; of kind Timeout, Forgotten, BrokerUnavailable
function FlowResult:get(opts)
  local timeout = options.check("get", options.GET, opts).timeout
  local ok, value = await(self, timeout)
  if ok == nil then
    errors.raise(errors.new {
      kind = "Timeout",
      id = self.id,
      message = ("not finished within %.14g s; the flow goes on")
        :format(timeout),
    })
  elseif not ok then
    errors.raise(value)
  end
  return value
end

--- Waits for those nodes without raising an error.
-- @tparam[opt] number timeout in seconds, for all of them
-- @treturn[1] boolean true
-- @treturn[1] table name to value
-- @treturn[2] boolean false
-- @treturn[2] TaskError as @{FlowResult:get} raises it
-- @return[3] nil: the time is up
-- @treturn[3] string `"timeout"`
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:wait(timeout)
  if timeout ~= nil and not options.GET.known.timeout(timeout) then
    caller.raise(check.problem("wait: timeout", options.GET.known.timeout,
      timeout))
  end
  return await(self, timeout)
end

--- Waits for each of those nodes, whether others fail or not, and returns their
-- values.
-- @tparam[opt] table opts
-- @tparam[opt] number opts.timeout in seconds, for all of them
-- @tparam[opt=true] boolean opts.propagate false: errors stand in the table
-- where the values would
-- @treturn table name to value
-- @raise the TaskError of the first, by name, that failed; of kind Timeout,
-- BrokerUnavailable
function FlowResult:join(opts)
  opts = options.check("join", options.JOIN, opts)
  for _ in completion.as_completed(sinks(self), opts.timeout) do end
  local values = {}
  for _, name in ipairs(self.names) do
    values[name] = completion.value(self:node(name), opts.propagate)
  end
  return values
end

--- Yields the results of those nodes as they end, and their names.
-- @tparam[opt] number timeout in seconds, for all of them
-- @return an iterator for a generic `for`: result, name
-- @raise in the loop: TaskError of kind Timeout when the time is up
function FlowResult:iter(timeout)
  local next_one, _, _, closing = completion.as_completed(sinks(self), timeout)
  return function()
    local one = next_one()
    return one, one and self.names_of[one]
  end, nil, nil, closing
end

--- The state of the flow, by that of those nodes.
-- @treturn string `SUCCESS` when all have returned a value; `FAILURE`,
-- `REVOKED` or `UNKNOWN` when one of them is; `PENDING` otherwise
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:state()
  local state = "SUCCESS"
  for _, outcome in ipairs(result.look_at(sinks(self))) do
    if not outcome then
      state = "PENDING"
    elseif outcome.state ~= "SUCCESS" then
      return outcome.state or "UNKNOWN"
    end
  end
  return state
end

--- Whether it is known how the flow ends: those nodes have returned a value, or
-- one has failed or is unknown, while others may go on. From then on `get` does
-- not wait.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:ready()
  return self:state() ~= "PENDING"
end

--- Whether all of those nodes have returned a value.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:successful()
  return self:state() == "SUCCESS"
end

--- Whether one of those nodes has failed or was revoked.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:failed()
  local state = self:state()
  return state == "FAILURE" or state == "REVOKED"
end

--- The values, without waiting.
-- @return as of @{FlowResult:get}; nil before it has ended; the TaskError when
-- it failed
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:result()
  local ok, value = await(self, 0)
  return ok ~= nil and value or nil
end

--- All that is known of the flow as a whole, without waiting.
-- @treturn table `id`, `state`, and `value` or `error` of one that has ended
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:info()
  local ok, value = await(self, 0)
  return {
    id = self.id,
    -- What has ended since is in neither.
    state = ok == nil and "PENDING" or self:state(),
    value = ok and value or nil,
    error = ok == false and value or nil,
  }
end

--- The results of all of its nodes, by name.
-- @treturn {Result,...}
function FlowResult:children()
  local children = {}
  for i, name in ipairs(all_names(self)) do
    children[i] = self:node(name)
  end
  return children
end

--- The task that has sent the flow.
-- @treturn ?Result nil when none has, or it is not known any more
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:parent()
  return sinks(self)[1]:parent()
end

--- Lets Redis forget the results of its nodes. While the flow goes on, they are
-- needed and stay.
-- @treturn int how many there were
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:forget()
  local children = self:children()
  for _, one in ipairs(children) do
    one.outcome = nil
  end
  return handle.forget(self.flow, #children, function(i)
    return children[i].id
  end)
end

--- How many of its nodes, see @{FlowResult:children}, have ended.
-- @treturn int
-- @raise TaskError of kind BrokerUnavailable, Forgotten
function FlowResult:completed_count()
  local ranges = {}
  for _, number in pairs(self.nodes) do
    local node = self.flow.base + number
    ranges[#ranges + 1] = { first = node, last = node }
  end
  table.sort(ranges, function(a, b) -- they are read page by page
    return a.first < b.first
  end)
  return self.flow:ended(ranges)
end

--- How many nodes have names: those of @{FlowResult:children}, of which
-- @{FlowResult:completed_count} tells how many have ended.
-- @treturn int
function FlowResult:__len()
  local count = 0
  for _ in pairs(self.nodes) do
    count = count + 1
  end
  return count
end

--- Revokes all of it that has not ended.
-- @tparam[opt] table opts see @{taskengine.canvas.handle.Flow:revoke}
-- @treturn[1] boolean true
-- @treturn[1] string `"revoked"`
-- @treturn[2] boolean false
-- @treturn[2] string why not
-- @raise TaskError of kind BrokerUnavailable
function FlowResult:revoke(opts)
  return self.flow:revoke(opts)
end

--- For people.
-- @treturn string
function FlowResult:__tostring()
  return "results of the flow " .. self.id
end

caller.guard_methods(FlowResult, "flow")

return flow_result
