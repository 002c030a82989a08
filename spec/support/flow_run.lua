--- A flow under faults: workers that die, answers that come late and twice,
-- attempts that are repeated, nodes and flows that are revoked.
--
-- All is drawn from a seed. What must hold is derived from the plan alone: the
-- first outcome that Redis has taken of a task stays its outcome; a task is
-- handed out only when all that it needs has ended as it must, with these
-- outcomes; what is open is counted right; and each node ends.
-- @module spec.support.flow_run

local envelope = require("spec.support.envelope")
local flow_draw = require("spec.support.flow_draw")
local random = require("spec.support.fake_redis.random")
local shard = require("spec.support.shard")

local flow_run = {}

local Run = {}
Run.__index = Run

local WORKERS <const>, QUEUES <const> = 3, { "a", "b" }
local NO_RESULT <const>, HAS_PAST <const> = 1, 16 -- flags
local CELL_BYTES <const>, TTL_S <const> = 12, 600
local REVOKED <const>, LOST <const> = "R\x80", "F\x81\xa4kind\xaaWorkerLost"
local IS_OPEN <const> = { ["\0"] = true, r = true, g = true }
local ROUNDS_MAX <const> = 2000
local GROWN_MAX <const> = 40 -- nodes

--- Draws a flow and its workers.
-- @tparam int seed
-- @treturn Run
function flow_run.new(seed)
  local chance = random.new(seed)
  local plan = flow_draw.plan(chance, QUEUES, TTL_S)
  local self = setmetatable({
    chance = chance,
    plan = plan,
    calls = flow_draw.calls(plan, chance),
    sent = 0,
    shard = shard.new(seed, {
      flow_steps_max = chance:upto(2) == 1 and 1 + chance:upto(4) or nil,
    }),
    workers = {},
    names = 0,
    deliveries = {}, -- all there ever were: wid, field, node
    committed = {}, -- node to the first outcome that Redis took
    additions = {}, -- all there were: the arguments, and the node ahead
    values = 0,
    steps = 0,
  }, Run)
  for k = 1, WORKERS do
    self.workers[k] = self:register()
  end
  return self
end

function Run:one_in(n)
  return self.chance:upto(n) == 1
end

function Run:register()
  self.names = self.names + 1
  local wid = ("worker%06d"):format(self.names)
  self.shard:call("register", wid, 15000, "", table.unpack(QUEUES))
  return wid
end

function Run:outcome(i)
  return self.shard:call("outcome", self.plan:id(i))[1]
end

-- How a node ended: "ok", "failed" or "skipped"; nil while it has not.
local function class_of(record)
  local letter = record:sub(1, 1)
  if letter == "=" or letter == "?" then
    return nil
  elseif letter == "R" and record:find("Skipped", 1, true) then
    return "skipped"
  end
  return (letter == "F" or letter == "R") and "failed" or "ok"
end

-- What the edges into a node say to it: "run", "failed", "skipped", or nil
-- while that is open. Of several that end it, any may have come first.
function Run:verdicts(i)
  local verdicts, waits = {}, false
  for _, edge in ipairs(self.plan.nodes[i].after) do
    local kind, class = edge[1], class_of(self:outcome(edge[2]))
    if not class then
      waits = true
    elseif kind == "e" then
      if class ~= "failed" then
        verdicts.skipped = true
      end
    elseif class ~= "ok" and (kind == "f" or kind == "s") then
      verdicts[class] = true
    end
  end
  if not next(verdicts) and not waits then
    verdicts.run = true
  end
  return verdicts
end

local function check(ok, ...)
  if not ok then
    error(string.format(...), 0)
  end
end

-- A worker was given a task.
function Run:delivered(wid, bytes, number)
  local e = envelope.read(bytes)
  local i = e.node
  check(e.id == self.plan:id(i) and e.flow == self.plan:id(0),
    "node %d has another's id", i)
  check(self.sent == #self.calls, "node %d begins before the seal", i)
  check(not self.committed[i], "node %d begins after its end", i)
  check(not self.revoked, "node %d begins in a revoked flow", i)
  check(self:verdicts(i).run, "node %d begins and is not to", i)
  local inputs = {}
  for _, edge in ipairs(self.plan.nodes[i].after) do
    if edge[1] ~= "s" then
      inputs[#inputs + 1] = string.pack(">s4", self:outcome(edge[2]))
    end
  end
  check(e.body == string.pack(">I4", #inputs) .. table.concat(inputs)
    .. "\x91\x90", "node %d begins with other inputs", i)
  table.insert(self.deliveries,
    { wid = wid, field = envelope.field(bytes, number), node = i,
      queue = e.queue, is_plain = e.flags & (NO_RESULT | HAS_PAST) == 0 })
end

function Run:commit(i, record)
  check(not self.committed[i], "node %d ends twice", i)
  self.committed[i] = record
end

function Run:fetch(wid, want)
  local s = self.shard
  s.fetches = s.fetches + 1
  local number = s.fetches
  local reply = s:call("fetch", wid, 15000, want, number, 0,
    table.unpack(QUEUES))
  if reply[1] ~= "FENCED" then
    for k = 3, #reply do
      self:delivered(wid, reply[k], number)
    end
  end
end

-- Any delivery that there ever was is told to have ended, by whoever had it.
function Run:finish(delivery, record)
  local s, args = self.shard, { delivery.wid, 15000 }
  local number
  if self:one_in(2) then
    s.fetches = s.fetches + 1
    number = s.fetches
    table.move({ "t", self.chance:upto(3), number }, 1, 3, 3, args)
  end
  local operation = { "o", delivery.field, record }
  if delivery.is_plain and record:sub(1, 1) == "S" and self:one_in(2) then
    operation = { "m", delivery.queue, 60, 1, delivery.field, record }
  end
  table.move(operation, 1, #operation, #args + 1, args)
  local reply = s:call("finish", table.unpack(args))
  if reply[1] == "FENCED" then
    return
  elseif reply[1] == 1 and self.committed[delivery.node] then
    check(self.committed[delivery.node] == REVOKED, "node %d ends twice",
      delivery.node)
  elseif reply[1] == 1 then
    self:commit(delivery.node, record)
  end
  for k = 2, #reply do
    self:delivered(delivery.wid, reply[k], number)
  end
end

-- Each attempt has another value, so that a second one that counts is seen.
function Run:draw_record()
  self.values = self.values + 1
  return (self:one_in(5) and "F\x81\xa4kind\xa3E%02d" or "S%d")
    :format(self.values % 100)
end

local ACTIONS <const> = {}

function ACTIONS.send(self)
  local k = self:one_in(3) and self.sent or self.sent + 1
  if self.calls[k] then
    local reply = self.shard:call("flow", table.unpack(self.calls[k]))
    check(reply[2] == (self.sent == #self.calls and 1 or 0),
      "verdict %d of call %d", reply[2], k)
    self.sent = math.max(self.sent, k)
  end
end

function ACTIONS.fetch(self)
  self:fetch(self.chance:pick(self.workers), self.chance:upto(4))
end

function ACTIONS.finish(self)
  if self.deliveries[1] then
    self:finish(self.chance:pick(self.deliveries), self:draw_record())
  end
end

-- The attempt comes to nothing: handed back, put off, or its child died.
function ACTIONS.back(self)
  local d = self.deliveries[1] and self.chance:pick(self.deliveries)
  local args = d and self.chance:pick {
    { "h", d.field }, { "b", d.field }, { "l", d.field, LOST },
    { "r", d.field,
      string.pack(">I8BI4", self.chance:upto(300) - 1, 1, 0) .. "F\x80" },
  }
  if args then
    self.shard:call("finish", d.wid, 15000, table.unpack(args))
    if not self.committed[d.node] and self:outcome(d.node) == LOST then
      self:commit(d.node, LOST)
    end
  end
end

-- The edges by which a node is a member of groups.
local function joins_of(nodes, from)
  local joins = {}
  for _, node in ipairs(nodes) do
    for _, edge in ipairs(node.grows and node.after or {}) do
      if edge[2] == from then
        joins[#joins + 1] = { node = node, kind = edge[1] }
      end
    end
  end
  return joins
end

-- The plan with the nodes that were added.
local function extend(plan, added, joins)
  local base = #plan.nodes
  for _, node in ipairs(added.nodes) do
    for _, edge in ipairs(node.after) do
      edge[2] = edge[2] + base
    end
    local i = plan:node(node)
    for _, join in ipairs(node.joins and joins or {}) do
      table.insert(join.node.after, { join.kind, i })
    end
  end
  return base
end

-- Any delivery that there ever was adds members, or what was added is added
-- once more.
function ACTIONS.add(self)
  local before = self:one_in(3) and self.additions[1]
    and self.chance:pick(self.additions)
  local d = self.deliveries[1] and self.chance:pick(self.deliveries)
  if before then
    local reply = self.shard:call("flow_add", table.unpack(before.args))
    check(reply[2] == 0 and reply[3] == before.base, "%s is added twice",
      before.args[3])
  elseif d and #self.plan.nodes < GROWN_MAX then
    self:add(d.node, flow_draw.addition(self.chance, QUEUES),
      ("a%d"):format(#self.additions + 1))
  end
end

function Run:add(i, added, name)
  local joins = joins_of(self.plan.nodes, i)
  local args = { self.plan.producer, i, name, #added.nodes,
    table.unpack(added:pieces()) }
  local is_over = self.revoked or class_of(self:outcome(i))
  local expected = is_over and 2 or not joins[1] and 1 or 0
  local reply = self.shard:call("flow_add", table.unpack(args))
  check(reply[2] == expected, "node %d adds: %d, not %d", i, reply[2],
    expected)
  if expected == 0 then
    local base = extend(self.plan, added, joins)
    check(reply[3] == base, "the first new node is %d", reply[3] + 1)
    table.insert(self.additions, { args = args, base = base })
  end
end

-- A worker dies, and a new one comes.
function ACTIONS.crash(self)
  local k = self.chance:upto(WORKERS)
  self.shard:call("reap", self.workers[k], "1", LOST, "-")
  self.workers[k] = self:register()
end

function ACTIONS.revoke(self)
  local i = self.chance:upto(#self.plan.nodes)
  if self.sent == #self.calls and self:one_in(6) and self.shard:call("cancel",
    REVOKED, 60, self.plan:id(i))[1] == "revoked" then
    self:commit(i, REVOKED)
  end
end

function ACTIONS.revoke_flow(self)
  if self:one_in(40) and self.sent == #self.calls
    and self.shard:call("flow_revoke", self.plan.producer, REVOKED, "w") == 1
  then
    self.revoked = true
  end
end

function ACTIONS.wait(self)
  self.shard:advance(self.chance:upto(200))
  self.shard:call("promote", 10)
  for _, wid in ipairs(self.workers) do
    self.shard:call("heartbeat", wid, 15000, table.unpack(QUEUES))
  end
end

local NAMES <const> = {
  "send", "fetch", "fetch", "finish", "finish", "finish", "back", "crash",
  "revoke", "revoke_flow", "wait", "add",
}

-- What is open is counted, and no task is in two places.
function Run:check()
  local s, producer = self.shard, self.plan.producer
  local left = s:redis("HGET", "g:" .. producer, "left")
  if left then
    local cells, open = s:redis("GETRANGE", "gs:" .. producer, 0, -1), 0
    for i = 1, #self.plan.nodes do
      local at = (i - 1) * CELL_BYTES + 1
      open = open + (IS_OPEN[cells:sub(at, at)] and 1 or 0)
    end
    check(tonumber(left) >= 0, "%s are left", left)
    check(open == tonumber(left) or self.is_retrying, "%d are open, not %s",
      open, left)
  end
  local places = {}
  local function put(id)
    check(not places[id], "%s is in two places", id)
    places[id] = true
  end
  for _, wid in ipairs(self.workers) do
    for _, field in ipairs(s:redis("HKEYS", "f:" .. wid)) do
      put(field:sub(1, 20))
    end
  end
  for _, queue in ipairs(QUEUES) do
    for _, id in ipairs(s:ready(queue)) do
      put(id)
    end
  end
  for i, record in pairs(self.committed) do
    check(self:outcome(i) == record, "node %d has another outcome", i)
  end
end

--- Something happens.
function Run:step()
  self.steps = self.steps + 1
  ACTIONS[self.chance:pick(NAMES)](self)
  self:check()
end

function Run:is_over()
  return self.shard:redis("HGET", "g:" .. self.plan.producer, "state")
    == "done"
end

-- Also of a flow that is over: what was revoked there goes when it comes out.
function Run:has_ready()
  for _, queue in ipairs(QUEUES) do
    if self.shard:ready(queue)[1] then
      return true
    end
  end
  return false
end

-- No faults any more: all that is open is done.
function Run:run_out()
  for k = self.sent + 1, #self.calls do
    self.shard:call("flow", table.unpack(self.calls[k]))
    self.sent = k
  end
  local rounds = 0
  while not self:is_over() or self.shard:redis("EXISTS", "gq") == 1
    or self:has_ready() do
    rounds = rounds + 1
    check(rounds < ROUNDS_MAX, "it never ends")
    for _, wid in ipairs(self.workers) do
      self:fetch(wid, 10)
      for _, field in ipairs(self.shard:redis("HKEYS", "f:" .. wid)) do
        local i = envelope.number(field:sub(1, 20))
        self:finish({ wid = wid, field = field, node = i },
          self:draw_record())
      end
    end
    ACTIONS.wait(self)
  end
  self.is_retrying = false
  self:check()
end

-- Every node ended as its sources say, unless somebody has ended it.
function Run:check_ends()
  for i, node in ipairs(self.plan.nodes) do
    local class = class_of(self:outcome(i))
    check(class, "node %d has not ended", i)
    if not self.revoked and not self.committed[i] then
      local verdicts = self:verdicts(i)
      check(verdicts[class] or verdicts.run and node.virtual,
        "node %d is %s", i, class)
      check(not verdicts.run or node.virtual, "node %d never ran", i)
    end
  end
end

-- What did not succeed is done again.
function Run:retry()
  if self.shard:call("flow_retry", self.plan.producer) == "retried" then
    self.is_retrying, self.revoked = true, false
    for i, record in pairs(self.committed) do
      if class_of(record) ~= "ok" then
        self.committed[i] = nil
      end
    end
    self:run_out()
    self:check_ends()
  end
end

--- Ends the flow, and does again what failed.
function Run:finish_all()
  self:run_out()
  self:check_ends()
  if self:one_in(2) then
    self:retry()
  end
end

--- What is left when all times to live are over.
-- @treturn {string,...} keys
function Run:leftovers()
  self.shard:advance(8 * 86400000)
  local wid = self:register()
  self.shard:call("heartbeat", wid, 15000, table.unpack(QUEUES))
  table.insert(self.workers, wid)
  for _, each in ipairs(self.workers) do
    self.shard:call("reap", each, "1", LOST, "-")
  end
  local left = {}
  for _, key in ipairs(self.shard:keys()) do
    if not key:find("^s:") and key ~= "q" and key ~= "n" and key ~= "x"
      and key ~= "e" and key ~= "t" then
      left[#left + 1] = key
    end
  end
  return left
end

return flow_run
