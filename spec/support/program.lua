--- Runs the program that was built, as a user does.
--
--     local place = program.for_each_spec { files = { ["tasks.lua"] = "..." } }
--     it("adds", function()
--       local worker = place:worker { "tasks.lua" }
--       local ended = place:run { "call", "addition", "[4, 6]", "--wait" }
--       assert.same({ 0, "10\n" }, { ended.code, ended.stdout })
--     end)
--
-- A place is a folder with files, in which the program runs, and a home of its
-- own for the embedded Redis. Closing it ends all that was started there.
-- @module spec.support.program

local busted = require("busted")
local core = require("taskengine.core")
local files = require("spec.support.files")
local processes = require("spec.support.processes")
local support = require("spec.support.embedded")
local wait_until = require("spec.support.wait").wait_until

local program = {}

local LIMIT_S <const> = 30
local BUILD <const> = os.getenv("TE_BUILD") or "build/test"

--- The program's path.
program.PATH = assert(core.sys.realpath(BUILD .. "/taskengine"))

--- A program that was started.
-- @type Process
-- @tfield int pid
local Process = {}
Process.__index = Process

--- What it has written to stdout so far.
-- @treturn string
function Process:stdout()
  return files.read(self.path .. ".out") or ""
end

--- What it has written to stderr so far.
-- @treturn string
function Process:stderr()
  return files.read(self.path .. ".err") or ""
end

--- Sends a signal.
-- @tparam string name e.g. `"TERM"`
function Process:kill(name)
  if not self.ended then
    self.handle:kill(name)
  end
end

-- Those above come first, or they would replace those below.
local function family(pid, list)
  list[#list + 1] = pid
  for _, child in ipairs(processes.children(pid)) do
    family(child, list)
  end
  return list
end

--- Kills it and all processes below it at once, and waits until they are gone.
function Process:kill_all()
  local list = family(self.pid, {})
  os.execute("kill -KILL " .. table.concat(list, " "))
  self:wait()
  for _, pid in ipairs(list) do
    wait_until(function()
      return not processes.is_alive(pid)
    end)
  end
end

--- Waits until it has ended.
-- @tparam[opt=30] number limit_s it is killed then, and the spec fails
-- @treturn table `code`, `signal`, `stdout`, `stderr`, `seconds`
function Process:wait(limit_s)
  local ok, why = pcall(wait_until, function()
    return self.ended
  end, limit_s or LIMIT_S, self.what)
  if not ok then
    self:kill("KILL")
    error(("%s\nstdout: %s\nstderr: %s"):format(why, self:stdout(),
      self:stderr()), 2)
  end
  self.ended.stdout, self.ended.stderr = self:stdout(), self:stderr()
  return self.ended
end

--- Waits until it has written a text.
-- @tparam string what `"stdout"` or `"stderr"`
-- @tparam string pattern
-- @treturn string what the pattern captures
function Process:heard(what, pattern)
  local ok, found = pcall(wait_until, function()
    return self[what](self):match(pattern)
      or self.ended and error("it has ended")
  end, LIMIT_S, pattern)
  if not ok then
    error(("%s: no '%s' on %s: %s\nstdout: %s\nstderr: %s"):format(self.what,
      pattern, what, tostring(found), self:stdout(), self:stderr()), 2)
  end
  return found
end

--- A folder in which the program runs.
-- @type Place
-- @tfield string dir
local Place = {}
Place.__index = Place

local function open(self, broker)
  self.home = support.home()
  self.home:setenv("TASKENGINE_PROGRAM", nil) -- the supervisor is the program
  self.dir = self.home.path .. "/files"
  self.started = {}
  self.env = { TASKENGINE_BROKER = broker or false }
  assert(core.sys.mkdir_p(self.dir))
end

--- Makes a place.
-- @tparam[opt] table opts
-- @tparam[opt] string opts.broker for all that runs there
-- @treturn Place
function program.place(opts)
  local self = setmetatable({}, Place)
  open(self, opts and opts.broker)
  return self
end

--- Makes a place before each spec of a block and closes it behind it.
-- @tparam[opt] table opts
-- @tparam[opt] Server opts.server the broker, which is emptied for each
-- @tparam[opt] {[string]=string,...} opts.files what is written there, by name
-- @treturn Place of the spec that runs
function program.for_each_spec(opts)
  opts = opts or {}
  local self = setmetatable({}, Place)
  busted.before_each(function()
    if opts.server then
      opts.server:cli("FLUSHALL")
    end
    open(self, opts.server and opts.server.url)
    for name, text in pairs(opts.files or {}) do
      self:write(name, text)
    end
  end)
  busted.after_each(function()
    self:close()
  end)
  return self
end

--- Writes a file.
-- @tparam string name
-- @tparam string text
-- @treturn string its path
function Place:write(name, text)
  local folder = name:match("^(.*)/")
  if folder then
    assert(core.sys.mkdir_p(self.dir .. "/" .. folder))
  end
  return self.home:write("files/" .. name, text)
end

local REDIRECT <const> = 'exec "$@" <"$TE_IN" >"$TE_OUT" 2>"$TE_ERR"'

--- Starts a command.
-- @tparam {string,...} words
-- @tparam[opt] table opts
-- @tparam[opt] table opts.env variables to set; false takes one away
-- @tparam[opt] string opts.program another program
-- @treturn Process
function Place:start(words, opts)
  opts = opts or {}
  local path = ("%s/process-%d"):format(self.home.path, #self.started + 1)
  local env = {
    TE_IN = "/dev/null", TE_OUT = path .. ".out", TE_ERR = path .. ".err",
  }
  for name, value in pairs(self.env) do
    env[name] = value
  end
  for name, value in pairs(opts.env or {}) do
    env[name] = value
  end
  local args = table.move(words, 1, #words, 6, {
    "sh", "-c", REDIRECT, "sh", opts.program or program.PATH,
  })
  local began = core.sys.monotonic()
  local self_ = setmetatable({
    path = path,
    what = table.concat(words, " "),
  }, Process)
  self_.handle = assert(core.sys.spawn(args, {
    cwd = self.dir,
    env = env,
    on_exit = function(code, signal)
      self_.ended = {
        code = code,
        signal = signal,
        seconds = core.sys.monotonic() - began,
      }
    end,
  }))
  self_.pid = self_.handle:pid()
  self.started[#self.started + 1] = self_
  return self_
end

--- Runs a command to its end.
-- @tparam {string,...} words
-- @tparam[opt] table opts as for @{Place:start}; besides `limit`, in seconds
-- @treturn table as for @{Process:wait}
function Place:run(words, opts)
  return self:start(words, opts):wait(opts and opts.limit)
end

--- Starts a worker and waits until it is ready.
-- @tparam {string,...} words behind `worker`
-- @tparam[opt] table opts as for @{Place:start}
-- @treturn Process
function Place:worker(words, opts)
  local process = self:start({ "worker", table.unpack(words) }, opts)
  process:heard("stderr", "ready: ")
  return process
end

--- The processes whose parent is this one.
-- @tparam int pid
-- @treturn {int,...}
program.children = processes.children

--- Whether a process runs.
-- @tparam int pid
-- @treturn boolean
program.is_alive = processes.is_alive

--- Ends all that was started and removes the folder.
function Place:close()
  for _, process in ipairs(self.started) do
    process:kill("KILL")
  end
  for _, process in ipairs(self.started) do
    if not process.ended then
      process:wait()
    end
  end
  self.home:close()
end

Place.__close = Place.close

return program
