--- A real worker, of the program that was built for these specs.
--
--     local worker <close> = worker.start { file = "tasks.lua", url = url }
-- @module spec.support.worker

local core = require("taskengine.core")
local wait_until = require("spec.support.wait").wait_until

local worker = {}

local LIMIT_S <const> = 30

--- A worker's process.
-- @type Worker
local Worker = {}
Worker.__index = Worker

--- The path of the program.
-- @treturn string
function worker.program()
  local build = os.getenv("TE_BUILD") or "build/test"
  return assert(core.sys.realpath(build .. "/taskengine"))
end

--- Starts a worker and waits until it serves.
-- @tparam table opts
-- @tparam string opts.dir its working folder; its log goes there
-- @tparam string opts.file
-- @tparam string opts.url of the broker
-- @tparam[opt] {string,...} opts.args further arguments
-- @treturn Worker
function worker.start(opts)
  local self = setmetatable({ log_path = opts.dir .. "/worker.log" }, Worker)
  local command = { "sh", "-c", 'exec "$0" "$@" 2>worker.log',
    worker.program(), "worker", opts.file, "-b", opts.url }
  table.move(opts.args or {}, 1, #(opts.args or {}), #command + 1, command)
  self.process = assert(core.sys.spawn(command, {
    cwd = opts.dir,
    on_exit = function(code, signal)
      self.code = signal > 0 and 128 + signal or code
    end,
  }))
  wait_until(function()
    return self.code or self:log():find(" ready: ", 1, true)
  end, LIMIT_S, "a worker that is ready")
  if self.code then
    error("the worker ended: " .. self:log(), 2)
  end
  return self
end

--- What it has logged.
-- @treturn string
function Worker:log()
  local file <close> = io.open(self.log_path, "rb")
  return file and file:read("a") or ""
end

--- Stops it and waits for its end.
function Worker:stop()
  if not self.code then
    self.process:kill("TERM")
    wait_until(function()
      return self.code
    end, LIMIT_S, "the end of a worker")
  end
end

Worker.__close = Worker.stop

return worker
