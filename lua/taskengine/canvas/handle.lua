--- A flow in Redis, as who has sent it sees it.
-- @module taskengine.canvas.handle

local caller = require("taskengine.caller")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local flow_look = require("taskengine.canvas.flow_look")
local header = require("taskengine.header")
local labels = require("taskengine.canvas.labels")
local revoke = require("taskengine.revoke")

local handle = {}

local FORGOTTEN_MAX <const> = 1000 -- in one call
-- By the letters of their states, see docs/protocol.md.
local HAS_ENDED <const> = {
  d = true, f = true, n = true, R = true, s = true,
}

--- A flow.
-- @type Flow
-- @tfield string id
local Flow = {
  __name = "taskengine.Flow",
  __cannot_travel = "a flow cannot be sent; its id can, for app:flow(id)",
}
Flow.__index = Flow

--- Makes one.
-- @tparam Client client
-- @tparam string producer
-- @tparam[opt=0] int base from which its nodes are counted
-- @treturn Flow
function handle.new(client, producer, base)
  return setmetatable({
    id = core.envelope.id(producer, 0),
    producer = producer,
    base = base or 0,
    client = client,
  }, Flow)
end

--- The flow that a task is a node of.
-- @tparam Client client
-- @tparam string id of the flow, or of any of its nodes
-- @treturn Flow
function handle.of(client, id)
  return handle.new(client, header.producer(id))
end

local function raise_gone(self)
  errors.raise(errors.new {
    kind = "Forgotten",
    id = self.id,
    message = "nothing is known of this flow: it has expired, or was never"
      .. " sent, or the id is that of a task in none",
  })
end

--- How many nodes have ended.
-- @tparam {table,...} ranges each from `first` to `last`, counted from the
-- flow's first node
-- @treturn int
-- @raise TaskError of kind BrokerUnavailable, Forgotten
function Flow:ended(ranges)
  local look, count = flow_look.new(self.client, self.id), 0
  for _, range in ipairs(ranges) do
    for node = range.first, range.last do
      count = count + (HAS_ENDED[look:cell(node)] and 1 or 0)
    end
  end
  if count == 0 then
    self:info() -- raises when nothing is known of it
  end
  return count
end

--- What Redis knows of it.
-- @treturn table `nodes`, how many; `left`, how many have not ended; `state`
-- INCOMPLETE (not all of it was sent, so none has begun), RUNNING, DONE or
-- REVOKED; `name`
-- @raise TaskError of kind BrokerUnavailable, Forgotten
function Flow:info()
  local head = flow_look.new(self.client, self.id):head()
  if not head then
    raise_gone(self)
  end
  return {
    nodes = head.nodes,
    left = head.left,
    state = head.state:upper(),
    name = head.name ~= "" and head.name or nil,
  }
end

--- Revokes all of it that has not ended: what waits never begins, what runs is
-- asked to end.
-- @tparam[opt] table opts
-- @tparam[opt] boolean opts.terminate what runs and does not end within a
-- second is killed
-- @treturn[1] boolean true
-- @treturn[1] string `"revoked"`
-- @treturn[2] boolean false
-- @treturn[2] string why not: `"finished"`, it has ended or was revoked before;
-- or `"unknown"`. To `terminate` what was asked to end before is to revoke it
-- @raise TaskError of kind BrokerUnavailable
function Flow:revoke(opts)
  return revoke.one(self.client, self.id, revoke.options(opts))
end

--- Runs again what failed or was revoked, and what failed because of that, once
-- all of it has ended. From then on no result tells how that had failed,
-- neither one that is at hand here nor one that somebody asks Redis for.
-- @treturn[1] boolean true
-- @treturn[2] boolean false
-- @treturn[2] string why not: `"running"`, `"nothing"` of it has failed,
-- `"incomplete"`: not all of it was sent; or `"missing"`
-- @raise TaskError of kind BrokerUnavailable
function Flow:retry()
  local client, producer = self.client, self.producer
  local answer = client:ask("te1_flow_retry", { producer }, self.id)
  client.retried[producer] = (client.retried[producer] or 0) + 1
  if answer == "retried" then
    return true
  elseif answer == "missing" and flow_look.new(client, self.id):head() then
    answer = "incomplete"
  end
  return false, answer
end

--- Lets Redis forget the results of some nodes. While the flow goes on, they
-- are needed and stay.
-- @tparam Flow flow
-- @tparam int count
-- @tparam function id_at gets a number from 1; the id of that node
-- @treturn int how many there were
-- @raise TaskError of kind BrokerUnavailable
function handle.forget(flow, count, id_at)
  local forgotten = 0
  for first = 1, count, FORGOTTEN_MAX do
    local ids = {}
    for i = first, math.min(first + FORGOTTEN_MAX - 1, count) do
      ids[#ids + 1] = id_at(i)
    end
    forgotten = forgotten + flow.client:ask("te1_forget", ids, flow.id)
  end
  return forgotten
end

--- The id of a node.
-- @tparam int node
-- @treturn string
function Flow:node_id(node)
  return core.envelope.id(self.producer, self.base + node)
end

--- The result of a node of @{taskengine.canvas.flow}, also in another program
-- than the one that has sent it. The names of a flow are kept for this as long
-- as they take no more than 64 KiB; those of all flows in one canvas, callbacks
-- among them, lie together.
-- @tparam string name; of a node in a flow that is itself a node: both names,
-- with a dot between
-- @treturn Result
-- @raise when no node has that name, or several have, or no names are kept;
-- TaskError of kind BrokerUnavailable, Forgotten
function Flow:node(name)
  local head = flow_look.new(self.client, self.id):head() or raise_gone(self)
  local id = core.envelope.id(self.producer, labels.find(head.labels, name))
  return require("taskengine.result").new(self.client, id)
end

--- For people.
-- @treturn string
function Flow:__tostring()
  return "flow " .. self.id
end

caller.guard_methods(Flow, "flow")

return handle
