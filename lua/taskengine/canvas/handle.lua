--- A flow in Redis, as who has sent it sees it.
-- @module taskengine.canvas.handle

local caller = require("taskengine.caller")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local options = require("taskengine.options")
local record = require("taskengine.record")

local handle = {}

-- In a cell of te1_flow_look, see docs/protocol.md.
local CELL_BYTES <const> = 12
local CELLS <const> = 4096 -- in one question
local PRODUCER_BYTES <const> = 12
local FLOW_NUMBER <const> = "00000000"
local HAS_ENDED <const> = {
  d = true, f = true, n = true, R = true, s = true,
}

--- A flow.
-- @type Flow
-- @tfield string id
local Flow = { __name = "taskengine.Flow" }
Flow.__index = Flow

--- Makes one.
-- @tparam Client client
-- @tparam string producer
-- @tparam[opt=0] int base from which its nodes are counted
-- @treturn Flow
function handle.new(client, producer, base)
  return setmetatable({
    id = producer .. FLOW_NUMBER,
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
  return handle.new(client, id:sub(1, PRODUCER_BYTES))
end

local function raise_gone(self)
  errors.raise(errors.new {
    kind = "Forgotten",
    id = self.id,
    message = "nothing is known of this flow: it has expired, or was never"
      .. " sent",
  })
end

-- A page of cells.
local function read_cells(self, page)
  local cells = self.client:ask("te1_flow_look",
    { self.producer, "c", page * CELLS + 1, CELLS })
  if cells == "" then
    self:info() -- raises when nothing is known of it
  end
  return cells
end

--- How many nodes have ended.
-- @tparam {table,...} ranges each from `first` to `last`, counted from the
-- flow's first node
-- @treturn int
-- @raise TaskError of kind BrokerUnavailable, Forgotten
function Flow:ended(ranges)
  local count, page, cells = 0, nil, nil
  for _, range in ipairs(ranges) do
    for node = range.first, range.last do
      if (node - 1) // CELLS ~= page then
        page = (node - 1) // CELLS
        cells = read_cells(self, page)
      end
      local at = (node - 1) % CELLS * CELL_BYTES + 1
      count = count + (HAS_ENDED[cells:sub(at, at)] and 1 or 0)
    end
  end
  return count
end

--- What Redis knows of it.
-- @treturn table `nodes`, how many; `left`, how many have not ended; `state`
-- RUNNING, DONE or REVOKED; `name`
-- @raise TaskError of kind BrokerUnavailable, Forgotten
function Flow:info()
  local head = self.client:ask("te1_flow_look", { self.producer, "h", 0, 0 })
  if not head[1] then
    raise_gone(self)
  end
  local state = head[6]
  return {
    nodes = head[3],
    left = head[4],
    state = state:sub(1, 1) == "R" and "REVOKED"
      or state == "done" and "DONE" or "RUNNING",
    name = head[7] ~= "" and head[7] or nil,
  }
end

--- Revokes all of it that has not ended: what waits never begins, what runs is
-- asked to end.
-- @tparam[opt] table opts
-- @tparam[opt] boolean opts.terminate what runs and does not end within a
-- second is killed
-- @treturn boolean whether there was anything left to revoke, or to terminate
-- of what was asked to end before
-- @raise TaskError of kind BrokerUnavailable
function Flow:revoke(opts)
  opts = options.check("revoke", options.REVOKE, opts)
  local bytes = record.revocation {
    kind = "Revoked",
    message = "the flow was revoked",
  }
  return self.client:ask("te1_flow_revoke", { self.producer, bytes,
    opts.terminate and "t" or "c" }) == 1
end

--- Runs again what failed, and what failed because of that, once all of it has
-- ended.
-- @treturn[1] boolean true
-- @treturn[2] boolean false
-- @treturn[2] string why not: `running`, `missing` or `nothing`, of which
-- failed
-- @raise TaskError of kind BrokerUnavailable
function Flow:retry()
  local answer = self.client:ask("te1_flow_retry", { self.producer })
  if answer == "retried" then
    return true
  end
  return false, answer
end

--- The id of a node.
-- @tparam int node
-- @treturn string
function Flow:node_id(node)
  return core.envelope.id(self.producer, self.base + node)
end

--- For people.
-- @treturn string
function Flow:__tostring()
  return "flow " .. self.id
end

caller.guard_methods(Flow, "flow")

return handle
