--- What a doctor looks at on this machine: programs and libraries, limits,
-- folders, and what interrupted runs have left in them.
-- @module taskengine.cli.doctor_host

local core = require("taskengine.core")
local places = require("taskengine.cli.places")
local runtime_folder = require("taskengine.cli.runtime_folder")
local version = require("taskengine.version")

local doctor_host = {}

local FILES_MIN <const> = 1024
local OWNER_MAY_WRITE <const> = 128 -- 0200
local OTHERS_MAY_WRITE <const> = 18 -- 0022
local LEFT_MAX <const>, LEFT_BYTES_MAX <const> = 100, 256 * 1024 * 1024

local function read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read("a")
end

-- Where a program is, as a shell would find it.
local function find_program(name)
  for folder in (core.sys.getenv("PATH") or ""):gmatch("[^:]+") do
    local path = folder .. "/" .. name
    local stat = core.sys.stat(path)
    if stat and stat.type == "file" and stat.mode & 73 ~= 0 then -- 0111
      return path
    end
  end
end

local function check_module(list)
  local found = places.find()
  if not found then
    list:warn("module", "the module for plain Lua that belongs to this program"
      .. " is not where it is expected", "make install puts both in place")
    return
  end
  local chunk = loadfile(found.lua .. "/taskengine/version.lua", "t")
  local ok, installed = pcall(chunk or error)
  local text = ok and type(installed) == "table" and installed.TEXT
  if text == version.TEXT then
    list:ok("module", ("the module for plain Lua is %s, too"):format(text))
  else
    list:fail("module", ("the module in %s is %s, this program is %s"):format(
      found.lua, text or "damaged", version.TEXT),
      "install both together: make install")
  end
end

local function check_programs(list, needs_server)
  local server = find_program("redis-server")
  if server then
    list:ok("redis-server", server .. ", for embedded://")
  else
    list[needs_server and "fail" or "ok"](list, "redis-server",
      "it is not installed, embedded:// needs it",
      "apt-get install redis-server; or -b URL names a Redis that runs")
  end
  local primes = places.modules() .. "/native/primes.so"
  list:ok("primes", core.sys.stat(primes) and primes
    or "the C module of recipes/primes.lua is not there; --pure does without")
  local luv = package.searchpath("luv", package.cpath)
  list:ok("luv", luv or "not installed; only tasks that ask for it need it"
    .. " (lua-luv)")
end

local function check_limits(list)
  local limits = read("/proc/self/limits") or ""
  local soft = limits:match("Max open files%s+(%S+)")
  local count = tonumber(soft)
  if count and count < FILES_MIN then
    list:warn("files", ("a process may have %d files open"):format(count),
      ("ulimit -n %d: workers with many children need more"):format(FILES_MIN))
  else
    list:ok("files", ("a process may have %s files open"):format(
      soft or "some number of"))
  end
end

-- Redis forks to save its data, which needs no memory and is refused for want
-- of it all the same.
local function check_overcommit(list)
  local value = tonumber(read("/proc/sys/vm/overcommit_memory") or "")
  if value == 0 then
    list:warn("overcommit", "this system may refuse a Redis that it runs to"
      .. " save its data when memory is scarce", "as root: sysctl"
      .. " vm.overcommit_memory=1")
  elseif value then
    list:ok("overcommit", ("vm.overcommit_memory is %d"):format(value))
  end
end

local function above(path)
  return path:match("^(.*)/[^/]+$")
end

-- What keeps a folder from being made, as far as modes tell; nil when nothing.
local function obstacle(path)
  local stat
  repeat
    path = above(path)
    stat = core.sys.stat(path ~= "" and path or "/")
  until stat or path == ""
  local uid = core.sys.euid()
  if not stat or stat.type ~= "directory" then
    return path .. " is no folder"
  elseif uid ~= 0 and stat.mode & (uid == stat.uid and OWNER_MAY_WRITE
    or OTHERS_MAY_WRITE) == 0 then
    return "this user may not write to " .. path
  end
end

local function check_place(list, name, path, what)
  local why = obstacle(path)
  if why then
    list:fail(name, ("%s: %s cannot be made: %s"):format(what, path, why),
      "set XDG_RUNTIME_DIR and XDG_STATE_HOME to folders of your own")
  else
    list:ok(name, ("%s: %s; it is made when it is needed"):format(what, path))
  end
end

local function check_folder(list, name, path, what)
  local stat = core.sys.stat(path)
  if not stat then
    check_place(list, name, path, what)
  elseif stat.type ~= "directory" then
    list:fail(name, ("%s: %s is no folder"):format(what, path),
      "remove it, or move it away")
  elseif stat.uid ~= core.sys.euid() then
    list:fail(name, ("%s: %s belongs to another user"):format(what, path),
      "chown it, or set XDG_RUNTIME_DIR and XDG_STATE_HOME")
  elseif stat.mode & OTHERS_MAY_WRITE ~= 0 then
    list:fail(name, ("%s: others may write to %s (mode %04o)"):format(what,
      path, stat.mode), "chmod 700 " .. path)
  else
    list:ok(name, ("%s: %s, mode %04o"):format(what, path, stat.mode))
  end
end

-- The sum of the files below a folder.
local function size_of(path)
  local stat, size = core.sys.stat(path), 0
  if not stat or stat.type ~= "directory" then
    return stat and stat.size or 0
  end
  for _, name in ipairs(core.sys.list(path) or {}) do
    size = size + size_of(path .. "/" .. name)
  end
  return size
end

-- Private folders of scripts that were run with no broker of their own, and
-- that nobody uses now.
local function check_leftovers(list, state)
  local count, size = 0, 0
  for _, name in ipairs(core.sys.list(state) or {}) do
    local _, socket = core.embedded.paths(name)
    if name:find("^run%-") and not core.sys.stat(socket) then
      count, size = count + 1, size + size_of(state .. "/" .. name)
    end
  end
  if count == 0 then
    return
  end
  local text = ("%d %s of scripts that were run lie in %s, %.1f MiB with"
    .. " their tasks and results"):format(count,
    count == 1 and "private folder" or "private folders", state,
    size / 1024 / 1024)
  local advice = ("to remove them all while none of them runs: rm -r %s/run-*")
    :format(state)
  if count > LEFT_MAX or size > LEFT_BYTES_MAX then
    list:warn("leftovers", text, advice)
  else
    list:ok("leftovers", text .. "; " .. advice)
  end
end

-- Claims are locked as long as their worker lives.
local function count_dead_claims(folder)
  local locks, dead = read("/proc/locks") or "", 0
  for _, name in ipairs(core.sys.list(folder) or {}) do
    local stat = core.sys.stat(folder .. "/" .. name)
    if stat and name:find("%.claims$")
      and not locks:find((":%d "):format(stat.inode), 1, true) then
      dead = dead + 1
    end
  end
  return dead
end

local function check_claims(list, folder)
  local dead = count_dead_claims(folder)
  if dead > 0 then
    list:warn("claims", ("%d %s left word in %s and no successor has taken it"
      .. " over"):format(dead, dead == 1 and "worker that was killed has"
      or "workers that were killed have", folder),
      "start a worker for the same Redis and namespace; what they had comes"
      .. " back when their lease ends in any case")
  end
end

--- Looks at this machine.
-- @tparam Findings list
-- @tparam boolean needs_server whether the broker is an embedded Redis
-- @tparam boolean has_redis whether the broker runs on this machine
function doctor_host.check(list, needs_server, has_redis)
  list:ok("program", ("taskengine %s, %s"):format(version.TEXT,
    places.program()))
  check_module(list)
  check_programs(list, needs_server)
  check_limits(list)
  if has_redis then
    check_overcommit(list)
  end
  local workers, why = runtime_folder.path()
  if workers then
    check_folder(list, "runtime", workers, "where workers leave word")
    check_claims(list, workers)
  else
    list:warn("runtime", why .. ": a worker that is killed leaves no word to"
      .. " its successor", "set HOME, or XDG_RUNTIME_DIR")
  end
  local data, problem = core.embedded.paths("default")
  if data then
    check_folder(list, "state", above(data), "data of embedded Redis")
    check_leftovers(list, above(data))
  else
    list:warn("state", "an embedded Redis has no place: " .. problem)
  end
end

return doctor_host
