--- What the measurements stand on: a Redis of their own, workers, /proc.
-- @module bench.setup

local core = require("taskengine.core")

local setup = {}

local PROGRAM <const> = os.getenv("TASKENGINE_PROGRAM") or "build/taskengine"
local LIMIT_S <const> = 120

--- Seconds of a clock that only goes forward.
setup.now = core.sys.monotonic

local given_up -- why no wait is to go on

--- Makes the wait that goes on, and every later one, raise an error.
-- @tparam ?string why nil lets waits go on again
function setup.give_up(why)
  given_up = why
end

--- Runs the loop until `condition` is true.
-- @tparam function condition
-- @tparam string what for the error
-- @tparam[opt] number pause_ms between two looks
function setup.wait(condition, what, pause_ms)
  local deadline = setup.now() + LIMIT_S
  while not condition() do
    if given_up then
      error(given_up, 0)
    elseif setup.now() > deadline then
      error("gave up waiting for " .. what)
    end
    local over = false
    core.loop.timer(pause_ms or 2, function()
      over = true
    end)
    while not over do
      core.loop.run("once")
    end
  end
end

--- What a shell command prints.
function setup.output_of(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read("a")
end

local Server = {}
Server.__index = Server

--- Starts a redis-server: a Unix socket, no persistence.
-- @tparam[opt] boolean detached so that a Ctrl-C does not end it
-- @tparam[opt] {string,...} under a program and its options, that runs it
-- @treturn Server with `url` and `socket`; closing it stops it
function setup.redis(detached, under)
  local dir = setup.output_of("mktemp -d"):match("%S+")
  local self = setmetatable({ dir = dir, socket = dir .. "/redis.sock" },
    Server)
  self.url = "redis+unix://" .. self.socket
  local words = { "redis-server", "--port", "0", "--unixsocket", self.socket,
    "--save", "", "--appendonly", "no", "--dir", dir }
  words = under and table.move(words, 1, #words, #under + 1,
    table.move(under, 1, #under, 1, {})) or words
  self.process = assert(core.sys.spawn(words, { stdio = { [1] = "null" },
    detached = detached }))
  local is_up = false
  self.link = core.redis.connect(self.url, {
    on_up = function()
      is_up = true
    end,
  })
  setup.wait(function()
    return is_up
  end, "redis-server")
  return self
end

--- One command, waited for.
function Server:call(...)
  local done, reply, message = false, nil, nil
  self.link:call(function(...)
    done, reply, message = true, ...
  end, ...)
  while not done do
    core.loop.run("once")
  end
  return reply == nil and error(message) or reply
end

--- User and system time of the server so far, in seconds.
function Server:cpu_s()
  local info = self:call("INFO", "cpu")
  return tonumber(info:match("used_cpu_user:([%d.]+)"))
    + tonumber(info:match("used_cpu_sys:([%d.]+)"))
end

function Server:memory()
  return tonumber(self:call("INFO", "memory"):match("used_memory:(%d+)"))
end

--- Microseconds and calls of FCALL since the last reset.
function Server:fcall_us()
  local stats = self:call("INFO", "commandstats")
  local calls, us = stats:match("cmdstat_fcall:calls=(%d+),usec=(%d+)")
  return tonumber(us) or 0, tonumber(calls) or 0
end

function Server:reset()
  self:call("FLUSHALL")
  self:call("CONFIG", "RESETSTAT")
end

--- Tasks of the default queue that have succeeded.
function Server:done()
  return tonumber(self:call("HGET", "te:{default.0}:s:default", "done") or 0)
    or 0
end

function Server:stop()
  self.link:close()
  self.process:kill("SIGKILL")
  os.execute("rm -rf " .. self.dir)
end

Server.__close = Server.stop

--- Starts a worker of 2 children.
function setup.worker(server)
  local worker = { is_running = true }
  worker.process = assert(core.sys.spawn({
    PROGRAM, "worker", "bench/tasks.lua", "-b", server.url, "-P", "2",
    "-l", "warn",
  }, {
    on_exit = function()
      worker.is_running = false
    end,
  }))
  function worker.stop()
    worker.process:kill("SIGTERM")
    setup.wait(function()
      return not worker.is_running
    end, "the worker's end")
  end
  function worker.wait_ready()
    setup.wait(function()
      return server:call("SCARD", "te:{default.0}:sl:default") > 0
    end, "the worker")
  end
  return worker
end

--- The processes that one has started.
-- @tparam int pid
-- @treturn {int,...}
function setup.children_of(pid)
  local list = {}
  for child in setup.output_of(
    ("cat /proc/%d/task/*/children"):format(pid)):gmatch("%d+") do
    table.insert(list, math.tointeger(child))
  end
  return list
end

--- What processes have had of a processor so far, in seconds.
-- @tparam {int,...} pids
-- @treturn number
function setup.cpu_s(pids)
  local sum = 0
  for _, pid in ipairs(pids) do
    for ns in setup.output_of(("cat /proc/%d/task/*/schedstat 2>/dev/null")
      :format(pid)):gmatch("(%d+) %d+ %d+") do
      sum = sum + tonumber(ns)
    end
  end
  return sum / 1e9
end

--- Processor time of a worker so far.
-- @tparam int pid
-- @treturn number seconds of the master
-- @treturn number seconds of its children
function setup.worker_cpu_s(pid)
  return setup.cpu_s { pid }, setup.cpu_s(setup.children_of(pid))
end

local function pss_kb(pid)
  local file <close> = assert(io.open("/proc/" .. pid .. "/smaps_rollup"))
  return tonumber(file:read("a"):match("\nPss:%s+(%d+)"))
end

--- Proportional set size of a process and its children, in MB.
function setup.pss_mb(pid)
  local sum = pss_kb(pid)
  for _, child in ipairs(setup.children_of(pid)) do
    sum = sum + pss_kb(child)
  end
  return sum / 1024
end

--- What redis-benchmark says of this machine: LPUSH a second, 32 at a time.
function setup.yardstick(server)
  local text = setup.output_of("redis-benchmark -P 32 -n 1000000 -t lpush -q"
    .. " -s " .. server.socket)
  return tonumber(text:match("LPUSH: ([%d.]+) requests per second"))
end

return setup
