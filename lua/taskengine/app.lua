--- An app: some tasks, and the broker that they go through.
-- @module taskengine.app

local broker = require("taskengine.broker")
local caller = require("taskengine.caller")
local canvas = require("taskengine.canvas")
local check = require("taskengine.check")
local client = require("taskengine.client")
local config = require("taskengine.config")
local core = require("taskengine.core")
local dead = require("taskengine.dead")
local handle = require("taskengine.canvas.handle")
local message = require("taskengine.message")
local mode = require("taskengine.mode")
local names = require("taskengine.names")
local options = require("taskengine.options")
local registry = require("taskengine.registry")
local result = require("taskengine.result")
local results = require("taskengine.results")
local revoke = require("taskengine.revoke")
local scheduler = require("taskengine.scheduler")
local stored = require("taskengine.canvas.stored")
local task = require("taskengine.task")

local app = {}

--- An app.
-- @type App
-- @tfield string name
-- @tfield {[string]=Task,...} tasks by name
local App = {
  __name = "taskengine.App",
  __cannot_travel = "an app cannot be sent; where a task runs is one"
    .. " already",
}
App.__index = App

--- Makes an app.
-- @tparam string name
-- @tparam[opt] table settings see @{App:configure}
-- @treturn App
-- @raise when a setting is unknown or wrong
function app.new(name, settings)
  if not check.name(name) then
    caller.raise(check.problem("app: name", check.name, name))
  end
  local self = setmetatable({ name = name, tasks = {}, own = {} }, App)
  if settings ~= nil then
    self:configure(settings)
  end
  registry.add(self)
  return self
end

--- Changes settings: broker, namespace, result_expires, broker_timeout,
-- timezone, message_bytes_max, result_bytes_max, serializer; and those of
-- workers: lease, grace, time_limit, soft_time_limit, memory_limit,
-- max_tasks_per_child, max_memory_per_child. See @{taskengine.settings}.
-- @tparam table settings
-- @treturn App itself
-- @raise when a setting is unknown or wrong, or the app is in use
function App:configure(settings)
  local problem = not check.table(settings)
    and check.problem("settings", check.table, settings)
    or config.problem(settings)
    or self.opened and "the app is in use, its settings cannot change"
  if problem then
    caller.raise("configure: " .. problem)
  end
  for name, value in pairs(settings) do
    self.own[name] = value
  end
  return self
end

-- A path as seen from the file that calls.
local function beside_caller(path)
  local folder = (caller.source() or ""):match("^@(.*/)")
  return path:sub(1, 1) ~= "/" and folder and folder .. path or path
end

--- Changes settings to those in a file.
-- @tparam string path of a Lua file that returns a table; a relative one is
-- looked for beside the file that calls
-- @treturn App itself
-- @raise when the file cannot be read, or a setting is unknown or wrong
function App:configure_from(path)
  if not check.string(path) then
    caller.raise(check.problem("configure_from: path", check.string, path))
  end
  local settings, problem = config.load(beside_caller(path))
  if not settings then
    caller.raise("configure_from: " .. problem)
  end
  return self:configure(settings)
end

--- All settings as they are in force, see @{taskengine.config}.
-- @treturn[1] table
-- @return[2] nil
-- @treturn[2] string what is wrong with the file, the environment or the
-- command line
function App:settings()
  return config.resolve { app = self.own }
end

-- The client, opened when it is first needed.
local function open(self)
  if mode.is_loading then
    caller.raise("a worker loads this file and cannot send tasks yet, or ask"
      .. " for them: do it in app:main(function() ... end)")
  elseif not self.opened then
    local settings, problem = self:settings()
    if not settings then
      caller.raise(problem)
    end
    self.opened = client.new(broker.open(settings), settings)
  end
  return self.opened
end

local function check_task(self, name, run)
  if not names.is_valid(name) then
    return check.problem("task: name", check.name, name)
  elseif type(run) ~= "function" then
    return check.problem(("task '%s'"):format(name), check.callable, run)
  elseif self.tasks[name] then
    return ("task: '%s' is defined already, at %s"):format(name,
      self.tasks[name].place)
  end
end

--- Defines a task.
-- @tparam string name
-- @tparam[opt] table opts
-- @tparam[opt] boolean opts.bind the function gets the task itself first, see
-- @{taskengine.bound}
-- @tparam[opt] string opts.queue where it goes
-- @tparam[opt] int opts.priority
-- @tparam[opt] number opts.time_limit
-- @tparam[opt] number opts.soft_time_limit
-- @tparam[opt] number opts.expires
-- @tparam[opt] number opts.deadline
-- @tparam[opt] int|string opts.memory_limit
-- @tparam[opt] boolean opts.ignore_result these as for
-- @{taskengine.task.Task:apply_async}
-- @tparam[opt=false] boolean opts.stream where it takes the results of a group
-- it gets an iterator over them in place of a table: for i, value in it; `#` is
-- how many
-- @tparam[opt=false] boolean opts.track_started its state is STARTED from
-- when it begins
-- @tparam[opt=true] boolean opts.acks_late
-- @tparam[opt=true] boolean opts.reject_on_worker_lost when either is false,
-- a task whose process or worker ends before it does fails as WorkerLost and is
-- not run again
-- @tparam[opt=3] int|boolean opts.max_retries how often it is run again at
-- most; false: for ever
-- @tparam[opt=180] number opts.retry_delay seconds before that
-- @tparam[opt=false] boolean|number opts.retry_backoff the first pause in
-- seconds (true: 1), each is twice the one before
-- @tparam[opt=600] number opts.retry_backoff_max the longest one
-- @tparam[opt=true] boolean opts.retry_jitter a pause is drawn by chance, from
-- 0 on
-- @tparam[opt=false] boolean|table|function opts.autoretry_for after which
-- errors it is run again by itself: any, those of some kinds, or those for
-- which a function that gets the TaskError says so
-- @tparam[opt] boolean|table opts.unique as for
-- @{taskengine.task.Task:apply_async}
-- @tparam function run
-- @treturn Task
-- @raise when the name is taken or none, or an option is unknown or wrong
function App:task(name, opts, run)
  if run == nil then
    opts, run = nil, opts
  end
  local problem = check_task(self, name, run)
  if problem then
    caller.raise(problem)
  end
  local given = options.check(("task '%s'"):format(name), options.TASK, opts)
  message.check_limits(name, given.soft_time_limit, given.time_limit)
  options.check_end(("task '%s'"):format(name), given)
  local made = task.new(self, name, opts or {}, run)
  self.tasks[name] = made
  return made
end

-- What goes into the body besides the arguments: what the call says that no
-- header has, whether it is called for each of a list (see taskengine.over),
-- and from whom.
local function extra_of(m, over)
  local fiber = scheduler.current()
  local parent = fiber and fiber.task
  if not (parent or over or m.is_special) then
    return nil
  end
  return {
    h = m.headers,
    m = over,
    t = m.retry,
    b = m.memory_limit,
    r = parent and parent.root_id,
    p = parent and parent.id,
  }
end

local NONE <const> = {}

-- The message of a call without options is the same each time, until the app
-- is closed and has other settings.
local function message_of(self, one, opts)
  if opts then
    return message.new(one.name, one.options, opts, self.opened.settings)
  end
  if one.plain_for ~= self.opened then
    one.plain = message.new(one.name, one.options, NONE, self.opened.settings)
    one.plain_for = self.opened
  end
  return one.plain
end

-- What sends and asks for this app.
function App:_client()
  return open(self)
end

-- What every task of a canvas has from the one that sends it.
function App._extra()
  return extra_of(NONE)
end

-- Sends a task; the options were checked.
function App:_send(one, args, opts, over)
  local way = open(self)
  local m = message.of_call(message_of(self, one, opts), args, over)
  local id = way:send(m, args, extra_of(m, over))
  return result.new(way, not m.own_id and m.shown_id or id, {
    name = one.name,
    engine_id = id,
    keeps_result = m.keeps_result,
  })
end

-- Sends a task; one with callbacks as a canvas, which would ask the workers
-- where a task belongs that is not defined here.
function App:_call(one, args, opts)
  args = args or {}
  if opts and (opts.link or opts.link_error) then
    local signature = canvas.signature(one, args)
    if not one.run then
      signature:set { queue = message.QUEUE }
    end
    return signature:apply_async(nil, opts)
  end
  return self:_send(one, args, opts)
end

-- The task of that name, or what is known of one that is defined elsewhere.
local function named(self, what, name)
  if not names.is_valid(name) then
    caller.raise(check.problem(what .. ": name", check.name, name))
  end
  return self.tasks[name] or { app = self, name = name, options = NONE }
end

--- Sends a task by its name. It need not be defined here; if it is, its
-- options hold. If it is not, it goes to the queue `default` unless
-- `opts.queue` says another; @{App:signature} asks the workers which one it is.
-- @tparam string name
-- @tparam[opt] table args
-- @tparam[opt] table opts as for @{taskengine.task.Task:apply_async}
-- @treturn Result
-- @raise TaskError of kind CannotTravel, TooLarge, BrokerUnavailable; and with
-- `link` or `link_error` NotRegistered
function App:send_task(name, args, opts)
  local one = named(self, "send_task", name)
  opts = options.call("send_task", args, opts)
  return self:_call(one, args, opts)
end

local function check_list(list)
  if type(list) ~= "table" then
    caller.raise(check.problem("enqueue_many: list of argument lists",
      check.table, list))
  end
  for i = 1, #list do
    if type(list[i]) ~= "table" then
      caller.raise(check.problem(("enqueue_many: arguments of call %d")
        :format(i), check.table, list[i]))
    end
  end
end

-- What makes the parts of a stored canvas.
local function maker(self)
  return {
    task = function(name, args, is_immutable, over)
      local one = canvas.signature(named(self, "signature", name), args,
        is_immutable)
      one.over = over
      return one
    end,
    chain = canvas.chain,
    group = canvas.group,
    chord = canvas.chord,
    flow = canvas.flow,
  }
end

--- A call of a task that need not be defined here; or a canvas out of the table
-- that @{taskengine.canvas.Canvas:to_table} made of it. When it is sent, the
-- workers are asked for the queue of a task that is not defined here, where its
-- options say none.
-- @tparam string|table what the task's name, or that table
-- @tparam[opt] table args
-- @tparam[opt] table opts as for @{taskengine.task.Task:apply_async}
-- @treturn Canvas
-- @raise when that is none. Sending it raises a TaskError of kind NotRegistered
-- when workers serve its queue and none knows the task
function App:signature(what, args, opts)
  local is_stored = type(what) == "table"
  if args ~= nil and type(args) ~= "table" then
    caller.raise(check.problem("signature: arguments", check.table, args)
      .. (is_stored and "; a call that returns more than the stored canvas, as"
      .. " JSON decoders do, goes in parentheses" or ""))
  elseif is_stored then
    return stored.read(maker(self), what):clone(args, opts)
  end
  local one = canvas.signature(named(self, "signature", what), args or {})
  return opts and one:set(opts) or one
end

--- Sends many calls of one task.
-- @tparam Task|string one the task, or its name; without `opts.queue` one that
-- is not defined here goes to the queue `default`
-- @tparam {table,...} list the arguments of each call
-- @tparam[opt] table opts as for @{taskengine.task.Task:apply_async}, for all;
-- no task_id, link or link_error
-- @treturn Results
-- @raise TaskError of kind CannotTravel, TooLarge, BrokerUnavailable; some may
-- have been accepted then, see its fields `accepted` and `unknown`: lists of
-- `from` and `to`
function App:enqueue_many(one, list, opts)
  if not task.is(one) then
    one = named(self, "enqueue_many", one)
  elseif one.app ~= self then
    caller.raise(("enqueue_many: %s belongs to %s, not to %s; each app has a"
      .. " broker of its own"):format(tostring(one), tostring(one.app),
      tostring(self)))
  end
  check_list(list)
  opts = options.call("enqueue_many", nil, opts)
  if opts and opts.task_id then
    caller.raise("enqueue_many: a task_id is for one task only")
  elseif opts and (opts.link or opts.link_error) then
    caller.raise("enqueue_many: link and link_error are for one task only; a"
      .. " te.group of signatures takes them")
  end
  local way = open(self)
  local m = message.of_calls(message_of(self, one, opts), list)
  return results.new(way, m, way:send_many(m, list, extra_of(m)))
end

--- The result of a task that was sent by whomever.
-- @tparam string id
-- @treturn Result
function App:result(id)
  if not names.is_valid(id) then
    caller.raise(check.problem("result: id", check.name, id))
  end
  return result.new(open(self), id)
end

--- Revokes a task, or many, see @{taskengine.result.Result:revoke}.
-- @tparam string|{string,...} ids
-- @tparam[opt] table opts
-- @tparam[opt] boolean opts.terminate as for one result
-- @return for one id: true or false and a string, as for a result; for a list
-- a table of how many are `revoked`, `asked` to end, `finished` and `unknown`
-- @raise TaskError of kind BrokerUnavailable: some of a list are revoked then
function App:revoke(ids, opts)
  local is_one = names.is_valid(ids)
  if not is_one then
    revoke.check_ids(ids)
  end
  opts = revoke.options(opts)
  if is_one then
    return revoke.one(open(self), ids, opts)
  end
  return revoke.many(open(self), #ids, function(i)
    return ids[i]
  end, opts)
end

--- A flow that was sent by whomever.
-- @tparam string id its id, or that of any task in it. Redis is asked when the
-- flow is: nothing is known of the flow of a task that was sent alone
-- @treturn Flow see @{taskengine.canvas.handle}
function App:flow(id)
  if type(id) ~= "string" or not core.envelope.seq(id) then
    caller.raise(("flow: an id of the engine's expected, got %s"):format(
      check.describe(id)))
  end
  return handle.of(open(self), id)
end

--- The tasks that failed for good, the last one first, as far as they are kept:
-- for 7 days, the last 10,000.
-- @tparam[opt] table filter
-- @tparam[opt] string filter.task its name
-- @tparam[opt] string filter.queue
-- @tparam[opt] string filter.kind of its error
-- @tparam[opt] number filter.older died so many seconds ago or earlier
-- @tparam[opt] number filter.newer died so many seconds ago or later
-- @tparam[opt] int filter.limit no more than that
-- @treturn {DeadTask,...} see @{taskengine.dead}
-- @raise TaskError of kind BrokerUnavailable
function App:dead(filter)
  filter = options.check("dead", options.DEAD, filter)
  return dead.list(open(self), filter)
end

--- Puts a task that failed for good back into its queue.
-- @tparam string id
-- @treturn[1] boolean true
-- @treturn[1] boolean whether a worker serves its queue now
-- @treturn[2] boolean false
-- @treturn[2] string why not, see @{taskengine.dead.DeadTask:requeue}
-- @raise TaskError of kind BrokerUnavailable
function App:requeue(id)
  if not names.is_valid(id) then
    caller.raise(check.problem("requeue: id", check.name, id))
  end
  local entry = dead.find(open(self), id)
  if not entry then
    return false, "missing"
  end
  return entry:requeue()
end

-- The arguments for a main function; nil when it is not to be called.
local function main_args()
  if mode.name == "run" then
    return mode.args
  elseif mode.name == "plain" and arg and arg[0]
    and caller.source() == "@" .. arg[0] then
    return table.move(arg, 1, #arg, 1, {})
  end
end

--- Calls a function when this file is the program: under `taskengine run FILE`
-- and `lua5.4 FILE`, not in a worker and not when it is required.
-- @tparam function fn gets the list of the program's arguments
function App:main(fn)
  if type(fn) ~= "function" then
    caller.raise(check.problem("main", check.callable, fn))
  end
  local args = main_args()
  if args then
    mode.has_run = true
    if mode.before_main then
      mode.before_main()
    end
    fn(args)
  end
end

--- Closes the connections to Redis. They are opened again when needed.
function App:close()
  if self.opened then
    self.opened:close()
    self.opened = nil
  end
end

--- For people.
-- @treturn string
function App:__tostring()
  return "app " .. self.name
end

caller.guard_methods(App, "app")

return app
