--- The settings that there are: what each takes, and what holds without it.
-- @module taskengine.settings

local check = require("taskengine.check")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local suggest = require("taskengine.suggest")

local settings = {}

local YEAR <const> = 366 * 86400
-- What fits into a frame between a worker and its children.
local BYTES_MAX <const> = 32000000
local ZONES <const> = "/usr/share/zoneinfo/"

-- A URL that is none is told apart from one whose turn has not come.
local function broker_problem(value)
  if type(value) ~= "string" then
    return check.problem("broker", check.string, value)
  end
  local parsed, why = core.url.parse(value)
  return not parsed and "broker: " .. errors.sentence(why) or nil
end

-- Where the system has its zones, it has to know this one.
local function timezone_problem(value)
  local is_known = type(value) == "string"
    and value:find("^%a[%w_+-]*[%w_+/-]*$")
    and (not core.sys.stat(ZONES) or core.sys.stat(ZONES .. value))
  if not is_known then
    return ("timezone: a name such as Europe/Paris or UTC expected, got %s")
      :format(check.describe(value))
  end
end

local SERIALIZERS <const> = { "json", "msgpack" }
local is_serializer = check.one_of(SERIALIZERS)

local function serializer_problem(value, name)
  if not is_serializer(value) then
    return check.problem(name, is_serializer, value)
      .. (type(value) == "string" and suggest.hint(value, SERIALIZERS) or "")
  end
end

local function checked_by(accepts)
  return function(value, name)
    if not accepts(value) then
      return check.problem(name, accepts, value)
    end
  end
end

-- Name to `problem`, a function that gets a value and the name and returns
-- what is wrong with it, and `default`; those without one may be missing.
settings.KNOWN = {
  -- Where Redis is.
  broker = { problem = broker_problem },
  -- In front of all keys, so that strangers can share a Redis.
  namespace = { problem = checked_by(check.name), default = "default" },
  -- For how many seconds the outcome of a task is kept.
  result_expires = {
    problem = checked_by(check.integer(1, 10 * YEAR)),
    default = 86400,
  },
  -- For how many seconds a call waits for Redis.
  broker_timeout = {
    problem = checked_by(check.seconds(0.01, 86400)),
    default = 5,
  },
  -- The most bytes that the arguments of a call may take.
  message_bytes_max = {
    problem = checked_by(check.integer(1, BYTES_MAX)),
    default = 1024 * 1024,
  },
  -- The most bytes that a result may take.
  result_bytes_max = {
    problem = checked_by(check.integer(1, BYTES_MAX)),
    default = 16 * 1024 * 1024,
  },
  -- As what arguments and results travel; workers read both.
  serializer = { problem = serializer_problem, default = "msgpack" },
  -- For how many seconds a worker that says nothing keeps its tasks.
  lease = { problem = checked_by(check.seconds(1, 3600)), default = 15 },
  -- For how many seconds a worker that has to stop goes on with its tasks.
  grace = { problem = checked_by(check.seconds(0, 86400)), default = 30 },
  -- For how many seconds a task that has no such limit of its own may run
  -- before it is ended.
  time_limit = { problem = checked_by(check.seconds(0.001, 4294967)) },
  -- And before an error is raised in it.
  soft_time_limit = { problem = checked_by(check.seconds(0.001, 4294967)) },
  -- How much memory the Lua state of a child may take while tasks run.
  memory_limit = {
    problem = checked_by(check.size(1 << 20, 1 << 40, "1M to 1T")),
  },
  -- After how many tasks a process of a worker is replaced.
  max_tasks_per_child = {
    problem = checked_by(check.integer(1, 1000000000)),
  },
  -- How much memory such a process may have come to after a task, or it is
  -- replaced.
  max_memory_per_child = {
    problem = checked_by(check.size(1 << 20, 1 << 40, "1M to 1T")),
  },
  -- In which schedules will be read.
  timezone = { problem = timezone_problem, default = "UTC" },
}

return settings
