--- A task: a function that also runs elsewhere.
-- @module taskengine.task

local bound = require("taskengine.bound")
local canvas = require("taskengine.canvas")
local caller = require("taskengine.caller")
local check = require("taskengine.check")
local options = require("taskengine.options")
local retry = require("taskengine.retry")

local task = {}

local is_chunk = check.integer(1, 1000000)

--- A task of an app.
-- @type Task
-- @tfield string name
-- @tfield table options as they were given
-- @tfield function run the function
-- @tfield table policy of its retries, see @{taskengine.retry}
-- @tfield string place where it was defined
local Task = {
  __name = "taskengine.Task",
  __cannot_travel = "a task cannot be sent; its name can, for"
    .. " app:send_task(name, args)",
}
Task.__index = Task

--- Makes one.
-- @tparam App app
-- @tparam string name
-- @tparam table opts checked
-- @tparam function run
-- @treturn Task
function task.new(app, name, opts, run)
  return setmetatable({
    app = app,
    name = name,
    options = opts,
    policy = retry.policy(opts),
    run = run,
    place = caller.place() or "?",
  }, Task)
end

--- Whether a value is a task.
-- @param value anything
-- @treturn boolean
function task.is(value)
  return getmetatable(value) == Task
end

--- Calls the function here and now.
-- @param ... its arguments
-- @return what it returns
function Task:__call(...)
  if self.options.bind then
    return self.run(bound.here(self.name, table.pack(...)), ...)
  end
  return self.run(...)
end

--- Sends the task to the workers.
-- @param ... its arguments
-- @treturn Result
-- @raise TaskError of kind CannotTravel, TooLarge, BrokerUnavailable
function Task:delay(...)
  return self.app:_send(self, table.pack(...))
end

--- Sends the task to the workers, with options.
-- @tparam[opt] table args the arguments: `args.n` of them, else `#args`
-- @tparam[opt] table opts
-- @tparam[opt] number opts.countdown seconds from now before it may run
-- @tparam[opt] number|string opts.eta when it may run: seconds since 1970, or
-- ISO 8601 with a zone
-- @tparam[opt] number opts.expires seconds from now after which it is not
-- worth being run
-- @tparam[opt] number opts.deadline seconds from now by which it has to end,
-- all its attempts included
-- @tparam[opt] string opts.queue
-- @tparam[opt] int opts.priority 0 to 9, 9 the most urgent
-- @tparam[opt] string opts.task_id an id of the caller's own
-- @tparam[opt] boolean opts.ignore_result nothing is kept of how it ends
-- @tparam[opt] table opts.headers goes along; the task finds it in
-- `self.headers`
-- @tparam[opt] number opts.time_limit seconds after which it is ended
-- @tparam[opt] number opts.soft_time_limit seconds after which an error of kind
-- SoftTimeLimitExceeded is raised in it, once
-- @tparam[opt] int|string opts.memory_limit how much memory its process may use
-- while it runs, such as "64M"
-- @tparam[opt] boolean|table opts.retry false: it is not run again; or in place
-- of what the task says: `max_retries`, `retry_delay`, `retry_backoff`,
-- `retry_backoff_max`, `retry_jitter`, `autoretry_for` (no function)
-- @tparam[opt] boolean|table opts.unique while a task of this name and these
-- arguments has not ended no other is made: the result is that one's. A table
-- may say more: `key`, a function of the arguments, or a string, for what is to
-- be the same instead of them; `for_s`, the seconds after which another may be
-- made all the same; `release = "started"` (or `["until"]`), that another may
-- be made from when a worker has taken this one
-- @tparam[opt] Canvas|{Canvas,...} opts.link what is to run, with the result in
-- front of its arguments, when the task has succeeded
-- @tparam[opt] Canvas|{Canvas,...} opts.link_error what is to run, with the
-- error in front, when it has failed
-- @treturn Result
-- @raise TaskError of kind CannotTravel, TooLarge, BrokerUnavailable
function Task:apply_async(args, opts)
  return self.app:_call(self, args, options.call("apply_async", args, opts))
end

--- A signature: this call, to be sent later or as part of something larger,
-- see @{taskengine.canvas}. There the results of what it waits for go in front
-- of these arguments.
-- @param ... arguments
-- @treturn Canvas
function Task:s(...)
  return canvas.signature(self, table.pack(...))
end

--- A signature that takes no results: its arguments are these.
-- @param ... arguments
-- @treturn Canvas
function Task:si(...)
  return canvas.signature(self, table.pack(...), true)
end

-- One task that is called for each element of a list.
local function over(self, kind, list)
  local one = canvas.signature(self, { n = list and 1 or 0, list },
    list ~= nil)
  one.over = kind
  return one
end

-- The elements of a list, without an `n` that may say fewer, and how many there
-- are. A hole would end it for whom it is sent to.
local function elements(what, list, wanted)
  if not check.table(list) then
    caller.raise(check.problem(what, check.table, list))
  end
  local n = canvas.length(what, list)
  for i = 1, n do
    if list[i] == nil then
      caller.raise(("%s: element %d: %s expected, got nil"):format(what, i,
        wanted))
    end
  end
  return list.n == nil and list or table.move(list, 1, n, 1, {}), n
end

--- A signature of one task that calls the function with each element of a list,
-- one after the other, and returns the list of what that returns: one value
-- each, `te.null` in place of nil; one in the list is nil to the function.
-- @tparam[opt] table list without it, the last of its arguments, such as the
-- result of what it waits for; those ahead of that go in front of each element
-- @treturn Canvas
-- @raise when it is no list, or has a hole
function Task:map(list)
  if list ~= nil then
    list = elements("map: list", list, "a value or te.null")
  end
  return over(self, "map", list)
end

--- The same for a list of lists of arguments.
-- @tparam[opt] {table,...} list
-- @treturn Canvas
-- @raise when it is no list, or has a hole
function Task:starmap(list)
  if list ~= nil then
    list = elements("starmap: list", list, "a list of arguments")
  end
  return over(self, "starmap", list)
end

--- A group of tasks that call the function for some elements each, see
-- @{Task:starmap}: fewer tasks where a single call is short.
-- @tparam {table,...} list of lists of arguments
-- @tparam int size how many calls each task makes
-- @treturn Canvas
-- @raise when that is no list, or has a hole, or that is no size
function Task:chunks(list, size)
  local all, n = elements("chunks: list", list, "a list of arguments")
  if not is_chunk(size) then
    caller.raise(check.problem("chunks: size", is_chunk, size))
  end
  local members = {}
  for from = 1, n, size do
    local part = table.move(all, from, math.min(from + size - 1, n), 1, {})
    members[#members + 1] = over(self, "starmap", part)
  end
  return canvas.group(members)
end

--- For people.
-- @treturn string
function Task:__tostring()
  return "task " .. self.name
end

caller.guard_methods(Task, "task")

return task
