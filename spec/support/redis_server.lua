--- A real redis-server for specs: on a Unix socket in a folder of its own.
--
--     local redis_server = require("spec.support.redis_server")
--     local server <close> = redis_server.start { password = "pw" }
--     redis.connect(server.url)
--
--     local server = redis_server.for_all_specs() -- of a block
--
-- It is stopped, and its folder removed, by @{Server:stop}, when the handle is
-- closed or collected, and also when the spec's process dies: a shell stands
-- over the server and reads from a pipe that the process holds.
-- @module spec.support.redis_server

local busted = require("busted")
local files = require("spec.support.files")
local processes = require("spec.support.processes")
local wait_until = require("spec.support.wait").wait_until

local redis_server = {}

--- A server, with `socket`, `pid`, `dir`, `url` (over the socket), and with
-- the option `tcp` also `port` and `tcp_url`.
-- @type Server
local Server = {}
Server.__index = Server

-- $1: the folder. Ctrl-C in a terminal reaches the shell as well. A file that
-- must not grow is an error for the server, as it is on a full disk.
local KEEPER <const> = [[
trap '' INT TERM HUP XFSZ
redis-server "$1/redis.conf" >"$1/output" 2>&1 &
pid=$!
echo "$pid" >"$1/pid.new" && mv "$1/pid.new" "$1/pid"
word=
read -r word
kill -9 "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
[ "$word" = keep ] || rm -rf "$1"
]]

local PORT_MIN <const>, PORT_MAX <const> = 20000, 32000

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- What is in a file that may not be there yet.
local function read_file(path)
  return files.read(path) or ""
end

local function make_folder()
  local out <close> = io.popen('mktemp -d "${TMPDIR:-/tmp}/te-redis.XXXXXX"')
  return assert(out:read("l"), "no folder for a redis-server")
end

-- A zombie is gone too: the shell takes its status when it ends itself.
local function is_gone(pid)
  return not processes.is_alive(pid)
end

local function write_config(self)
  local lines = {
    "dir " .. self.dir,
    "unixsocket " .. self.socket,
    "unixsocketperm 700",
    "logfile " .. self.log,
    "bind 127.0.0.1",
    "port " .. (self.port or 0),
    'save ""',
  }
  if self.password then
    lines[#lines + 1] = "requirepass " .. self.password
  end
  table.move(self.config, 1, #self.config, #lines + 1, lines)
  files.write(self.dir .. "/redis.conf", table.concat(lines, "\n") .. "\n")
end

local function launch(self)
  os.remove(self.log)
  os.remove(self.dir .. "/pid")
  self.keeper = assert(io.popen(
    ("sh -c %s sh %s"):format(quote(KEEPER), quote(self.dir)), "w"))
  self.pid = nil
  wait_until(function()
    self.pid = self.pid or tonumber(read_file(self.dir .. "/pid"))
    return self.pid and (is_gone(self.pid)
      or read_file(self.log):find("eady to accept connections", 1, true))
  end, 20, "redis-server")
  return not is_gone(self.pid)
end

-- Closing the pipe waits for the shell, and that for the server.
local function stop_keeper(self, word)
  local keeper = self.keeper
  self.keeper = nil
  if keeper then
    keeper:write(word)
    keeper:close()
  end
end

local function start(self, opts)
  local dir = make_folder()
  self.dir, self.socket, self.log = dir, dir .. "/redis.sock", dir .. "/log"
  self.password, self.config = opts.password, opts.config or {}
  local login = opts.password and (":%s@"):format(opts.password) or ""
  self.url = ("redis+unix://%s%s"):format(login, self.socket)
  for _ = 1, 20 do
    if opts.tcp then
      self.port = math.random(PORT_MIN, PORT_MAX)
      self.tcp_url = ("redis://%s127.0.0.1:%d"):format(login, self.port)
    end
    write_config(self)
    if launch(self) then
      return
    end
    local log = read_file(self.log) .. read_file(dir .. "/output")
    local is_taken = opts.tcp and log:find("Address already in use", 1, true)
    stop_keeper(self, is_taken and "keep\n" or "remove\n")
    if not is_taken then
      error("redis-server did not start:\n" .. log, 3)
    end
  end
  error("no free port for a redis-server", 3)
end

--- Starts a server and waits until it answers.
-- @tparam[opt] table opts
-- @tparam[opt] {string,...} opts.config further lines of redis.conf
-- @tparam[opt] string opts.password `requirepass`
-- @tparam[opt] boolean opts.tcp listen on a free port of 127.0.0.1 as well
-- @treturn Server
function redis_server.start(opts)
  local self = setmetatable({}, Server)
  start(self, opts or {})
  return self
end

--- Starts a server before the first spec of a block and stops it behind the
-- last.
-- @tparam[opt] table opts as for @{redis_server.start}
-- @treturn Server
function redis_server.for_all_specs(opts)
  local self = setmetatable({}, Server)
  busted.setup(function()
    start(self, opts or {})
  end)
  busted.teardown(function()
    self:stop()
  end)
  return self
end

--- Runs one command through redis-cli.
-- @tparam string ... the command and its arguments
-- @treturn string what redis-cli printed
function Server:cli(...)
  local words = {}
  for i = 1, select("#", ...) do
    words[i] = '"' .. tostring(select(i, ...)):gsub(".", function(c)
      return ("\\x%02x"):format(c:byte())
    end) .. '"'
  end
  local out = self.dir .. "/cli"
  -- On standard input, where no other process sees a password.
  local cli = assert(io.popen(("redis-cli -s %s >%s 2>&1"):format(
    quote(self.socket), quote(out)), "w"))
  if self.password then
    cli:write("AUTH ", self.password, "\n")
  end
  cli:write(table.concat(words, " "), "\n")
  cli:close()
  local text = read_file(out)
  if self.password then
    text = text:gsub("^OK\n", "")
  end
  return (text:gsub("\n+$", ""))
end

--- Sends a signal; one that ends the server is waited for.
-- @tparam string signal "KILL", "TERM", "STOP", "CONT"
function Server:kill(signal)
  assert(os.execute(("kill -%s %d"):format(signal, self.pid)))
  if signal == "KILL" or signal == "TERM" then
    wait_until(function()
      return is_gone(self.pid)
    end, 20, "the end of redis-server")
  end
end

--- Starts it again, on the same socket, port and data; kills it before if it
-- still runs.
function Server:restart()
  stop_keeper(self, "keep\n")
  assert(launch(self), "redis-server did not start again")
end

--- Kills the server and removes its folder. Twice does nothing.
function Server:stop()
  stop_keeper(self, "remove\n")
end

Server.__gc = Server.stop
Server.__close = Server.stop

return redis_server
