--- Options that several commands take, and what becomes of them.
-- @module taskengine.cli.common

local check = require("taskengine.check")
local config = require("taskengine.config")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local options = require("taskengine.options")
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

--- How much is logged.
common.LEVEL = {
  short = "l", long = "level", value = "LEVEL",
  accepts = check.one_of { "debug", "info", "warn", "error", "off" },
  help = "log nothing below debug, info, warn or error; or off (default:"
    .. " info; of run: warn, and info for what tasks say)",
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

--- Makes the options that name settings the last word on them.
-- @tparam table given options of the command line
function common.apply_settings(given)
  config.command_line = {
    settings = { broker = given.broker, grace = given.grace },
    file = given.config,
  }
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

--- Checks that a file can be loaded, without running it.
-- @tparam string path
-- @raise an exit
function common.check_file(path)
  if path == "" then
    exit.usage("the name of the file is empty")
  end
  local stat, why = core.sys.stat(path)
  if not stat then
    exit.usage(("%s: %s"):format(path, errors.sentence(why)))
  elseif stat.type == "directory" then
    exit.usage(path .. ": this is a directory, a Lua file is expected")
  end
  local chunk, problem = loadfile(path, "t")
  if not chunk then
    -- Of compiled code the message does not say where it lies.
    local has_path = problem:find(path, 1, true)
    exit.usage(has_path and problem or ("%s: %s"):format(path, problem))
  end
end

return common
