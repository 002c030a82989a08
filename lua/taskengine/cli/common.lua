--- Options that several commands take, and what becomes of them.
-- @module taskengine.cli.common

local check = require("taskengine.check")
local config = require("taskengine.config")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local options = require("taskengine.options")
local say = require("taskengine.cli.say")
local settings = require("taskengine.settings")

local common = {}

-- A broker's URL may hold a password, so a refusal shows nothing of it.
local function read_broker(text)
  local problem = settings.KNOWN.broker.problem(text)
  if problem then
    exit.usage("--" .. problem, "for example: -b redis://localhost:6379/0,"
      .. " -b redis+unix:///run/redis.sock, -b embedded://")
  end
  return text
end

--- Where Redis is.
common.BROKER = {
  short = "b", long = "broker", value = "URL", read = read_broker,
  words = { "embedded://", "redis://", "redis+unix://" },
  help = "where Redis is: redis://[user:password@]host:port/db,"
    .. " redis+unix:///path or embedded://[name], which starts by itself",
}

--- A file of settings.
common.CONFIG = {
  long = "config", value = "FILE",
  help = "a Lua file that returns settings (default: $TASKENGINE_CONFIG,"
    .. " ./taskengine.conf.lua)",
}

--- Data for programs.
common.JSON = {
  long = "json",
  help = 'print JSON; numbers that it does not have are "inf", "-inf", "nan"',
}

local LEVELS <const> = { "debug", "info", "warn", "error", "off" }

--- How much is logged.
common.LEVEL = {
  short = "l", long = "level", value = "LEVEL",
  accepts = check.one_of(LEVELS), words = LEVELS,
  help = "log nothing below debug, info, warn or error; or off (default:"
    .. " info; of run: warn, and info for what tasks say)",
}

-- In force at once: what is wrong with the words behind it is said that way.
local function read_log_format(text)
  if text ~= "text" and text ~= "json" then
    return nil, "text or json"
  end
  say.set_json(text == "json")
  return text
end

--- What lines of the log look like.
common.LOG_FORMAT = {
  long = "log-format", value = "FORMAT", read = read_log_format,
  words = { "text", "json" },
  help = "text, or json: every line on stderr is an object, with what tasks,"
    .. " and programs that they start, print (default: text)",
}

--- How many processes run tasks.
common.PROCESSES = {
  short = "P", long = "processes", value = "N",
  accepts = check.integer(1, 512),
  help = "processes that run tasks (default: one for each core)",
}

--- How many tasks each of them runs at a time.
common.CONCURRENCY = {
  short = "c", long = "concurrency", value = "N",
  accepts = check.integer(1, 1000),
  help = "tasks at a time in each process (default: 1); more is for tasks"
    .. " that wait",
}

--- How long to wait.
common.TIMEOUT = {
  long = "timeout", value = "SECONDS",
  accepts = options.GET.known.timeout,
  help = "wait no longer than that; then exit with code 4",
}

--- The options that name settings which children may see: not the broker, in
-- whose URL a password may be.
-- @tparam table given options of the command line
-- @treturn table
function common.settings_in(given)
  return {
    grace = given.grace,
    time_limit = given.time_limit,
    soft_time_limit = given.soft_time_limit,
    memory_limit = given.memory_limit,
    max_tasks_per_child = given.max_tasks_per_child,
    max_memory_per_child = given.max_memory_per_child,
  }
end

--- Makes the options that name settings the last word on them.
-- @tparam table given options of the command line
function common.apply_settings(given)
  local named = common.settings_in(given)
  named.broker = given.broker
  config.command_line = { settings = named, file = given.config }
end

--- The settings in force.
-- @tparam[opt] table app settings of an app
-- @treturn table
-- @raise an exit when one of them is wrong
function common.settings(app)
  local all, problem = config.resolve { app = app }
  if not all then
    exit.usage(problem)
  end
  return all
end

--- Opens the event loop, for which the system has to have descriptors left.
-- @raise an exit
function common.open_loop()
  local ok, timer = pcall(core.loop.timer, 0, function() end)
  if not ok then
    exit.raise(exit.FAILED, "the program cannot start: " .. timer,
      "ulimit -n says how many files a process may have open")
  end
  timer:close()
end

--- What to do about an embedded Redis that cannot be had.
-- @tparam string why
-- @treturn ?string nil where the reason says that itself
function common.advice_on_embedded(why)
  return why:find("the folder ", 1, true)
    and "its data lies below $XDG_STATE_HOME, or ~/.local/state without that;"
      .. " -b URL names another Redis" or nil
end

-- Such a name means another file, or none, in each process.
local function is_descriptor(path)
  return path == "/dev/stdin" or path:find("^/dev/fd/")
    or path:find("^/proc/[^/]+/fd/")
end

-- A file is loaded more than once: to be checked, and by each process that
-- runs tasks.
local function check_type(path)
  local stat, why = core.sys.stat(path)
  if not stat then
    exit.usage(("%s: %s"):format(path, errors.sentence(why)))
  elseif stat.type == "directory" then
    exit.usage(path .. ": this is a directory, a Lua file is expected")
  elseif stat.type ~= "file" or is_descriptor(path) then
    exit.usage(path .. ": this is no regular file, and other processes have"
      .. " to load it, too", "save it as a Lua file")
  end
end

--- Checks that a file can be loaded, without running it.
-- @tparam string path
-- @raise an exit
function common.check_file(path)
  if path == "" then
    exit.usage("the name of the file is empty")
  end
  check_type(path)
  local chunk, problem = loadfile(path, "t")
  if not chunk then
    -- Of compiled code the message does not say where it lies.
    local has_path = problem:find(path, 1, true)
    exit.usage(has_path and problem or ("%s: %s"):format(path, problem))
  end
end

return common
