--- Results in the order in which their tasks end.
-- @module taskengine.completion

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local options = require("taskengine.options")
local result = require("taskengine.result")
local results = require("taskengine.results")
local scheduler = require("taskengine.scheduler")
local slot = require("taskengine.slot")

local completion = {}

local is_timeout = options.GET.known.timeout

--- Some results that are waited for.
-- @type Completion
local Completion = {}
Completion.__index = Completion

local function add_ready(self, index, bytes, problem)
  self.last = self.last + 1
  self.ready[self.last] = { index, bytes, problem }
end

-- Those who wait for the tasks of one client.
local function group_of(self, client)
  local group = self.groups[client]
  if group then
    return group
  end
  group = { positions = {} }
  function group.listener(id, bytes, problem)
    for _, index in ipairs(group.positions[id]) do
      add_ready(self, index, bytes, problem)
    end
    group.positions[id] = nil
    if self.wake then
      self.wake()
    end
  end
  self.groups[client] = group
  return group
end

local function watch(self, client, id, index)
  local group = group_of(self, client)
  local positions = group.positions[id]
  if positions then
    positions[#positions + 1] = index
  else
    group.positions[id] = { index }
    client.waits:add(id, group.listener)
  end
end

-- Begins to wait for one result.
local function start_one(self, one, index)
  local bytes = one:known() == nil and one.client:resolve(one.engine_id)
  if not bytes then
    add_ready(self, index)
  elseif bytes:sub(1, 1) == "=" then
    watch(self, one.client, bytes:sub(2), index)
  else
    add_ready(self, index, bytes)
  end
end

local function check_kept(what, keeps_result)
  if not keeps_result then
    caller.raise(what .. ": tasks that were sent with ignore_result leave"
      .. " nothing to wait for")
  end
end

local function check_all(what, list)
  if results.is(list) then
    check_kept(what, results.keeps_result(list))
    return
  elseif type(list) ~= "table" then
    caller.raise(("%s: a list of results expected, got %s"):format(what,
      check.describe(list)))
  end
  for i = 1, #list do
    if not result.is(list[i]) then
      caller.raise(("%s: element %d is no result but %s"):format(what, i,
        check.describe(list[i])))
    end
    check_kept(what, list[i].keeps_result)
  end
end

-- What has ended by now: there is no time to wait for the others.
local function look(self, list)
  for i, outcome in ipairs(result.look_at(list)) do
    if outcome then
      add_ready(self, i)
    end
  end
end

-- Begins to wait for what was sent at once.
local function start_many(self, list)
  local client = results.client(list)
  if #list > 0 then
    client:resolve(results.id(list, 1))
  end
  for i = 1, #list do
    watch(self, client, results.id(list, i), i)
  end
end

local function start(self, list)
  if self.timeout == 0 then
    look(self, list)
  elseif results.is(list) then
    start_many(self, list)
  else
    for i = 1, #list do
      start_one(self, list[i], i)
    end
  end
end

local function new(what, list, timeout)
  check_all(what, list)
  if timeout ~= nil and not is_timeout(timeout) then
    caller.raise(check.problem(what .. ": timeout", is_timeout, timeout))
  end
  local self = setmetatable({
    list = list,
    left = #list,
    timeout = timeout,
    deadline_ms = timeout and core.loop.now() + timeout * 1000,
    groups = {},
    ready = {}, -- from first to last: position, outcome, problem
    first = 1,
    last = 0,
  }, Completion)
  start(self, list)
  return self
end

-- Waits until something is ready; false when the time is up.
local function await_ready(self, what)
  if self.first <= self.last then
    return true
  elseif self.timeout == 0 then
    return false
  end
  scheduler.await(what, function(wake)
    self.wake = wake
    if self.deadline_ms then
      local left_ms = math.max(self.deadline_ms - core.loop.now(), 0)
      self.timer = core.loop.timer(left_ms, wake)
    end
    return self.timer -- an interrupted wait closes it
  end, slot.OUTCOME)
  self.wake = nil
  if self.timer then
    self.timer:close()
  end
  return self.first <= self.last
end

-- The next that is ready.
local function take(self)
  local index, bytes, problem = table.unpack(self.ready[self.first])
  self.ready[self.first] = nil
  self.first, self.left = self.first + 1, self.left - 1
  local one = self.list[index]
  if problem then
    errors.raise(errors.unavailable(problem, { id = one.id, name = one.name }))
  elseif bytes then
    one:settle(bytes)
  end
  return one
end

function Completion:__close()
  for client, group in pairs(self.groups) do
    for id in pairs(group.positions) do
      client.waits:remove(id, group.listener)
    end
  end
  self.groups = {}
end

local function raise_timeout(self)
  errors.raise(errors.new {
    kind = "Timeout",
    message = ("%d of %d tasks not finished within %.14g s; they go on")
      :format(self.left, #self.list, self.timeout),
  })
end

--- Yields results as their tasks end, for a generic `for`.
-- @tparam Results|{Result,...} list
-- @tparam ?number timeout in seconds, for all of them; 0: those that have ended
-- by now
-- @treturn function the iterator, and what `for` needs besides
-- @raise in the loop: TaskError of kind Timeout when the time is up
function completion.as_completed(list, timeout)
  local self = new("as_completed", list, timeout)
  return function()
    if self.left == 0 then
      return nil
    elseif not await_ready(self, "as_completed") then
      raise_timeout(self)
    end
    return take(self)
  end, nil, nil, self
end

--- The value of a task that has ended.
-- @tparam Result one
-- @tparam[opt=true] boolean propagate
-- @return the value; with false its error, or that of the task because of which
-- it never ran, where there is none
-- @raise that error otherwise; TaskError of kind Timeout: it goes on again
function completion.value(one, propagate)
  local ok, value = one:wait(0)
  if ok == nil then
    errors.raise(errors.new {
      kind = "Timeout",
      id = one.id,
      name = one.name,
      message = "the task had ended, and goes on: it was run again",
    })
  elseif not ok then
    value = errors.cause(value)
    if propagate ~= false then
      errors.raise(value)
    end
  end
  return value
end

--- Visits results as their tasks end.
-- @tparam Results|{Result,...} list
-- @tparam ?number timeout in seconds, for all of them
-- @tparam function visit gets a result; true ends it
-- @treturn boolean false: the time is up
function completion.each(list, timeout, visit)
  local self <close> = new("wait", list, timeout)
  while self.left > 0 do
    if not await_ready(self, "wait") then
      return false
    elseif visit(take(self)) then
      break
    end
  end
  return true
end

--- Waits until all tasks have ended, or the time is up.
-- @tparam Results|{Result,...} list
-- @tparam ?number timeout in seconds; 0 divides by how they stand now
-- @treturn {Result,...} those whose tasks have ended, in that order
-- @treturn {Result,...} the others
function completion.wait(list, timeout)
  local done, pending, ended = {}, {}, {}
  completion.each(list, timeout, function(one)
    done[#done + 1], ended[one] = one, true
  end)
  for i = 1, #list do
    if not ended[list[i]] then
      pending[#pending + 1] = list[i]
    end
  end
  return done, pending
end

return completion
