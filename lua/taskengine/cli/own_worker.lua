--- The worker of `taskengine run`: a process of its own.
-- @module taskengine.cli.own_worker

local core = require("taskengine.core")
local errors = require("taskengine.errors")
local places = require("taskengine.cli.places")

local own_worker = {}

--- The worker of a script.
-- @type OwnWorker
-- @tfield boolean has_ended
local OwnWorker = {}
OwnWorker.__index = OwnWorker

local function command(opts)
  local words = {
    places.program(), "worker", opts.file,
    "--parent", tostring(core.sys.pid()), "--level", opts.level,
    opts.is_beside_bar and "--beside-bar" or nil,
  }
  for _, name in ipairs {
    "task_level", "processes", "concurrency", "config",
    "log_format",
  } do
    if opts[name] then
      words[#words + 1] = "--" .. name:gsub("_", "-")
      words[#words + 1] = tostring(opts[name])
    end
  end
  return words
end

--- Starts it, in a session of its own: what a terminal's Ctrl-C means for it
-- is decided here.
-- @tparam table opts
-- @tparam string opts.file
-- @tparam string opts.broker goes along where no other user can see it
-- @tparam string opts.level of its log
-- @tparam string opts.task_level of what tasks say there
-- @tparam boolean opts.is_beside_bar whether that goes where a bar is shown
-- @tparam ?int opts.processes
-- @tparam ?int opts.concurrency
-- @tparam ?string opts.config
-- @tparam ?string opts.log_format
-- @tparam function opts.on_end called when it has ended by itself: exit code
-- and signal
-- @treturn[1] OwnWorker
-- @return[2] nil
-- @treturn[2] string message
function own_worker.start(opts)
  local self = setmetatable({ has_ended = false }, OwnWorker)
  local process, why = core.sys.spawn(command(opts), {
    stdio = { [0] = "null" },
    env = { TASKENGINE_BROKER = opts.broker },
    detached = true,
    on_exit = function(code, signal)
      self.has_ended = true
      if not self.is_stopping then
        opts.on_end(code, signal)
      end
    end,
  })
  if not process then
    return nil, errors.sentence(why)
  end
  self.process = process
  return self
end

--- Asks it to stop: what runs may end.
function OwnWorker:stop()
  self.is_stopping = true
  if not self.has_ended then
    self.process:kill("TERM")
  end
end

--- Waits until it has ended.
function OwnWorker:wait()
  while not self.has_ended do
    core.loop.run("once")
  end
end

return own_worker
