--- A worker that a spec plays, by calls of the functions in Redis alone.
--
--     local worker <close> = played_worker.start(server.url, {
--       answer = function(task) return { value = task.args[1] } end,
--     })
--
-- It works while the loop runs, so also while the spec waits for a result.
-- @module spec.support.played_worker

local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local library = require("taskengine.library")
local wait_until = require("spec.support.wait").wait_until

local played_worker = {}

local LEASE_MS <const> = 60000
local TICK_MS <const> = 2

--- A worker.
-- @type PlayedWorker
local PlayedWorker = {}
PlayedWorker.__index = PlayedWorker

local function fcall(self, callback, name, ...)
  local command = { "FCALL", "te1_" .. name, 1, self.prefix, ... }
  self.redis:call_list(function(reply, why, code)
    if code ~= "ECLOSED" then
      callback(assert(reply, why))
    end
  end, command)
end

-- What the spec sees of a task.
local function read_task(bytes, delivery)
  local task = envelope.read(bytes)
  local body = assert(core.codec.decode(task.body))
  task.args, task.extra = body[1], body[2]
  task.field = envelope.field(bytes, delivery)
  return task
end

local function encode(answer)
  if answer.record then
    return answer.record
  elseif answer.kind then
    return "F" .. assert(core.codec.encode(answer))
  end
  return "S" .. assert(core.codec.encode(answer.value))
end

-- Ends tasks with what `answer` says; those it says nothing of go on.
local function finish(self, tasks)
  local args = {}
  for _, task in ipairs(tasks) do
    local answer = self.answer(task)
    if answer then
      table.move({ "o", task.field, encode(answer) }, 1, 3, #args + 1, args)
    end
  end
  if #args > 0 then
    fcall(self, function() end, "finish", self.wid, LEASE_MS,
      table.unpack(args))
  end
end

local function fetch(self)
  self.delivery = self.delivery + 1
  local delivery = self.delivery
  self.is_fetching = true
  fcall(self, function(reply)
    self.is_fetching = false
    local tasks = {}
    for i = 3, #reply do
      local task = read_task(reply[i], delivery)
      tasks[#tasks + 1] = task
      self.tasks[#self.tasks + 1] = task
    end
    finish(self, tasks)
  end, "fetch", self.wid, LEASE_MS, 100, delivery, 0,
    table.unpack(self.queues))
end

--- Connects, registers, and begins to work.
-- @tparam string url
-- @tparam[opt] table opts
-- @tparam[opt] function opts.answer gets a task (the fields of its envelope,
-- and `args`, `extra`) and returns how it ends: `{ value = }`, `{ kind =,
-- message = }` or `{ record = }`; nil: it goes on
-- @tparam[opt] {string,...} opts.queues
-- @tparam[opt] string opts.namespace
-- @treturn PlayedWorker its `tasks` are all that it ever got, in order
function played_worker.start(url, opts)
  opts = opts or {}
  local self = setmetatable({
    prefix = ("te:{%s.0}:"):format(opts.namespace or "default"),
    answer = opts.answer or function() end,
    queues = opts.queues or { "default" },
    wid = core.envelope.new_producer(),
    delivery = 0,
    tasks = {},
  }, PlayedWorker)
  self.redis = assert(core.redis.connect(url, {
    library = library.text(),
    probe = "te1_build",
    build = library.BUILD,
  }))
  wait_until(function()
    return self.redis:is_up()
  end)
  local is_registered
  fcall(self, function()
    is_registered = true
  end, "register", self.wid, LEASE_MS, "played", table.unpack(self.queues))
  wait_until(function()
    return is_registered
  end)
  self.timer = core.loop.timer(0, function()
    if not self.is_fetching then
      fetch(self)
    end
  end, TICK_MS)
  return self
end

--- Waits until it has got so many tasks.
-- @tparam int count
-- @treturn {table,...} all that it got
function PlayedWorker:wait_for(count)
  wait_until(function()
    return #self.tasks >= count
  end, 10, count .. " tasks")
  return self.tasks
end

--- Ends tasks that went on.
-- @tparam function answer as for @{played_worker.start}
-- @tparam[opt] {table,...} tasks all when missing
function PlayedWorker:finish(answer, tasks)
  self.answer = answer
  finish(self, tasks or self.tasks)
end

--- Stops working; what it holds stays with it.
function PlayedWorker:stop()
  self.timer:close()
  self.redis:close()
end

PlayedWorker.__close = PlayedWorker.stop

return played_worker
