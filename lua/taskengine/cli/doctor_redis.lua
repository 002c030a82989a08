--- What a doctor looks at in Redis: how it is set up, and what it would lose.
--
-- Nothing is changed there. `ask` is a function that sends a command and
-- returns its reply, or nil and the error.
-- @module taskengine.cli.doctor_redis

local core = require("taskengine.core")

local doctor_redis = {}

local ROUNDS <const> = 5
local SLOW_MS <const> = 5
local CLOCK_S_MAX <const> = 1
local FULL <const>, NEARLY_FULL <const> = 1.0, 0.8

-- INFO's lines as a table.
local function read_info(text)
  local info = {}
  for name, value in text:gmatch("([%w_]+):([^\r\n]*)") do
    info[name] = value
  end
  return info
end

local function size_text(bytes)
  local units, at = { "B", "KiB", "MiB", "GiB", "TiB" }, 1
  while bytes >= 1024 and at < #units do
    bytes, at = bytes / 1024, at + 1
  end
  return ("%.4g %s"):format(bytes, units[at])
end

local function check_version(list, info)
  local text = info.redis_version or "of no known version"
  local name = info.valkey_version and "Valkey" or "Redis"
  local shown = info.valkey_version or text
  local major = tonumber(text:match("^%d+")) or 0
  if major >= 7 then
    list:ok("version", ("%s %s"):format(name, shown))
  else
    list:fail("version", ("%s %s has no functions"):format(name, shown),
      "Redis 7.0 or newer is needed, or Valkey")
  end
end

local function check_role(list, info)
  if info.cluster_enabled == "1" then
    list:fail("role", "it is a node of a cluster, which taskengine cannot use",
      "name a Redis that stands alone")
  elseif info.role == "slave" then
    list:fail("role", ("it is a replica of %s:%s, and takes no writes"):format(
      info.master_host or "?", info.master_port or "?"), "name the primary")
  elseif info.loading == "1" then
    list:fail("role", "it is still loading its data", "wait until it has")
  else
    list:ok("role", "it takes writes")
  end
end

-- What append-only files and snapshots are worth: the level and a sentence.
local function aof_verdict(fsync)
  if fsync == "always" then
    return "ok", "every write is on disk before it is answered: a crash loses"
      .. " nothing"
  elseif fsync == "everysec" then
    return "ok", "the append-only file is synced every second: a crash of the"
      .. " machine loses the last second, a crash of Redis nothing"
  elseif fsync == "no" then
    return "warn", "the append-only file is synced when the system likes: a"
      .. " crash of the machine loses some 30 seconds, a crash of Redis"
      .. " nothing"
  end
  return "ok", "there is an append-only file; how often it is synced this user"
    .. " may not ask: at most some 30 seconds are lost"
end

local AOF_ADVICE <const> = "appendonly yes and appendfsync everysec in"
  .. " redis.conf make it the last second"

local function snapshot_verdict(info, save, now_s)
  if save == "" then
    return "warn", "nothing is written to disk: a restart of Redis loses all"
      .. " tasks and results", AOF_ADVICE
  end
  local age_s = now_s - (tonumber(info.rdb_last_save_time) or now_s)
  return "warn", ("there are snapshots only: a crash loses all since the last"
    .. " one, now %d changes in %.0f minutes"):format(
    tonumber(info.rdb_changes_since_last_save) or 0, age_s / 60), AOF_ADVICE
end

local function value_of(reply)
  return type(reply) == "table" and reply[2] or nil
end

local function check_persistence(list, info, ask, now_s)
  local level, text, advice
  if info.aof_enabled == "1" then
    level, text = aof_verdict(value_of(ask("CONFIG", "GET", "appendfsync")))
    advice = level == "warn" and AOF_ADVICE or nil
  else
    level, text, advice = snapshot_verdict(info,
      value_of(ask("CONFIG", "GET", "save")), now_s)
  end
  list[level](list, "persistence", text, advice)
  local is_broken = info.aof_enabled == "1" and info.aof_last_write_status
    == "err" or info.rdb_last_bgsave_status == "err"
  if is_broken then
    list:fail("disk", "the last time that Redis wrote its data to disk failed:"
      .. " it may refuse all writes", "its log says why; often the disk is"
      .. " full, or vm.overcommit_memory is 0")
  end
end

local function check_eviction(list, info)
  local policy = info.maxmemory_policy or "?"
  local is_limited = (tonumber(info.maxmemory) or 0) > 0
  if policy == "noeviction" then
    list:ok("eviction", "it throws nothing away when its memory is full")
  elseif is_limited then
    list:fail("eviction", ("when its memory is full it throws tasks away"
      .. " (maxmemory-policy %s)"):format(policy),
      "set maxmemory-policy to noeviction")
  else
    list:warn("eviction", ("it would throw tasks away (maxmemory-policy %s) as"
      .. " soon as it had a limit"):format(policy),
      "set maxmemory-policy to noeviction")
  end
end

local function check_memory(list, info)
  local used = tonumber(info.used_memory) or 0
  local max = tonumber(info.maxmemory) or 0
  local total = tonumber(info.total_system_memory) or 0
  if max == 0 then
    list:ok("memory", ("%s used of the %s that the machine has; no limit is"
      .. " set"):format(size_text(used), size_text(total)))
    return
  end
  local text = ("%s used of %s, %s are left"):format(size_text(used),
    size_text(max), size_text(math.max(max - used, 0)))
  if used / max >= FULL then
    list:fail("memory", text .. ": new tasks are refused",
      "raise maxmemory; let workers finish what waits, or purge it")
  elseif used / max >= NEARLY_FULL then
    list:warn("memory", text, "beyond it new tasks are refused: raise"
      .. " maxmemory, keep results for a shorter time (result_expires)")
  else
    list:ok("memory", text)
  end
end

-- The clock and the round trip, which have to be told apart.
local function check_time(list, ask)
  local times = {}
  local apart
  for i = 1, ROUNDS do
    local before = core.sys.monotonic()
    local reply = ask("TIME")
    times[i] = (core.sys.monotonic() - before) * 1000
    if type(reply) == "table" then
      local theirs = tonumber(reply[1]) + tonumber(reply[2]) / 1e6
      apart = core.sys.wall() - theirs - times[i] / 2000
    end
  end
  table.sort(times)
  local median = times[(ROUNDS + 1) // 2]
  local text = ("a round trip takes %.3g ms"):format(median)
  if median > SLOW_MS then
    list:warn("latency", text, "each task that is sent alone waits for one;"
      .. " enqueue_many sends many in one")
  else
    list:ok("latency", text)
  end
  if not apart then
    list:warn("clock", "the clock of Redis cannot be read (TIME)")
  elseif math.abs(apart) > CLOCK_S_MAX then
    list:warn("clock", ("the clock of this machine is %.1f s %s that of Redis,"
      .. " which decides when a task is due"):format(math.abs(apart),
      apart > 0 and "ahead of" or "behind"),
      "an eta is off by as much: let both machines keep time by NTP")
  else
    list:ok("clock", ("this machine and Redis are %.0f ms apart"):format(
      math.abs(apart) * 1000))
  end
end

--- Looks at a Redis.
-- @tparam Findings list
-- @tparam function ask
-- @tparam number now_s seconds since 1970
-- @treturn ?table what INFO says; nil when it may not be asked
function doctor_redis.check(list, ask, now_s)
  local text, problem = ask("INFO", "everything")
  if type(text) ~= "string" then
    list:warn("version", "this user may not ask Redis how it is set up: "
      .. tostring(problem), "ACL SETUSER ... +info lets it")
  end
  local info = type(text) == "string" and read_info(text) or nil
  if info then
    check_version(list, info)
    check_role(list, info)
    check_persistence(list, info, ask, now_s)
    check_eviction(list, info)
    check_memory(list, info)
  end
  check_time(list, ask)
  return info
end

return doctor_redis
