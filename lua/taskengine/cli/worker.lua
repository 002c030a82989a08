--- `taskengine worker FILE...`: runs the tasks of Lua files.
-- @module taskengine.cli.worker

local check = require("taskengine.check")
local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local master = require("taskengine.cli.master")
local places = require("taskengine.cli.places")
local runtime_folder = require("taskengine.cli.runtime_folder")

local worker = {}

local function read_queues(text)
  local queues, seen = {}, {}
  for name in (text .. ","):gmatch("([^,]*),") do
    if not check.name(name) then
      exit.usage(check.problem("worker: -Q: queue", check.name, name),
        "queues are separated by commas: -Q default,mail")
    elseif not seen[name] then
      seen[name] = true
      queues[#queues + 1] = name
    end
  end
  return queues
end

worker.spec = {
  name = "worker",
  usage = "worker FILE... [OPTIONS]",
  about = "Runs the tasks that the Lua files define. SIGTERM or Ctrl-C stops"
    .. " it: tasks that run may end within the grace time, the rest goes"
    .. " back; a second one, or SIGQUIT, stops it at once. SIGHUP makes it"
    .. " load the files anew: what runs ends on the old code.",
  operands = { "FILE", min = 1, max = 1000 },
  options = {
    {
      short = "Q", long = "queues", value = "NAMES", read = read_queues,
      help = "queues to serve, separated by commas (default: default, and"
        .. " every queue that a task names)",
    },
    common.PROCESSES,
    common.CONCURRENCY,
    {
      short = "n", long = "name", value = "NAME", accepts = check.name,
      help = "what others see of it (default: host and process id)",
    },
    common.BROKER,
    common.CONFIG,
    {
      long = "grace", value = "SECONDS",
      accepts = check.seconds(0, 86400),
      help = "how long tasks may go on when it stops (default: 30)",
    },
    {
      long = "time-limit", value = "SECONDS",
      accepts = check.seconds(0.001, 4294967),
      help = "end tasks that run longer, and have no such limit of their own",
    },
    {
      long = "soft-time-limit", value = "SECONDS",
      accepts = check.seconds(0.001, 4294967),
      help = "raise an error in tasks that run longer, and have no such limit"
        .. " of their own",
    },
    {
      long = "memory-limit", value = "SIZE", accepts = check.size(1 << 20,
        1 << 40, "1M to 1T"),
      help = "how much memory the Lua code of each process may take, e.g. 64M;"
        .. " more is an error in the task that wants it",
    },
    {
      long = "max-tasks-per-child", value = "N",
      accepts = check.integer(1, 1000000000),
      help = "replace a process when it has run N tasks (default: never)",
    },
    {
      long = "max-memory-per-child", value = "SIZE",
      accepts = check.size(1 << 20, 1 << 40, "1M to 1T"),
      help = "replace a process that has come to more memory than that after"
        .. " a task, e.g. 200M (default: never)",
    },
    common.LEVEL,
    common.LOG_FORMAT,
    {
      long = "parent", value = "PID", is_hidden = true,
      accepts = check.integer(1, 2 ^ 31),
      help = "stop when the process that started it ends",
    },
    {
      long = "task-level", value = "LEVEL", is_hidden = true,
      accepts = common.LEVEL.accepts,
      help = "log nothing below that of what tasks say (default: as --level)",
    },
    {
      long = "beside-bar", is_hidden = true,
      help = "its parent has a progress bar on the terminal",
    },
  },
  later = {
    "beat", "watch",
  },
  examples = {
    "taskengine worker tasks.lua",
    "taskengine worker tasks.lua -b redis://localhost:6379/0 -P 8",
    "taskengine worker mail.lua -Q mail -c 100 --grace 5",
    "TASKENGINE_BROKER=redis://user:password@host taskengine worker tasks.lua",
  },
}

-- Characters that a name cannot have are left out.
local function default_name()
  local host = core.sys.hostname():gsub("[^%w_.-]", "")
  return ("%s-%d"):format(host:sub(1, 100), core.sys.pid())
end

-- The broker where it is named outside of the files. Their settings come
-- later, and only a configuration file is read by the children themselves.
local function named_broker(given)
  return given.broker or core.sys.getenv("TASKENGINE_BROKER")
end

-- What the children load: they see neither the broker nor its password.
local function config_for_children(given, name)
  return {
    files = table.move(given, 1, #given, 1, {}),
    settings = common.settings_in(given),
    has_broker = named_broker(given) ~= nil,
    config_file = given.config,
    modules = places.modules(),
    worker = name,
    concurrency = given.concurrency or 1,
  }
end

local function claims_folder()
  local path, why = runtime_folder.path()
  if path then
    path, why = runtime_folder.make(path)
  end
  if not path then
    core.log.write("warn", ("%s: if this worker is killed, its tasks come back"
      .. " when its lease ends, not before"):format(why))
  end
  return path
end

-- More slots than tasks that it can have in its hands would never be filled.
local function check_slots(processes, concurrency)
  local slots = processes * concurrency
  if slots > core.worker.TASKS_MAX then
    exit.usage(("worker: %d processes (-P) with %d tasks each (-c) make %d, one"
      .. " worker runs %d at most"):format(processes, concurrency, slots,
      core.worker.TASKS_MAX), "several workers can serve the same queues")
  end
end

-- Lines that are objects name the worker, and nobody writes among them.
local function log_as_json(name)
  core.log.set_json(true, name)
  local taken, why = core.log.take_stray()
  if not taken then
    exit.raise(exit.FAILED, "the log cannot be JSON: " .. errors.sentence(why))
  end
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function worker.run(given)
  common.open_loop()
  local processes = given.processes or core.sys.ncpus()
  check_slots(processes, given.concurrency or 1)
  local level = given.level or "info"
  core.log.set_level(level)
  core.log.set_erases(given.beside_bar == true)
  for _, path in ipairs(given) do
    common.check_file(path)
  end
  common.apply_settings(given)
  common.settings()
  if given.parent and not core.sys.end_with_parent(given.parent) then
    return exit.OK
  end
  local name = given.name or default_name()
  if given.log_format == "json" then
    log_as_json(name)
  end
  local children = config_for_children(given, name)
  local broker = named_broker(given)
  core.sys.setenv("TASKENGINE_BROKER", nil) -- children inherit the rest
  local code = master.run {
    name = name,
    processes = processes,
    concurrency = children.concurrency,
    queues = given.queues,
    parent = given.parent,
    broker = broker,
    claims_dir = claims_folder(),
    task_level = given.task_level or level,
    children = children,
  }
  core.log.release_stray()
  return code
end

return worker
