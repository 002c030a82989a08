--- A flow under faults: workers that die, answers that come late and twice,
-- attempts that are repeated, tasks that add others or delegate, all that
-- people do to flows and their tasks.
--
-- All is drawn from a seed. Each call is told to a model (`flow_model`), and
-- after each of them what Redis holds is compared with it.
-- @module spec.support.flow_run

local envelope = require("spec.support.envelope")
local flow_actions = require("spec.support.flow_actions")
local flow_draw = require("spec.support.flow_draw")
local flow_model = require("spec.support.flow_model")
local flow_seen = require("spec.support.flow_seen")
local flow_words = require("spec.support.flow_words")
local random = require("spec.support.fake_redis.random")
local shard = require("spec.support.shard")

local flow_run = {}

local Run = {}
Run.__index = Run

local WORKERS_MAX <const>, QUEUES <const> = 3, { "a", "b" }
local TTL_S <const> = 600
local INBOX <const> = "a:me"
local ROUNDS_MAX <const>, HISTORY_MAX <const> = 2000, 30
local TAKES_HAND_OVERS <const> = 2
local ID_BYTES <const> = 20
local NO_RESULT <const>, HAS_PAST <const> = 1, 16 -- flags

--- Draws a flow and its workers.
-- @tparam int seed
-- @treturn Run
function flow_run.new(seed)
  local chance = random.new(seed)
  local plan = flow_draw.plan(chance, QUEUES, TTL_S)
  local self = setmetatable({
    chance = chance,
    queues = QUEUES,
    plan = plan,
    calls = flow_draw.calls(plan, chance),
    sent = 0,
    plans = {}, -- of all flows that were sealed
    model = flow_model.new(),
    shard = shard.new(seed, {
      flow_steps_max = chance:upto(2) == 1 and 1 + chance:upto(4) or nil,
    }),
    flags = chance:upto(2) == 1 and TAKES_HAND_OVERS or 0,
    is_restless = chance:upto(3) == 1, -- people do much to it
    workers = {},
    wids = {}, -- of all that there were
    names = 0,
    deliveries = {}, -- all there ever were: wid, field, id
    finishes = {}, -- all that were told: what is to be told again
    additions = {}, -- all there were: the arguments, and the node ahead
    delegates = {}, -- all there were: the task's delivery, and the producer
    values = 0,
    steps = 0,
    history = {},
  }, Run)
  self.happened = self.model.happened -- what has, at all
  for k = 1, chance:upto(WORKERS_MAX) do
    self.workers[k] = self:register()
  end
  return self
end

function Run:one_in(n)
  return self.chance:upto(n) == 1
end

--- An outcome that no other is like.
-- @tparam string letter
-- @treturn string record
function Run:draw_record(letter)
  self.values = self.values + 1
  return letter == "S" and ("S%d"):format(self.values)
    or flow_words.failure(letter, ("E%d"):format(self.values))
end

local function show(value)
  if type(value) == "table" then
    local parts = {}
    for i, item in ipairs(value) do
      parts[i] = show(item)
    end
    return "{" .. table.concat(parts, " ") .. "}"
  end
  local text = (tostring(value):gsub("[^%g ]", "."))
  return #text > 64 and text:sub(1, 30) .. "..." .. text:sub(-30) or text
end

function Run:note(...)
  local history = self.history
  history[#history + 1] = string.format(...)
  if #history > HISTORY_MAX then
    table.remove(history, 1)
  end
end

--- Redis carries out a call. What the model says of it is to be told it
-- before `compare`.
-- @tparam string name
-- @param ... arguments
-- @return the reply
function Run:call(name, ...)
  self.shard:advance(1)
  self.model.now = self.shard:now()
  local reply = self.shard:call(name, ...)
  self:note("%d %s %s -> %s", self.model.now, name, show { ... }, show(reply))
  return reply
end

--- Fails, with this in words.
function Run:check(ok, ...)
  if not ok then
    error(string.format(...), 0)
  end
end

--- A reply is as the model has it.
function Run:check_reply(name, is, must)
  self:check(is == must, "%s: the reply is %s, and must be %s", name,
    show(is), show(must))
  self.happened[name .. " " .. is] = true
end

-- What came to those who wait.
function Run:compare_told()
  local heard = {}
  for k, item in ipairs(self.shard:heard(INBOX)) do
    heard[k] = item:sub(1, ID_BYTES) .. " "
      .. flow_words.of(item:sub(ID_BYTES + 1))
  end
  table.sort(heard)
  table.sort(self.model.told)
  local is, must = table.concat(heard, "; "),
    table.concat(self.model.told, "; ")
  self.model.told = {}
  self:check(is == must, "(%s) was told, and (%s) must be", is, must)
end

--- Redis and the model agree.
-- @tparam[opt] table call what the functions may have done, see
-- `flow_model.moves`
function Run:compare(call)
  call = call or {}
  call.hands_over = self.flags ~= 0
  local seen = flow_seen.read(self.shard, self.plans, self.wids, QUEUES)
  local found = self.model:follow(seen, call)
  self:check(not found[1], "%s", table.concat(found, "\n"))
  self:compare_told()
  self.is_pending = next(seen.pending) ~= nil
end

function Run:register()
  self.names = self.names + 1
  local wid = ("worker%06d"):format(self.names)
  table.insert(self.wids, wid)
  self:call("register", wid, 15000, "", table.unpack(QUEUES))
  self:compare { takes_back = true }
  return wid
end

function Run:is_registered(wid)
  for _, each in ipairs(self.workers) do
    if each == wid then
      return true
    end
  end
  return false
end

--- A worker was given tasks.
function Run:delivered(wid, envelopes, from, number)
  for k = from, #envelopes do
    local e = envelope.read(envelopes[k])
    table.insert(self.deliveries, { wid = wid, id = e.id, queue = e.queue,
      field = envelope.field(e.id, number),
      is_plain = e.flags & (NO_RESULT | HAS_PAST) == 0 })
  end
end

-- How many tasks a worker has under a delivery number, by the model.
function Run:count_given(wid, number)
  local count, suffix = 0, string.pack(">I4", number)
  for _, task in pairs(self.model.tasks) do
    if task.wid == wid and task.field:sub(-4) == suffix then
      count = count + 1
    end
  end
  return count
end

local function ready_tasks(model)
  local ready = {}
  for _, task in pairs(model.tasks) do
    ready[task] = task.place == "ready" or task.place == "prioritised" or nil
  end
  return ready
end

--- A worker fetches.
function Run:fetch(wid, want)
  local s, ready = self.shard, ready_tasks(self.model)
  s.fetches = s.fetches + 1
  local flags = self.flags | (self:one_in(2) and 1 or 0)
  local reply = self:call("fetch", wid, 15000, want, s.fetches, flags,
    table.unpack(QUEUES))
  self:compare {
    takes_out = true, promotes = true, takes_back = true,
    wid = wid, number = s.fetches,
  }
  self:check_reply("fetch", #reply - 2, self:count_given(wid, s.fetches))
  self:check(#reply - 2 <= want, "fetch: it gives more than %d", want)
  for task in pairs(#reply - 2 < want and ready or {}) do
    self:check(self.model.tasks[task.id] ~= task or not task.place:find("^r"),
      "fetch: task %s is left where it was", task.id)
  end
  self:delivered(wid, reply, 3, s.fetches)
end

--- One thing happens.
function Run:step()
  self.steps = self.steps + 1
  flow_actions.draw(self)
  self:compare()
end

-- Nothing is open any more.
function Run:is_over()
  for _, flow in pairs(self.model.flows) do
    if not flow.is_over then
      return false
    end
  end
  return self.sent == #self.calls and not self.is_pending
    and not next(self.model.tasks) and not next(self.model.stale)
end

--- No faults any more: all that is open is done.
function Run:run_out()
  while self.sent < #self.calls do
    flow_actions.send_next(self)
  end
  local rounds = 0
  while not self:is_over() do
    rounds = rounds + 1
    self:check(rounds < ROUNDS_MAX, "it never ends")
    for _, wid in ipairs(self.workers) do
      self:fetch(wid, 10)
      flow_actions.hear(self, wid)
      for _, id in ipairs(self.model:task_ids()) do
        local task = self.model.tasks[id]
        if task and task.wid == wid then
          flow_actions.tell(self, wid,
            { { "o", task.field, self:draw_record("S") } })
          self:compare()
        end
      end
    end
    flow_actions.wait(self)
    self:compare()
  end
end

--- Ends the flow, and does again what failed.
function Run:finish_all()
  self:run_out()
  if self:one_in(2) then
    flow_actions.retry_flow(self, self.plan.producer)
    self:run_out()
  end
end

--- What is left when all times to live are over.
-- @treturn {string,...} keys
function Run:leftovers()
  self.shard:advance(8 * 86400000)
  local wid = self.workers[1]
  self.shard:call("heartbeat", wid, 15000, table.unpack(QUEUES))
  for _, each in ipairs(self.workers) do
    self.shard:call("reap", each, "1", "F\x80", "-")
  end
  local left = {}
  for _, key in ipairs(self.shard:keys()) do
    if not key:find("^s:") and key ~= "q" and key ~= "n" then
      left[#left + 1] = key
    end
  end
  return left
end

return flow_run
