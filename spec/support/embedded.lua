--- A home of its own for each spec of the embedded Redis.
--
-- A home is a temporary folder with a state and a runtime folder in it, which
-- this process and all it starts take for theirs. Closing it waits until
-- every supervisor and server of it is gone, and fails when one stays.
-- @module spec.support.embedded

local core = require("taskengine.core")
local files = require("spec.support.files")
local processes = require("spec.support.processes")
local wait_until = require("spec.support.wait").wait_until
local sys = core.sys

local embedded = {}
local Home = {}
Home.__index = Home

local LIMIT_S <const> = 20
local USER <const> = "spec/support/embedded_user.lua"

local function run(...)
  local cli <close> = assert(io.popen(
    table.concat({ ... }, " ") .. " 2>&1"))
  return (cli:read("a"):gsub("\n$", ""))
end

embedded.run = run

--- Makes a home and moves in.
-- @tparam[opt=0] number linger seconds that a server stays without a user
-- @treturn Home
function embedded.home(linger)
  local path = run("mktemp -d /tmp/te-home.XXXXXX")
  local home = setmetatable({
    path = path,
    state = path .. "/state/taskengine",
    runtime = path .. "/run/taskengine",
    saved = {},
    handles = {},
    users = {},
    pids = {},
  }, Home)
  assert(sys.mkdir_p(path .. "/run", 448))
  home:setenv("XDG_STATE_HOME", path .. "/state")
  home:setenv("XDG_RUNTIME_DIR", path .. "/run")
  home:setenv("TASKENGINE_EMBEDDED_LINGER", tostring(linger or 0))
  home:setenv("TASKENGINE_PROGRAM", "") -- the supervisor is this very code
  return home
end

--- Sets a variable until the home is closed.
-- @tparam string name
-- @tparam ?string value
function Home:setenv(name, value)
  if self.saved[name] == nil then
    self.saved[name] = sys.getenv(name) or false
  end
  assert(sys.setenv(name, value))
end

--- Writes a file below the home.
-- @tparam string name
-- @tparam string text
-- @treturn string its path
function Home:write(name, text)
  local path = self.path .. "/" .. name
  files.write(path, text)
  return path
end

--- A handle in this process; closed with the home.
-- @tparam[opt="spec"] string name
function Home:open(name)
  local handle = core.embedded.new(name or "spec")
  self.handles[#self.handles + 1] = handle
  return handle
end

--- Calls ensure and waits for the answer.
-- @param handle
-- @tparam[opt=20000] int timeout_ms
-- @treturn table what the function was called with, with `n`
function Home:ensure(handle, timeout_ms)
  local answer
  handle:ensure(timeout_ms or LIMIT_S * 1000, function(...)
    assert(not answer, "answered twice")
    answer = table.pack(...)
  end)
  assert(not answer, "answered before ensure returned")
  wait_until(function()
    return answer
  end, LIMIT_S + 1, "an answer")
  if answer[1] then
    self:note_pids()
  end
  return answer
end

--- A handle whose server answers.
-- @tparam[opt="spec"] string name
function Home:ready(name)
  local handle = self:open(name)
  local answer = self:ensure(handle)
  assert(answer[1] == true, answer[2])
  return handle
end

local function number_in(path, pattern)
  return tonumber((files.read(path) or ""):match(pattern))
end

--- The process ids of supervisor and server, as they noted them.
-- @tparam[opt="spec"] string name
-- @treturn ?int supervisor
-- @treturn ?int server
function Home:note_pids(name)
  local folder = self.state .. "/" .. (name or "spec")
  local supervisor =
    number_in(folder .. "/supervisor.lock", "^[^\n]+\n(%d+)\n")
  local server = number_in(folder .. "/redis.lock", "^(%d+)\n")
  if supervisor then
    self.pids[supervisor] = true
  end
  if server then
    self.pids[server] = true
  end
  return supervisor, server
end

--- Waits until the supervisor and the server, as of now, are gone.
-- @tparam[opt="spec"] string name
function Home:wait_for_end(name)
  local supervisor, server = self:note_pids(name)
  wait_until(function()
    return not processes.is_alive(supervisor)
  end, LIMIT_S, "the end of the supervisor")
  wait_until(function()
    return not processes.is_alive(server)
  end, LIMIT_S, "the end of the server")
end

--- Asks a server something.
-- @tparam string socket
-- @tparam string command e.g. `"GET key"`
-- @treturn string the answer as redis-cli prints it
function Home.ask(_, socket, command)
  return run(("redis-cli -s '%s'"):format(socket), command)
end

--- Starts a user in a process of its own.
-- @tparam string name of the instance
-- @tparam string mode see embedded_user.lua
-- @tparam[opt] string under what to put before the interpreter
-- @treturn table with `pid`, `lines()`, `kill()`, `has_ended()`
function Home:user(name, mode, under)
  local out = ("%s/user-%d"):format(self.path, #self.users + 1)
  local ended = false
  local command = ("exec %s lua5.4 %s %s %s >%s 2>&1"):format(
    under or "", USER, name, mode, out)
  local process = assert(sys.spawn({ "sh", "-c", command }, {
    on_exit = function()
      ended = true
    end,
  }))
  local user = { pid = process:pid() }
  function user.lines()
    local lines = {}
    for line in (files.read(out) or ""):gmatch("([^\n]*)\n") do
      lines[#lines + 1] = line
    end
    return lines
  end
  function user.kill()
    process:kill("KILL")
  end
  function user.has_ended()
    return ended
  end
  self.users[#self.users + 1] = user
  return user
end

--- Waits until a user has said something.
-- @tparam table user
-- @tparam string pattern of the line
-- @treturn string what the pattern captures
function Home:heard(user, pattern)
  return wait_until(function()
    for _, line in ipairs(user.lines()) do
      local got = line:match(pattern)
      if got then
        self:note_pids()
        return got
      end
    end
  end, LIMIT_S, "a user's line " .. pattern)
end

local function is_free(lock)
  return os.execute(
    ("[ ! -e '%s' ] || flock -n '%s' true"):format(lock, lock))
end

--- Ends all that the spec has started and moves out.
function Home:close()
  for _, handle in ipairs(self.handles) do
    handle:close()
  end
  for _, user in ipairs(self.users) do
    user.kill()
  end
  wait_until(function()
    for _, user in ipairs(self.users) do
      if not user.has_ended() then
        return false
      end
    end
    return true
  end, LIMIT_S, "the end of the users")
  for pid in pairs(self.pids) do
    wait_until(function()
      return not processes.is_alive(pid)
    end, LIMIT_S, "the end of process " .. pid)
  end
  local locks = run("find", self.path, "-name '*.lock'")
  for lock in locks:gmatch("[^\n]+") do
    wait_until(function()
      return is_free(lock)
    end, LIMIT_S, "the release of " .. lock)
  end
  for name, value in pairs(self.saved) do
    sys.setenv(name, value or nil)
  end
  os.execute(("rm -rf '%s'"):format(self.path))
end

return embedded
