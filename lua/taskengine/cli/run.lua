--- `taskengine run FILE [ARGS]`: a script's main, with a worker of its own.
-- @module taskengine.cli.run

local broker = require("taskengine.broker")
local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local ending = require("taskengine.cli.ending")
local exit = require("taskengine.cli.exit")
local link = require("taskengine.cli.link")
local loader = require("taskengine.loader")
local mode = require("taskengine.mode")
local outlook = require("taskengine.cli.outlook")
local own_worker = require("taskengine.cli.own_worker")
local places = require("taskengine.cli.places")
local progress = require("taskengine.cli.progress")
local registry = require("taskengine.registry")
local revoke = require("taskengine.cli.revoke")
local say = require("taskengine.cli.say")
local scheduler = require("taskengine.scheduler")
local screen = require("taskengine.cli.screen")
local sent = require("taskengine.cli.sent")
local stdout = require("taskengine.cli.stdout")
local tally = require("taskengine.tally")

local run = {}

local TICK_MS <const> = 100
local SIGNAL_CODE <const> = 128
local SIGHUP <const> = 1

run.spec = {
  name = "run",
  usage = "run [OPTIONS] FILE [ARGS...]",
  about = "Runs the main of a script (app:main), and beside it a worker for"
    .. " the script's tasks, which ends with it. With no broker named they"
    .. " use a private Redis of the script's own. What tasks print comes on"
    .. " stderr, with the task's name; stdout is the script's own. The first"
    .. " Ctrl-C revokes what the script has sent, tasks and workflows, as far"
    .. " as it has not started; the second ends at once. Options of run come"
    .. " before FILE: all that comes after it belongs to the script.",
  operands = { "FILE", min = 1, max = math.huge },
  ends_options = true,
  options = {
    common.PROCESSES,
    common.CONCURRENCY,
    common.BROKER,
    common.CONFIG,
    {
      short = "q", long = "quiet",
      help = "show no progress, and of what tasks say only warnings and"
        .. " errors",
    },
    {
      long = "detach",
      help = "when interrupted, leave what has not started: the next run goes"
        .. " on with it",
    },
    common.LEVEL,
    common.LOG_FORMAT,
  },
  examples = {
    "taskengine run recipes/primes.lua 10000000",
    "taskengine run -P 4 -b redis://localhost:6379/0 script.lua",
    "taskengine run --quiet script.lua --its --own options >result.txt",
  },
}

--- A script that runs.
-- @type Run
local Run = {}
Run.__index = Run

--- Hears that tasks are sent to a queue, see @{taskengine.tally}.
-- @tparam Requests requests
-- @tparam string queue
function Run:queued(requests, queue)
  self.outlook:queued(requests, queue)
end

--- Hears that tasks were accepted, see @{taskengine.tally}.
-- @tparam Requests requests
-- @tparam string producer
-- @tparam int last
-- @tparam int count
function Run:accepted(requests, producer, last, count)
  self.sent:accepted(requests, producer, last, count)
end

--- Hears that a flow is about to be sent, see @{taskengine.tally}.
-- @tparam Requests requests
-- @tparam string producer
-- @tparam Plan made
function Run:flow_begins(requests, producer, made)
  self.sent:flow_begins(requests, producer, made)
end

--- Hears that a flow was accepted, see @{taskengine.tally}.
-- @tparam Requests requests
-- @tparam string producer
-- @tparam {[string]=boolean,...} queues
function Run:flow_accepted(requests, producer, queues)
  for queue in pairs(queues) do
    self.outlook:queued(requests, queue)
  end
  self.sent:flow_accepted(producer)
end

--- Hears that a task has ended, see @{taskengine.tally}.
-- @tparam string id
-- @tparam boolean is_success
-- @tparam boolean is_old
function Run:ended(id, is_success, is_old)
  self.sent:ended(id, is_success, is_old)
end

local function show_bar(self)
  self.screen = screen.guard(function()
    self.progress:clear()
  end, core.sys.isatty(1))
  self.progress = progress.new {
    now = core.sys.monotonic(),
    width = function()
      return core.sys.term_width(2) or 80
    end,
    write = self.screen.write,
  }
end

local function show_lines(self)
  self.progress = progress.new {
    now = core.sys.monotonic(),
    write = function(text)
      io.stderr:write(text)
    end,
  }
end

local function show_progress(self)
  if core.sys.isatty(2) then
    show_bar(self)
  else
    show_lines(self)
  end
  self.tick = core.loop.timer(TICK_MS, function()
    self.sent:look()
    if not (self.screen and self.screen.is_midline) then
      local count, ended = self.sent:counts()
      self.progress:update(core.sys.monotonic(), ended, count)
    end
  end, TICK_MS)
end

local function hide_progress(self)
  if self.progress then
    self.tick:close()
    self.progress:clear()
    self.progress = nil
  end
  if self.screen then
    self.screen.release()
    self.screen = nil
  end
end

-- What the apps of the file agree on.
local function settings_of_apps()
  local first
  for _, app in ipairs(registry.apps) do
    local settings = common.settings(app.own)
    first = first or settings
    if settings.broker ~= first.broker
      or settings.namespace ~= first.namespace then
      exit.usage("the apps of the script have two brokers or namespaces;"
        .. " its worker has one", "-b URL decides for all of them")
    end
  end
  return first or common.settings()
end

local function on_worker_end(self, code, signal)
  self.worker_code = code ~= 0 and code or exit.FAILED
  local text
  if signal ~= 0 then
    text = ("its worker was ended by signal %d"):format(signal)
  elseif code == 0 then
    text = "its worker was stopped"
  end -- otherwise it has said why itself
  scheduler.interrupt(exit.new(self.worker_code, text))
end

-- All tasks are defined now, and the script's main is about to begin.
local function start_worker(self)
  local given, tasks = self.given, registry.tasks() or {}
  self.outlook:defined(tasks)
  if self.worker or not next(tasks) then
    return
  end
  local problem
  local settings = settings_of_apps()
  self.settings, self.broker = settings, settings.broker or broker.DEFAULT
  link.check_place(self.broker, settings.broker_timeout * 1000)
  if not settings.broker then
    self.outlook:note_leftovers(settings) -- before the worker ends them
  end
  self.worker, problem = own_worker.start {
    file = given[1],
    broker = self.broker,
    level = given.level or "warn",
    task_level = given.level or (given.quiet and "warn" or "info"),
    is_beside_bar = self.screen ~= nil,
    processes = given.processes,
    concurrency = given.concurrency,
    config = given.config,
    log_format = given.log_format,
    on_end = function(code, signal)
      on_worker_end(self, code, signal)
    end,
  }
  if not self.worker then
    exit.raise(exit.FAILED, "its worker cannot start: " .. problem)
  end
end

-- Whatever happens, this comes last. A signal that comes meanwhile stops what
-- is waited for.
local function finish(self)
  hide_progress(self)
  self.is_finishing = true
  scheduler.interrupt(nil)
  if self.worker then
    local may_wait = not scheduler.current()
    self.worker:stop()
    if may_wait then
      ending.wait(self.worker, self.settings)
    end
    if not (self.signal and self.given.detach) then
      ending.note_left(self.settings, self.sent, may_wait)
    end
  end
end

-- The exit code after all is finished.
local function final_code(self, code)
  return stdout.conclude(self.late_code or code)
end

local function respect_os_exit(self)
  local exit_before = os.exit
  rawset(_G.os, "exit", function(code, ...)
    finish(self)
    code = (code == nil or code == true) and exit.OK or code
    exit_before(final_code(self, code), ...)
  end)
end

-- So that nohup has its effect.
local function ignores_hangup()
  local file <close> = io.open("/proc/self/status")
  local ignored = file and file:read("a"):match("SigIgn:%s*(%x+)")
  return ignored and tonumber(ignored, 16) & 1 ~= 0
end

local function on_signal(self, number)
  if self.signal and number == SIGHUP then
    return -- a terminal that closes may say so more than once
  elseif self.is_finishing then
    self.late_code = SIGNAL_CODE + number
    self.worker:stop()
  else
    self.signal = number
    scheduler.interrupt(exit.new(SIGNAL_CODE + number))
  end
end

-- The second Ctrl-C has its usual effect: the process ends, and its worker
-- hears of that from the system.
local function watch_signals(self)
  local numbers = { INT = 2, TERM = 15 }
  numbers.HUP = not ignores_hangup() and SIGHUP or nil
  for name, number in pairs(numbers) do
    core.loop.signal(name, function()
      on_signal(self, number)
    end, name ~= "HUP")
  end
end

local function revoke_the_rest(self)
  hide_progress(self)
  if self.sent:is_empty() then
    return say.note("interrupted")
  elseif self.given.detach then
    return say.note("interrupted; what has not started stays in "
      .. core.url.masked(self.broker))
  end
  say.note("interrupted: revoking what has not started; again to end at once")
  local counts = revoke.all(self.sent:sources())
  say.note(("%d revoked, %d running"):format(counts.revoked, counts.running))
end

-- The exit code after the script has ended.
local function conclude(self, ok, problem, described)
  scheduler.interrupt(nil)
  local raised = described and described.value
  if self.signal then
    revoke_the_rest(self)
    return SIGNAL_CODE + self.signal
  elseif self.worker_code then
    hide_progress(self)
    if exit.is(raised) and raised.text then
      say.problem(raised.text)
    end
    return self.worker_code
  elseif exit.is(raised) then
    error(raised, 0)
  elseif not ok then
    hide_progress(self)
    say.problem(problem)
    return mode.has_run and exit.code_of_script(described) or exit.USAGE
  elseif not mode.has_run then
    exit.usage(self.given[1] .. ": it has no main",
      "what is to be done goes into app:main(function(args) ... end)")
  end
  return exit.OK
end

local function prepare(self)
  local given = self.given
  common.open_loop()
  common.check_file(given[1])
  common.apply_settings(given)
  common.settings()
  broker.DEFAULT = "embedded://run-"
    .. core.sys.digest(assert(core.sys.realpath(given[1])))
  mode.name, mode.args = "run", table.move(given, 2, #given, 1, {})
  function mode.before_main()
    start_worker(self)
  end
  tally.listener = self
  respect_os_exit(self)
  watch_signals(self)
  if not given.quiet and given.log_format ~= "json" then
    show_progress(self)
  end
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function run.run(given)
  local self = setmetatable({
    given = given,
    sent = sent.new(),
    outlook = outlook.new(),
  }, Run)
  prepare(self)
  loader.add_paths(given[1], places.modules())
  local results = table.pack(pcall(function()
    return conclude(self, loader.run(given[1], mode.args))
  end))
  finish(self)
  if not results[1] then
    error(results[2], 0)
  end
  return final_code(self, results[2])
end

return run
