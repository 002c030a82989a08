--- Results in the order in which their tasks end.
--
-- Those of groups and flows are among them. Their metatables have a function
-- `__awaits`: it gets one, and returns the results of the tasks that tell how
-- it ends. It has ended when all of these have returned a value, or one has
-- not.
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

-- What may be taken for a result, or for a list of them.
local MISTAKEN <const> = {
  ["taskengine.Canvas"] = "a canvas, which is to be sent first",
  ["taskengine.Flow"] = "the handle of a flow, not its result",
  ["taskengine.FlowResult"] = "a result that is in none",
  ["taskengine.Result"] = "a result that is in none",
  ["taskengine.Results"] = "a list of results, which goes alone",
}

local function mistaken(value)
  local metatable = getmetatable(value)
  return type(metatable) == "table" and MISTAKEN[metatable.__name]
end

-- The results by which a group or a flow ends; nil for that of a task.
local function awaited_by(one)
  local metatable = getmetatable(one)
  local awaits = type(metatable) == "table" and rawget(metatable, "__awaits")
  return awaits and awaits(one) or nil
end

local function check_kept(what, keeps_result)
  if not keeps_result then
    caller.raise(what .. ": tasks that were sent with ignore_result leave"
      .. " nothing to wait for")
  end
end

local function check_list(what, list)
  if results.is(list) then
    check_kept(what, results.keeps_result(list))
    return
  elseif type(list) ~= "table" or mistaken(list) then
    caller.raise(("%s: a list of results expected, got %s"):format(what,
      mistaken(list) or check.describe(list)))
  end
end

-- What to wait for: the results of tasks; and by their place there the groups
-- and flows that end by some of them.
local function take_apart(what, list)
  local parts, wholes = {}, {}
  for i = 1, #list do
    local one = list[i]
    local awaited = awaited_by(one)
    local whole = awaited and { one = one, left = #awaited }
    if not awaited and not result.is(one) then
      caller.raise(("%s: element %d is no result but %s"):format(what, i,
        mistaken(one) or check.describe(one)))
    end
    for _, part in ipairs(awaited or { one }) do
      check_kept(what, part.keeps_result)
      parts[#parts + 1] = part
      wholes[#parts] = whole or nil
    end
  end
  return parts, wholes
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
  check_list(what, list)
  if timeout ~= nil and not is_timeout(timeout) then
    caller.raise(check.problem(what .. ": timeout", is_timeout, timeout))
  end
  local parts, wholes = list, {}
  if not results.is(list) then
    parts, wholes = take_apart(what, list)
  end
  local self = setmetatable({
    list = parts,
    wholes = wholes,
    count = #list,
    left = #list,
    timeout = timeout,
    deadline_ms = timeout and core.loop.now() + timeout * 1000,
    groups = {},
    ready = {}, -- from first to last: position, outcome, problem
    first = 1,
    last = 0,
  }, Completion)
  start(self, parts)
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

-- Counts one of those by which a group or a flow ends. Returns that when it
-- has ended by this one.
local function count_part(whole, outcome)
  if whole.left == 0 then
    return nil
  end
  local is_value = outcome and outcome.state == "SUCCESS"
  whole.left = is_value and whole.left - 1 or 0
  return whole.left == 0 and whole.one or nil
end

-- The next that is ready; nil when something goes on of what it is a part of.
local function take(self)
  local index, bytes, problem = table.unpack(self.ready[self.first])
  self.ready[self.first] = nil
  self.first = self.first + 1
  local one, whole = self.list[index], self.wholes[index]
  if problem then
    errors.raise(errors.unavailable(problem, { id = one.id, name = one.name }))
  end
  local outcome = bytes and one:settle(bytes)
  if whole then
    one = count_part(whole, outcome or one:known())
  end
  self.left = one and self.left - 1 or self.left
  return one
end

-- The next that has ended; nil when the time is up.
local function next_one(self, what)
  while await_ready(self, what) do
    local one = take(self)
    if one then
      return one
    end
  end
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
      :format(self.left, self.count, self.timeout),
  })
end

--- Yields results as their tasks end, for a generic `for`. That of a group or
-- a flow has when it would be `ready`.
-- @tparam Results|{Result|GroupResult|FlowResult,...} list
-- @tparam ?number timeout in seconds, for all of them; 0: those that have ended
-- by now
-- @treturn function the iterator, and what `for` needs besides
-- @raise in the loop: TaskError of kind Timeout when the time is up
function completion.as_completed(list, timeout)
  local self = new("as_completed", list, timeout)
  return function()
    if self.left == 0 then
      return nil
    end
    return next_one(self, "as_completed") or raise_timeout(self)
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
-- @tparam Results|{Result|GroupResult|FlowResult,...} list
-- @tparam ?number timeout in seconds, for all of them
-- @tparam function visit gets a result; true ends it
-- @treturn boolean false: the time is up
function completion.each(list, timeout, visit)
  local self <close> = new("wait", list, timeout)
  while self.left > 0 do
    local one = next_one(self, "wait")
    if not one then
      return false
    elseif visit(one) then
      break
    end
  end
  return true
end

--- Waits until all tasks have ended, or the time is up.
-- @tparam Results|{Result|GroupResult|FlowResult,...} list
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
