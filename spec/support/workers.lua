--- Real workers on a real Redis, and a client beside them.
--
--     local site <close> = workers.site()
--     local worker = site:worker { "-P", "2" }
--     assert.equal(3, site:send("add", 1, 2):get { timeout = 10 })
--     assert.equal(0, site:stop(worker).code)
--
-- The workers run spec/support/tasks/basics.lua. Closing a site ends all that
-- was started there.
-- @module spec.support.workers

local busted = require("busted")
local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local processes = require("spec.support.processes")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local workers = {}

local FOLDER <const> = core.sys.realpath("spec/support/tasks")

--- The prefix of all keys.
workers.PREFIX = "te:{default.0}:"

--- A Redis, a folder and a client.
-- @type Site
-- @tfield App app
-- @tfield string dir
-- @tfield Server server
local Site = {}
Site.__index = Site

local function open(self, opts)
  self.server = opts.server or redis_server.start { config = opts.config }
  if opts.server then
    opts.server:cli("FLUSHALL")
  end
  self.owns_server = not opts.server
  self.place = program.place { broker = self.server.url }
  self.dir = self.place.dir
  self.app = te.app("site", { broker = self.server.url })
  self.redis = assert(core.redis.connect(self.server.url))
end

--- Opens a site.
-- @tparam[opt] table opts
-- @tparam[opt] {string,...} opts.config further lines of redis.conf
-- @tparam[opt] Server opts.server one that is there already; it is emptied
-- @treturn Site
function workers.site(opts)
  local self = setmetatable({}, Site)
  open(self, opts or {})
  return self
end

--- Opens a site before each spec of a block and closes it behind it.
-- @tparam[opt] table opts as for @{workers.site}; without it they all share
-- one Redis, which is emptied for each
-- @treturn Site of the spec that runs
function workers.for_each_spec(opts)
  local self = setmetatable({}, Site)
  opts = opts or { server = redis_server.for_all_specs() }
  busted.before_each(function()
    open(self, opts)
  end)
  busted.after_each(function()
    self:close()
  end)
  return self
end

--- Starts a worker.
-- @tparam[opt] {string|int,...} words of the command line
-- @tparam[opt] table opts
-- @tparam[opt] string opts.file of spec/support/tasks, default `basics`
-- @tparam[opt] table opts.env variables to set
-- @treturn Process
function Site:start(words, opts)
  opts = opts or {}
  local command = { "worker",
    ("%s/%s.lua"):format(FOLDER, opts.file or "basics") }
  for _, word in ipairs(words or {}) do
    command[#command + 1] = tostring(word)
  end
  return self.place:start(command, opts)
end

--- Starts a worker and waits until it says that it serves.
-- @tparam[opt] {string|int,...} words of the command line, but for its level
-- @tparam[opt] table opts as for @{Site:start}
-- @treturn Process
function Site:worker(words, opts)
  local worker = self:start(words, opts)
  worker:heard("stderr", "ready: ")
  return worker
end

--- Asks a worker to stop and waits until it has ended.
-- @tparam Process worker
-- @tparam[opt="TERM"] string signal
-- @treturn table see `spec.support.program`
function Site:stop(worker, signal)
  worker:kill(signal or "TERM")
  return worker:wait(30)
end

--- Sends a task.
-- @tparam string name
-- @param ... its arguments
-- @treturn Result
function Site:send(name, ...)
  return self.app:send_task(name, table.pack(...))
end

--- Sends a task with options.
-- @tparam string name
-- @tparam[opt] table args
-- @tparam[opt] table opts as for `app:send_task`
-- @treturn Result
function Site:apply(name, args, opts)
  return self.app:send_task(name, args, opts)
end

--- Sends a task and waits for its end.
-- @tparam string name
-- @param ... its arguments
-- @treturn boolean whether it succeeded
-- @return its value or its error
function Site:outcome(name, ...)
  local ok, value = self:send(name, ...):wait(30)
  assert(ok ~= nil, "no outcome")
  return ok, value
end

--- An outcome has to be a failure.
-- @tparam string kind
-- @tparam string text that is in its message
-- @tparam boolean ok
-- @tparam TaskError e
function workers.assert_failed(kind, text, ok, e)
  busted.assert.is_false(ok)
  busted.assert.equal(kind, e.kind)
  busted.assert.matches(text, e.message, 1, true)
end

--- Calls Redis and waits for the reply.
-- @tparam string ... the command
-- @return the reply
-- @raise when it is an error
function Site:call(...)
  local reply, why, is_there
  wait_until(function()
    return self.redis:is_up()
  end, 20, "Redis")
  self.redis:call(function(given, problem)
    reply, why, is_there = given, problem, true
  end, ...)
  wait_until(function()
    return is_there
  end, 20, "a reply")
  return reply == nil and error(why, 2) or reply
end

--- The same for a command on a key of the shard.
-- @tparam string command
-- @tparam string key without its prefix
-- @param ... more arguments
-- @return the reply
function Site:key(command, key, ...)
  return self:call(command, workers.PREFIX .. key, ...)
end

--- Calls a function of the library.
-- @tparam string name without its prefix
-- @param ... arguments
-- @return the reply
function Site:fcall(name, ...)
  return self:call("FCALL", "te1_" .. name, 1, workers.PREFIX, ...)
end

--- The commands that Redis has done so far, alone or in functions.
-- @treturn int without the calls of functions, and of this one
function Site:commands()
  local count = 0
  for name, calls in self:call("INFO", "commandstats")
    :gmatch("cmdstat_(%S+):calls=(%d+)") do
    if name ~= "fcall" and name ~= "info" then
      count = count + tonumber(calls)
    end
  end
  return count
end

--- A counter of a queue.
-- @tparam string name
-- @tparam[opt="default"] string queue
-- @treturn int
function Site:count(name, queue)
  local text = self:key("HGET", "s:" .. (queue or "default"), name)
  return text and math.tointeger(tonumber(text)) or 0
end

--- The incarnations that are registered.
-- @treturn {string,...}
function Site:wids()
  return self:key("ZRANGE", "w", 0, -1)
end

--- The envelopes in flight, of all workers.
-- @treturn {table,...} as `spec.support.envelope` reads them
function Site:in_flight()
  local all = {}
  for _, wid in ipairs(self:wids()) do
    for _, bytes in ipairs(self:key("HVALS", "f:" .. wid)) do
      all[#all + 1] = envelope.read(bytes)
    end
  end
  return all
end

--- The envelopes that are ready, the next one first.
-- @tparam[opt="default"] string queue
-- @treturn {table,...}
function Site:ready(queue)
  local all = {}
  local list = self:key("LRANGE", "r:" .. (queue or "default"), 0, -1)
  for i, bytes in ipairs(list) do
    all[i] = envelope.read(bytes)
  end
  return all
end

local KEPT <const> = { q = true, n = true }

--- Keys that should not be there when all tasks have ended and all workers
-- left. Outcomes, producers, callers' ids and what is remembered of tasks that
-- were not made go by themselves, later.
-- @treturn {string,...} without prefix, sorted
function Site:leftovers()
  local left = {}
  for _, key in ipairs(self:call("KEYS", "*")) do
    local name = key:sub(1, #workers.PREFIX) == workers.PREFIX
      and key:sub(#workers.PREFIX + 1) or key
    if not KEPT[name] and not name:find("^[dsviu]:") then
      left[#left + 1] = name
    end
  end
  table.sort(left)
  return left
end

--- A worker's child processes.
-- @tparam Process worker
-- @treturn {int,...}
function workers.children(worker)
  return processes.children(worker.pid)
end

--- Sends a signal to a process, which may be gone.
-- @tparam int pid
-- @tparam[opt="KILL"] string signal
workers.kill = processes.kill

--- How many descriptors a process has open.
-- @tparam int pid
-- @treturn int
function workers.descriptors(pid)
  local list <close> = io.popen(("ls /proc/%d/fd 2>&1"):format(pid))
  return select(2, list:read("a"):gsub("\n", ""))
end

--- Waits until no process of a list is left.
-- @tparam {int,...} pids
-- @tparam[opt=10] number limit_s
function workers.wait_gone(pids, limit_s)
  wait_until(function()
    for _, pid in ipairs(pids) do
      if processes.is_alive(pid) then
        return false
      end
    end
    return true
  end, limit_s or 10, "the end of processes")
end

--- The lines of a file in the site's folder.
-- @tparam string name
-- @treturn {string,...}
function Site:lines(name)
  local lines = {}
  local file <close> = io.open(self.dir .. "/" .. name, "rb")
  for line in (file and file:read("a") or ""):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

--- Waits until a file has so many lines.
-- @tparam string name
-- @tparam int count
-- @tparam[opt=20] number limit_s
-- @treturn {string,...}
function Site:wait_lines(name, count, limit_s)
  return wait_until(function()
    local lines = self:lines(name)
    return #lines >= count and lines
  end, limit_s or 20, ("%d lines in %s"):format(count, name))
end

--- Ends all.
function Site:close()
  self.app:close()
  self.redis:close()
  self.place:close()
  if self.owns_server then
    self.server:stop()
  end
end

Site.__close = Site.close

return workers
