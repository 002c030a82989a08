--- A whole engine in one process: an app on an in-memory shard, and a worker
-- that runs its tasks as a worker's child does.
--
--     local site = canvas_site.for_each_spec()
--     it("adds", function()
--       local add = site.app:task("add", function(x, y) return x + y end)
--       assert.equal(6, (add:s(1, 2) | add:s(3))():get { timeout = 10 })
--     end)
--
-- The functions are the shipped ones. The worker works while the loop runs.
-- @module spec.support.canvas_site

local broker = require("taskengine.broker")
local busted = require("busted")
local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local idle_loop = require("spec.support.idle_loop")
local runner = require("taskengine.runner")
local shard = require("spec.support.shard")
local shard_transport = require("spec.support.shard_transport")
local te = require("taskengine")

local canvas_site = {}

local WORKER <const> = "w1"
local TICK_MS <const> = 1
local TASKS_MAX <const> = 100 -- at a time

--- What a spec has.
-- @type Site
-- @tfield App app
-- @tfield Shard shard
-- @tfield ShardTransport transport
-- @tfield {string,...} begun names of the tasks that have begun
-- @tfield boolean is_resting the worker takes nothing
-- @tfield int repeats how often each end is told besides the first time
local Site = {}
Site.__index = Site

--- Makes one before each spec of a block, and ends it behind it: no task of
-- it may wait for something then.
-- @treturn Site of the spec that runs
function canvas_site.for_each_spec()
  local self = setmetatable({}, Site)
  busted.before_each(function()
    self:open()
  end)
  busted.after_each(function()
    self.timer:close()
    self.app:close()
    broker.new_transport = nil
    idle_loop.check()
  end)
  return self
end

local function new_runner(self)
  return runner.new {
    tasks = self.app.tasks,
    result_bytes_max = 16 * 1024 * 1024,
    worker = "here",
    done = function(field, outcome)
      self:finish(field, outcome)
    end,
    log = function() end,
  }
end

--- Begins anew.
function Site:open()
  self.shard = shard.new()
  self.transport = shard_transport.new(self.shard)
  broker.new_transport = function()
    return self.transport
  end
  self.app = te.app("spec")
  self.begun, self.repeats, self.is_resting = {}, 0, false
  self.shard:register(WORKER)
  self.running = new_runner(self)
  self.timer = core.loop.timer(TICK_MS, function()
    self:work()
  end, TICK_MS)
end

-- What a child says instead of an outcome, as the master tells it.
local function operation_of(outcome)
  local letter = outcome:sub(1, 1)
  if letter == "N" then
    return "n", "F\x80"
  elseif letter == "T" or letter == "D" then
    return letter == "T" and "r" or "w", outcome:sub(2)
  end
  return "o", outcome
end

--- Tells how a task ended.
-- @tparam string field
-- @tparam string outcome
function Site:finish(field, outcome)
  local operation, record = operation_of(outcome)
  for _ = 0, self.repeats do
    self.shard:call("finish", WORKER, 15000, operation, field, record)
  end
  self.transport:deliver()
end

--- Takes tasks and begins them.
function Site:work()
  if self.is_resting then
    return
  end
  local envelopes, number = self.shard:fetch(WORKER, TASKS_MAX)
  for _, bytes in ipairs(envelopes) do
    self.begun[#self.begun + 1] = core.envelope.read(bytes).name
    self.running:begin(envelope.field(bytes, number), bytes)
  end
end

--- Defines the tasks that most specs need.
-- @treturn Task add
-- @treturn Task sum of a list
-- @treturn Task fail raises an error
-- @treturn Task note keeps its arguments in `noted`
function Site:tasks()
  self.noted = {}
  return self.app:task("add", function(x, y)
    return x + y
  end), self.app:task("sum", function(list)
    local total = 0
    for _, value in ipairs(list) do
      total = total + value
    end
    return total
  end), self.app:task("fail", function()
    error({ kind = "Broken", message = "it is broken" })
  end), self.app:task("note", function(...)
    table.insert(self.noted, table.pack(...))
    return select("#", ...)
  end)
end

--- How often a task has begun.
-- @tparam string name
-- @treturn int
function Site:count(name)
  local count = 0
  for _, other in ipairs(self.begun) do
    count = count + (other == name and 1 or 0)
  end
  return count
end

return canvas_site
