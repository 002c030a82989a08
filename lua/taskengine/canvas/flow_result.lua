--- The results of a flow of named nodes.
-- @module taskengine.canvas.flow_result

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local completion = require("taskengine.completion")
local errors = require("taskengine.errors")
local options = require("taskengine.options")
local result = require("taskengine.result")
local suggest = require("taskengine.suggest")

local flow_result = {}

--- The results of a flow.
-- @type FlowResult
-- @tfield string id of the flow, for `taskengine flow`
-- @tfield Flow flow
-- @tfield {string,...} names of the nodes that no other waits for
local FlowResult = { __name = "taskengine.FlowResult" }
FlowResult.__index = FlowResult

--- Makes one.
-- @tparam Flow flow
-- @tparam {string,...} names of the sinks
-- @tparam {[string]=int,...} nodes name to the node, of all
-- @treturn FlowResult
function flow_result.new(flow, names, nodes)
  return setmetatable({
    id = flow.id,
    flow = flow,
    names = names,
    nodes = nodes,
    made = {},
  }, FlowResult)
end

--- The result of a node.
-- @tparam string name
-- @treturn Result
-- @raise when the flow has no such node
function FlowResult:node(name)
  local node = self.nodes[name]
  if not node then
    local names = {}
    for other in pairs(self.nodes) do
      names[#names + 1] = other
    end
    table.sort(names)
    caller.raise(("node: the flow has no node '%s'%s"):format(
      tostring(name), suggest.hint(tostring(name), names)))
  end
  if not self.made[name] then
    local id = self.flow:node_id(node)
    self.made[name] = result.new(self.flow.client, id, { engine_id = id })
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

--- Waits for the nodes that no other waits for, and returns their values.
-- @tparam[opt] table opts
-- @tparam[opt] number opts.timeout in seconds, for all of them
-- @treturn table name to value
-- @raise the TaskError of one that failed, or of the node because of which it
-- did; of kind Timeout, Forgotten, BrokerUnavailable
function FlowResult:get(opts)
  local timeout = options.check("get", options.GET, opts).timeout
  for one in completion.as_completed(sinks(self), timeout) do
    local ok, problem = one:wait(0)
    if not ok then
      errors.raise(errors.cause(problem))
    end
  end
  local values = {}
  for _, name in ipairs(self.names) do
    values[name] = self:node(name):get()
  end
  return values
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
  local ok, value = pcall(FlowResult.get, self, { timeout = timeout })
  if ok then
    return true, value
  elseif not errors.is(value) or value.kind == "BrokerUnavailable" then
    error(value, 0)
  elseif value.kind == "Timeout" and not value.id then
    return nil, "timeout"
  end
  return false, value
end

--- Yields the results of those nodes as they end.
-- @tparam[opt] number timeout in seconds, for all of them
-- @return an iterator for a generic `for`
-- @raise in the loop: TaskError of kind Timeout when the time is up
function FlowResult:iter(timeout)
  return completion.as_completed(sinks(self), timeout)
end

--- Whether the whole flow has ended.
-- @treturn boolean
-- @raise TaskError of kind BrokerUnavailable, Forgotten
function FlowResult:ready()
  return self.flow:info().left == 0
end

--- How many of its nodes have ended.
-- @treturn int
-- @raise TaskError of kind BrokerUnavailable, Forgotten
function FlowResult:completed_count()
  local info = self.flow:info()
  return info.nodes - info.left
end

--- Revokes all of it that has not ended.
-- @tparam[opt] table opts see @{taskengine.canvas.handle.Flow:revoke}
-- @treturn boolean whether there was anything left to revoke
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
