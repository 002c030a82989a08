--- What a doctor looks at in how taskengine uses a Redis: may it, does the
-- function library fit, are workers and queues well. Nothing is changed there.
-- @module taskengine.cli.doctor_use

local library = require("taskengine.library")
local link = require("taskengine.cli.link")
local version = require("taskengine.version")

local doctor_use = {}

local SHOWN_MAX <const> = 5

-- What our functions and connections call, with arguments of their own: none
-- of it is carried out.
local KEYLESS <const> = {
  { "FUNCTION", "LOAD", "REPLACE", "x" }, { "CLIENT", "SETNAME", "x" },
  { "TIME" }, { "PING" },
}
local SUBCOMMANDS <const> = { FUNCTION = true, CLIENT = true }
local ON_KEY <const> = {
  { "DEL" }, { "EXISTS" }, { "GET" }, { "GETRANGE", "0", "1" }, { "HDEL", "f" },
  { "HEXISTS", "f" }, { "HGET", "f" }, { "HINCRBY", "f", "1" }, { "HKEYS" },
  { "HLEN" }, { "HMGET", "f" }, { "HRANDFIELD", "1" }, { "HSET", "f", "v" },
  { "HSETNX", "f", "v" }, { "HSTRLEN", "f" }, { "LINDEX", "0" }, { "LLEN" },
  { "LPOP", "1" }, { "LPUSH", "v" }, { "LRANGE", "0", "1" },
  { "LREM", "0", "v" }, { "LTRIM", "0", "1" }, { "PERSIST" },
  { "PEXPIRE", "1" }, { "PTTL" }, { "RPOP" }, { "RPUSH", "v" }, { "SADD", "m" },
  { "SCARD" }, { "SET", "v" }, { "SETRANGE", "0", "v" }, { "SISMEMBER", "m" },
  { "SMEMBERS" }, { "SPOP", "1" }, { "SRANDMEMBER", "1" }, { "SREM", "m" },
  { "STRLEN" }, { "TYPE" }, { "UNLINK" }, { "ZADD", "1", "m" }, { "ZCARD" },
  { "ZCOUNT", "0", "1" }, { "ZPOPMIN", "1" }, { "ZRANGE", "0", "1" },
  { "ZRANK", "m" }, { "ZREM", "m" }, { "ZSCORE", "m" },
}

--- The commands that have to be allowed, each with arguments.
-- @tparam string prefix of our keys
-- @treturn {table,...}
function doctor_use.commands(prefix)
  local list = { { "FCALL", library.PREFIX .. "build", "1", prefix },
    { "RENAME", prefix .. "x", prefix .. "y" },
    { "BLMPOP", "1", "1", prefix .. "x", "LEFT" },
    { "SET", "te:declare:" .. library.PREFIX .. "build", "1", "EX", "60" } }
  for _, command in ipairs(ON_KEY) do
    list[#list + 1] = { command[1], prefix .. "x",
      table.unpack(command, 2) }
  end
  return table.move(KEYLESS, 1, #KEYLESS, #list + 1, list)
end

-- What the user lacks: commands, and whether also keys; nil and why when it may
-- not even ask.
local function refused_commands(ask, user, prefix)
  local refused, seen, lacks_keys = {}, {}, false
  for _, command in ipairs(doctor_use.commands(prefix)) do
    local reply, problem = ask("ACL", "DRYRUN", user, table.unpack(command))
    if reply == nil then
      return nil, problem
    end
    local name = SUBCOMMANDS[command[1]] and command[1] .. "|" .. command[2]
      or command[1]
    if tostring(reply):find("permissions to access", 1, true) then
      lacks_keys = true
    elseif reply ~= "OK" and not seen[name] then
      seen[name] = true
      refused[#refused + 1] = name:lower()
    end
  end
  return refused, lacks_keys
end

local function fail_permissions(list, user, prefix, refused, lacks_keys)
  local order = ("as an administrator: ACL SETUSER %s ~te:*"):format(user)
  if lacks_keys then
    list:fail("permissions", ("the user %s may not read and write the keys %s*")
      :format(user, prefix), order)
  end
  if #refused > 0 then
    list:fail("permissions", ("the user %s may not call %s on the keys %s*")
      :format(user, table.concat(refused, ", "), prefix),
      order .. " +" .. table.concat(refused, " +"))
  end
end

local function check_permissions(list, ask, prefix)
  local user, refused, more
  user, more = ask("ACL", "WHOAMI")
  if user then
    refused, more = refused_commands(ask, user, prefix)
  end
  if not refused then
    list:ok("permissions", "what this user may do it may not ask ("
      .. tostring(more) .. "): the rest shows it")
  elseif #refused == 0 and not more then
    list:ok("permissions", ("the user %s may do all that is needed"):format(
      user))
  else
    fail_permissions(list, user, prefix, refused, more)
  end
end

-- Whether it is loaded, so that more can be asked.
local function check_library(list, ask, prefix)
  local build, problem = ask("FCALL", library.PREFIX .. "build", "1", prefix)
  local release = math.type(build) == "integer" and build >> 32
  if not release and tostring(problem):find("Function not found", 1, true) then
    list:ok("functions", "none of ours are loaded yet: the first worker or"
      .. " client loads them")
    return false
  elseif not release then
    list:fail("functions", "our functions cannot be called: "
      .. tostring(problem), "the user needs FCALL, and FUNCTION LOAD")
    return false
  elseif build == library.BUILD then
    list:ok("functions", ("loaded, release %d, as this program has them")
      :format(release))
  elseif release > library.RELEASE then
    list:warn("functions", ("release %d is loaded, by a newer taskengine; this"
      .. " one has %d"):format(release, library.RELEASE),
      "both work side by side; bring this one up to date")
  else
    list:ok("functions", ("release %d is loaded; the next worker or client of"
      .. " this program replaces it by its own, %d"):format(release,
      library.RELEASE))
  end
  return true
end

local function named(workers)
  local names = {}
  for i, worker in ipairs(workers) do
    if i > SHOWN_MAX then
      names[i] = ("and %d more"):format(#workers - SHOWN_MAX)
      break
    end
    names[i] = tostring(worker.about.name or worker.id)
  end
  return table.concat(names, ", ")
end

local function check_workers(list, status)
  local live, lost, others = {}, {}, {}
  for _, worker in ipairs(status.workers) do
    local into = worker.alive and live or lost
    into[#into + 1] = worker
    if worker.alive and worker.about.version ~= version.TEXT then
      others[#others + 1] = worker
    end
  end
  if #lost > 0 then
    list:warn("workers", ("lost and not yet taken over: %s"):format(
      named(lost)), "a live worker, or one that is started again, takes over"
      .. " what they had")
  end
  if #others > 0 then
    list:warn("workers", ("of another version than this program (%s): %s")
      :format(version.TEXT, named(others)), "restart them with this one")
  elseif #lost == 0 then
    list:ok("workers", #live == 0 and "none runs now"
      or ("%d run, of this version"):format(#live))
  end
end

local function check_queues(list, status)
  local unserved = {}
  for _, queue in ipairs(status.queues) do
    if queue.ready > 0 and queue.workers == 0 then
      unserved[#unserved + 1] = ("%s (%d)"):format(queue.name, queue.ready)
    end
  end
  if #unserved > 0 then
    list:warn("queues", "tasks wait where no worker serves: "
      .. table.concat(unserved, ", ", 1, math.min(#unserved, SHOWN_MAX)),
      "taskengine worker FILE -Q QUEUE serves a queue")
  else
    list:ok("queues", ("%d were ever used; none waits without a worker")
      :format(#status.queues))
  end
end

-- What is kept for a while for people to look at.
local function check_kept(list, status)
  if status.dead > 0 then
    list:warn("dead", status.dead == 1 and "1 task failed for good"
      or ("%d tasks failed for good"):format(status.dead),
      "taskengine dead shows them; they go by themselves after 7 days")
  end
  if status.malformed == 0 then
    return
  end
  local text = status.malformed == 1
    and "1 entry that is no task was set aside"
    or ("%d entries that are no tasks were set aside"):format(status.malformed)
  if status.malformed_dropped > 0 then
    text = ("%s; there was no room for %d more, the oldest"):format(text,
      status.malformed_dropped)
  end
  list:warn("malformed", text, "taskengine dead list --malformed shows them;"
    .. " they go by themselves after 7 days")
end

--- Looks at how a Redis is used.
-- @tparam Findings list
-- @tparam function ask as for @{taskengine.cli.doctor_redis}
-- @tparam string prefix of our keys
function doctor_use.check(list, ask, prefix)
  check_permissions(list, ask, prefix)
  if not check_library(list, ask, prefix) then
    return
  end
  local reply, problem = ask("FCALL", library.PREFIX .. "status", "1", prefix)
  if type(reply) ~= "table" then
    list:fail("workers", "they cannot be asked for: " .. tostring(problem))
    return
  end
  local status = link.read_status(reply)
  check_workers(list, status)
  check_queues(list, status)
  check_kept(list, status)
end

return doctor_use
