--- A worker's child: loads the files, says what they define, runs tasks.
-- @module taskengine.child

local broker = require("taskengine.broker")
local config = require("taskengine.config")
local core = require("taskengine.core")
local coroutines = require("taskengine.coroutines")
local gather = require("taskengine.gather")
local limits = require("taskengine.limits")
local loader = require("taskengine.loader")
local message = require("taskengine.message")
local mode = require("taskengine.mode")
local output = require("taskengine.output")
local registry = require("taskengine.registry")
local runner = require("taskengine.runner")
local scheduler = require("taskengine.scheduler")
local size = require("taskengine.size")
local slot = require("taskengine.slot")
local spawn = require("taskengine.spawn")
local strings = require("taskengine.strings")
local thrift = require("taskengine.thrift")
local transport_child = require("taskengine.transport_child")
local unique = require("taskengine.unique")

local child = {}

local EXIT_INTERNAL <const> = 70 -- EX_SOFTWARE

local function load_files(asked, on_file)
  for _, path in ipairs(asked.files) do
    if on_file then
      on_file(path)
    end
    loader.add_paths(path, asked.modules)
    mode.is_loading = true
    local ok, problem = loader.run_once(path)
    mode.is_loading = false
    if not ok then
      return nil, problem
    end
  end
  return true
end

-- One worker has one broker and one namespace. Of two limits the soft one has
-- to come first.
local function common_settings(asked)
  local common
  for _, app in ipairs(registry.apps) do
    local settings, problem = app:settings()
    if not settings then
      return nil, problem
    end
    common = common or settings
    for _, name in ipairs { "broker", "namespace" } do
      local is_decided = asked.settings[name] ~= nil
        or name == "broker" and asked.has_broker
      if not is_decided and settings[name] ~= common[name] then
        return nil, ("the files have two settings for %s; one worker has one")
          :format(name)
      end
    end
  end
  local soft, hard = common.soft_time_limit, common.time_limit
  if soft and hard and soft >= hard then
    return nil, ("soft_time_limit (%.14g s) has to be less than time_limit"
      .. " (%.14g s)"):format(soft, hard)
  end
  return common
end

-- A value of an option as it can travel, and be shown as JSON: for ever is
-- false, as in @{taskengine.retry}.
local function shown(value)
  if type(value) == "function" then
    return "function"
  elseif value == math.huge then
    return false
  elseif type(value) ~= "table" then
    return value
  end
  local out = {}
  for key, item in pairs(value) do
    out[key] = shown(item)
  end
  return out
end

-- What a worker publishes of its tasks.
local function describe_tasks(tasks)
  local described = {}
  for name, task in pairs(tasks) do
    local about = { place = task.place }
    for option, value in pairs(task.options) do
      about[option] = shown(value)
    end
    about.queue = about.queue or message.QUEUE
    about.unique = unique.published(task.options.unique)
    described[name] = about
  end
  return described
end

--- Loads what the worker was asked to run.
-- @tparam table asked what the master says: `files`; `settings`, those of the
-- command line but for the broker, which may hold a password; `has_broker`,
-- whether it names one; `modules`, the folder of the program's native
-- modules; `worker`, its name; `concurrency`
-- @tparam[opt] function on_file gets each path before it is loaded
-- @treturn[1] table for the master: `tasks`, name to options, with `place`
-- and `queue`; and `settings`
-- @treturn[1] {[string]=Task,...} the tasks
-- @return[2] nil
-- @treturn[2] string what is wrong, with file and line
function child.load(asked, on_file)
  config.command_line = { settings = asked.settings, file = asked.config_file }
  local ok, problem = load_files(asked, on_file)
  if not ok then
    return nil, problem
  end
  local tasks
  tasks, problem = registry.tasks()
  if tasks and not next(tasks) then
    tasks = nil
    problem = table.concat(asked.files, ", ") .. ": no task is defined there"
  end
  local settings
  if tasks then
    settings, problem = common_settings(asked)
  end
  if not settings then
    return nil, problem
  end
  return { tasks = describe_tasks(tasks), settings = settings }, tasks
end

local function wait_for_config()
  local bytes, is_over
  core.child.on_config(function(given)
    bytes = given
  end)
  core.child.on_quit(function()
    is_over = true
  end)
  while not bytes and not is_over do
    core.loop.run("once")
  end
  return bytes and assert(core.codec.decode(bytes))
end

-- An error that is no task's: what it left undone nobody would ever end. The
-- master starts another process, and knows whose code ran.
local function die(problem)
  core.child.log("error", nil, "a process that runs tasks is broken: "
    .. tostring(problem))
  core.child.flush()
  os.exit(EXIT_INTERNAL)
end

local function serve(asked, hello, tasks, lines, retire)
  local soft_limit = hello.settings.soft_time_limit
  local running
  local memory = thrift.new(function()
    return running.count == 0
  end)
  strings.keep()
  running = runner.new {
    tasks = tasks,
    result_bytes_max = hello.settings.result_bytes_max,
    message_bytes_max = hello.settings.message_bytes_max,
    bequeath = core.child.bequeath,
    soft_limit_ms = soft_limit and math.ceil(soft_limit * 1000),
    worker = asked.worker,
    retire = retire,
    done = function(token, outcome)
      strings.restore()
      lines:finish(token)
      core.child.done(token, outcome)
      memory:look()
    end,
    log = core.child.log,
    say = core.child.state,
  }
  core.child.on_task(function(token, envelope)
    running:begin(token, envelope)
  end)
  core.child.on_cancel(function(token, is_asked)
    if is_asked then
      running:revoke(token)
    else
      running:cancel(token)
    end
  end)
  core.child.set_concurrency(asked.concurrency)
  core.loop.on_error(die)
  return running
end

--- Prepares this Lua state for tasks, before any file is loaded.
-- @treturn Lines what tasks print and write
function child.prepare()
  mode.name = "worker"
  coroutines.install()
  scheduler.on_switch(function(fiber)
    local task = fiber and fiber.task
    if core.child.execute(task and task.token) then
      limits.note_revoked(task)
    end
  end)
  limits.is_asked = core.child.is_asked
  slot.tell = core.child.waits
  transport_child.start()
  broker.new_transport = transport_child.new
  function spawn.on_error(text)
    core.child.log("error", nil, text)
  end
  function gather.on_delay(text)
    core.child.log("warn", scheduler.current().task.token, text)
  end
  return output.redirect(core.child.log)
end

-- Loads the files, and begins to watch over what their tasks use.
local function load_and_limit(asked)
  local hello, tasks = child.load(asked, core.child.loads)
  if hello then
    local ok, problem = limits.install(
      size.bytes(hello.settings.memory_limit), tasks)
    if not ok then
      return nil, problem
    end
  end
  return hello, tasks
end

-- Where memory was refused the finalizers of the tasks are not asked for
-- anything more: what is not written yet is, and that is all.
local function leave(lines, is_broken)
  lines:finish_all()
  core.child.close()
  if is_broken then
    os.exit(0)
  end
  return 0
end

--- Runs this process as a worker's child.
-- @tparam int index which of the master's children it is
-- @treturn int the exit code
function child.main(index)
  assert(core.child.open(index))
  local lines = child.prepare()
  local asked = wait_for_config()
  if not asked then
    return 0
  end
  local is_over, is_broken = false, false
  local function retire()
    is_over, is_broken = true, true
    core.child.set_concurrency(0)
    core.child.log("warn", nil, "a task wanted more memory than memory_limit"
      .. " allows: its process is replaced")
  end
  local hello, tasks = load_and_limit(asked)
  local running = hello and serve(asked, hello, tasks, lines, retire)
  core.child.on_quit(function()
    is_over = true
  end)
  core.child.hello(hello ~= nil,
    assert(core.codec.encode(hello or { error = tasks })))
  while not is_over or running and running.count > 0 do
    core.loop.run("once")
  end
  return leave(lines, is_broken)
end

return child
