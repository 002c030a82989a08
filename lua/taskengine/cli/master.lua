--- The life of a worker: its children load the files, then it connects.
--
--    loading --hello--> connecting --ready--> serving --signal--> stopping
--
-- What goes wrong before it serves ends it; later it goes on. SIGHUP makes new
-- children load the files as they are now.
-- @module taskengine.cli.master

local broker = require("taskengine.broker")
local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local library = require("taskengine.library")
local message = require("taskengine.message")
local say = require("taskengine.cli.say")
local size = require("taskengine.size")
local version = require("taskengine.version")

local master = {}

local ENSURE_MS <const> = 15000

--- A worker that runs.
-- @type Master
local Master = {}
Master.__index = Master

local function log(level, text, ...)
  core.log.write(level, text:format(...))
end

local function counted(count, one, many)
  return ("%d %s"):format(count, count == 1 and one or many)
end

-- Ends a worker that never served.
local function fail(self, code, text, advice)
  if not self.code then
    self.code = code
    say.problem(text, advice)
    self.worker:stop(true)
  end
end

-- The queues of the command line; or the default one, and those that the
-- tasks name.
local function queues_of(plan, tasks)
  if plan.queues then
    return plan.queues
  end
  local queues, seen = {}, { [message.QUEUE] = true }
  for _, task in pairs(tasks) do
    if not seen[task.queue] then
      seen[task.queue] = true
      queues[#queues + 1] = task.queue
    end
  end
  table.sort(queues)
  table.insert(queues, 1, message.QUEUE)
  return queues
end

local function describe(self)
  local plan = self.plan
  return assert(core.codec.encode {
    host = core.sys.hostname(),
    pid = core.sys.pid(),
    name = plan.name,
    queues = self.queues,
    tasks = self.tasks,
    processes = plan.processes,
    concurrency = plan.concurrency,
    version = version.TEXT,
    started = core.sys.wall(),
  })
end

-- The tasks' own, for those that were sent without one: by name, from where
-- nobody knew what is defined here.
local function time_limits_of(tasks)
  local limits = {}
  for name, task in pairs(tasks) do
    limits[name] = task.time_limit and math.ceil(task.time_limit * 1000)
  end
  return limits
end

-- What may change while it runs, see core.worker.
local function terms_of(self)
  local settings = self.settings
  return {
    queues = self.queues,
    description = describe(self),
    grace_ms = math.floor(settings.grace * 1000),
    time_limit_ms = math.ceil((settings.time_limit or 0) * 1000),
    time_limits = time_limits_of(self.tasks),
    child_tasks_max = settings.max_tasks_per_child or 0,
    child_memory_max = settings.max_memory_per_child
      and size.bytes(settings.max_memory_per_child) or 0,
  }
end

local function on_startup_over(self)
  if self.stage == "connecting" then
    fail(self, exit.UNREACHABLE, self.trouble
      or ("%s does not answer"):format(self.shown_broker),
      "is Redis running there? -b URL names another")
  end
end

local function connect(self, url)
  local prefix = ("te:{%s.0}:"):format(self.settings.namespace)
  local plan = terms_of(self)
  for name, value in pairs {
    url = url,
    prefix = prefix,
    -- The URL as it was named, and not the embedded one's socket: that may be
    -- another when a worker is started again. A password may be too.
    service = core.sys.digest(self.shown_broker .. "\n" .. prefix),
    lease_ms = math.floor(self.settings.lease * 1000),
    library = library.text(),
    probe = library.PREFIX .. "build",
    build = library.BUILD,
    client_name = "taskengine:" .. self.plan.name,
  } do
    plan[name] = value
  end
  local connected, why = self.worker:connect(plan)
  if not connected then
    return fail(self, exit.USAGE, "broker: " .. errors.sentence(why))
  end
  self.startup = core.loop.timer(self.settings.broker_timeout * 1000,
    function()
      on_startup_over(self)
    end)
end

local function url_of_socket(path)
  return "redis+unix://" .. path:gsub("[^%w/._-]", function(c)
    return ("%%%02X"):format(c:byte())
  end)
end

-- Keeps the embedded Redis for as long as the worker lives.
local function connect_embedded(self, name)
  self.embedded = core.embedded.new(name)
  self.embedded:ensure(ENSURE_MS, function(answers, why, code)
    if self.stage == "stopping" then
      return
    elseif answers then
      connect(self, url_of_socket(self.embedded:socket()))
    else
      fail(self, code == "EACCES" and exit.USAGE or exit.UNREACHABLE,
        ("%s: %s"):format(self.shown_broker, errors.sentence(why)),
        common.advice_on_embedded(why))
    end
  end)
end

-- Takes what the files define.
local function adopt(self, hello)
  self.tasks, self.settings = hello.tasks, hello.settings
  self.queues = queues_of(self.plan, hello.tasks)
end

local function on_hello(self, bytes)
  local hello = assert(core.codec.decode(bytes))
  if hello.error then
    return fail(self, exit.USAGE, hello.error)
  end
  self.stage = "connecting"
  adopt(self, hello)
  local url = self.plan.broker or hello.settings.broker or broker.DEFAULT
  self.shown_broker = core.url.masked(url)
  local parsed = core.url.parse(url)
  if parsed.scheme == "embedded" then
    connect_embedded(self, parsed.name)
  else
    connect(self, url)
  end
end

-- Also when it does not serve yet: the files may have changed since they were
-- loaded.
local function reload(self)
  if self.stage == "stopping" then
    return log("info", "not reloading: it is stopping")
  elseif self.stage ~= "serving" then
    self.is_reload_due = true
    return
  end
  log("info", "reloading %s", table.concat(self.plan.children.files, ", "))
  self.worker:reload()
end

-- Whatever wins over the files stays the same.
local FIXED <const> = { "broker", "namespace", "lease" }

local function warn_of_fixed(self, settings)
  for _, name in ipairs(FIXED) do
    local is_named = name == "broker" and self.plan.broker
    if settings[name] ~= self.settings[name] and not is_named then
      log("warn", "the setting '%s' has changed: that takes a restart of this"
        .. " worker", name)
    end
    settings[name] = self.settings[name]
  end
end

-- The first of the new children has loaded the files.
local function on_loaded(self, bytes)
  self.next_hello = assert(core.codec.decode(bytes))
  warn_of_fixed(self, self.next_hello.settings)
end

local function on_reload_failed(_, why)
  log("error", "reload failed, the old processes stay: %s", why)
end

-- Only now: before, a task that is new might come to an old child.
local function on_reloaded(self)
  adopt(self, self.next_hello)
  self.worker:set_terms(terms_of(self))
  log("info", "reloaded (%s), %s %s", counted(self.plan.processes, "child",
    "children"), #self.queues == 1 and "queue" or "queues",
    table.concat(self.queues, ", "))
end

local ON_RELOAD <const> = {
  loaded = on_loaded, failed = on_reload_failed, done = on_reloaded,
}

local function on_reload(self, what, text)
  if self.stage == "serving" then
    ON_RELOAD[what](self, text)
  end
end

local function on_ready(self)
  self.trouble = nil
  if self.stage == "serving" then
    return log("info", "ready again")
  elseif self.stage ~= "connecting" then
    return
  end
  self.stage = "serving"
  self.startup:close()
  local plan = self.plan
  local each = plan.concurrency > 1
    and (" of %d tasks"):format(plan.concurrency) or ""
  log("info", "ready: %s%s, %s %s, %s",
    counted(plan.processes, "process", "processes"), each,
    #self.queues == 1 and "queue" or "queues",
    table.concat(self.queues, ", "), self.shown_broker)
  if self.is_reload_due then
    reload(self)
  end
end

local function on_recovered(self)
  self.trouble = nil
  if self.stage ~= "connecting" then
    log("info", "%s can be reached again", self.shown_broker)
  end
end

local function on_trouble(self, code, why, is_fatal)
  local text = errors.sentence(why)
  if code == "EREPLY" then
    text = ("%s: %s"):format(self.shown_broker, text)
  end
  if self.stage == "loading" then
    return fail(self, exit.USAGE, ("%s: the process that loads it %s"):format(
      table.concat(self.plan.children.files, ", "), text))
  elseif self.stage == "connecting" and is_fatal then
    return fail(self, exit.UNREACHABLE, text)
  elseif text ~= self.trouble then
    -- Each attempt fails; one line for a reason will do.
    self.trouble = text
    log("warn", "%s; trying again", text)
  end
end

local function stop(self, is_cold)
  is_cold = is_cold or self.stage == "stopping"
  self.stage = "stopping"
  local count = self.worker:in_hand()
  if is_cold then
    log("info", "stopping now")
  elseif count == 0 then
    log("info", "stopping")
  else
    log("info", "stopping: waiting up to %.14g s for %s; again to stop now",
      self.settings.grace, counted(count, "task", "tasks"))
  end
  self.worker:stop(is_cold)
end

local function has_terminal()
  local terminal <close> = io.open("/dev/tty", "r")
  return terminal ~= nil
end

local function watch_signals(self)
  local parent = self.plan.parent
  local function on_stop_signal()
    -- A parent that was killed wants nothing more.
    stop(self, parent and not core.sys.end_with_parent(parent))
  end
  for _, signal in ipairs { "TERM", "INT" } do
    core.loop.signal(signal, on_stop_signal)
  end
  local had_terminal = has_terminal()
  core.loop.signal("HUP", function()
    -- A terminal that was closed sends it, too.
    if parent or had_terminal and not has_terminal() then
      on_stop_signal()
    else
      reload(self)
    end
  end)
  core.loop.signal("QUIT", function()
    stop(self, true)
  end)
end

-- Its claims are what lets a successor take over at once.
local function what_becomes_of_it(self, untold)
  local they = untold == 1 and "it comes" or "they come"
  if self.plan.claims_dir then
    return they .. " back when this worker starts again, or when its lease ends"
  end
  return they .. " back when its lease ends"
end

local function on_stopped(self, is_told, untold, outcomes)
  self.is_over = true
  if is_told then
    return
  elseif untold == 0 then
    return log("warn", "Redis could not be told that this worker has stopped:"
      .. " it is shown until its lease ends")
  end
  self.code = self.code or exit.UNREACHABLE
  log("warn", "Redis could not be told of %s, %d of which ended: %s",
    counted(untold, "task", "tasks"), outcomes,
    what_becomes_of_it(self, untold))
end

local function handlers(self)
  return {
    on_hello = function(bytes)
      on_hello(self, bytes)
    end,
    on_ready = function()
      on_ready(self)
    end,
    on_trouble = function(...)
      on_trouble(self, ...)
    end,
    on_recovered = function()
      on_recovered(self)
    end,
    on_reload = function(...)
      on_reload(self, ...)
    end,
    on_stopped = function(...)
      on_stopped(self, ...)
    end,
  }
end

local function new_worker(self)
  local plan = self.plan
  local options = {
    program = "/proc/self/exe", -- stays the same when the file is replaced
    processes = plan.processes,
    concurrency = plan.concurrency,
    claims_dir = plan.claims_dir,
    config = assert(core.codec.encode(plan.children)),
    task_level = plan.task_level,
  }
  return core.worker.new(options, handlers(self))
end

--- Runs a worker until it is stopped.
-- @tparam table plan
-- @tparam string plan.name
-- @tparam int plan.processes
-- @tparam int plan.concurrency
-- @tparam ?{string,...} plan.queues
-- @tparam ?string plan.broker where it is named outside of the files
-- @tparam ?string plan.claims_dir
-- @tparam ?int plan.parent the process without which it is of no use
-- @tparam string plan.task_level what tasks say is logged from that level on
-- @tparam table plan.children what they are asked to load, see
-- @{taskengine.child}
-- @treturn int the exit code
function master.run(plan)
  local self = setmetatable({ plan = plan, stage = "loading" }, Master)
  local why
  self.worker, why = new_worker(self)
  if not self.worker then
    exit.raise(exit.FAILED, "the worker cannot start: " .. errors.sentence(why))
  end
  watch_signals(self)
  local started, problem = self.worker:start()
  if not started then
    fail(self, exit.FAILED, "no process can be started: "
      .. errors.sentence(problem))
  end
  while not self.is_over do
    core.loop.run("once")
  end
  return self.code or exit.OK
end

return master
