--- What flows take, of Redis and of the processes that run them.
-- @module spec.support.flow_watch

local files = require("spec.support.files")
local processes = require("spec.support.processes")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local flow_watch = {}

local PRODUCER_BYTES <const> = 12

--- Lines of redis.conf with which it writes down its slow calls.
flow_watch.CONFIG = {
  "slowlog-log-slower-than 500", "slowlog-max-len 100000",
}

--- The longest call of a function that Redis has written down: told, and
-- nothing to rely on where others compute as well.
-- @tparam Site site
-- @treturn string
function flow_watch.slowest(site)
  local name, most_us = "none", 0
  for _, entry in ipairs(site:call("SLOWLOG", "GET", -1)) do
    if entry[4][1] == "FCALL" and entry[3] > most_us then
      name, most_us = entry[4][2], entry[3]
    end
  end
  return ("slowest=%s:%.1fms"):format(name, most_us / 1000)
end

--- The processor time that Redis has taken to answer.
-- @tparam Site site
-- @treturn number s
function flow_watch.redis_cpu_s(site)
  local pid = site.server.pid
  local text = files.read(("/proc/%d/task/%d/schedstat"):format(pid, pid))
  return tonumber(text:match("^%d+")) / 1e9
end

--- The keys of flows, without the shard's prefix.
-- @tparam Site site
-- @tparam {[string]=boolean,...} producers of the flows
-- @treturn {string,...}
function flow_watch.keys(site, producers)
  local found = {}
  for _, key in ipairs(site:call("KEYS", workers.PREFIX .. "*:*")) do
    local name = key:sub(#workers.PREFIX + 1)
    local producer = name:match("^%a+:(.*)$"):sub(1, PRODUCER_BYTES)
    if producers[producer] then
      found[#found + 1] = name
    end
  end
  return found
end

--- How much memory of Redis a flow takes.
-- @tparam Site site
-- @tparam string id of the flow
-- @treturn int bytes
function flow_watch.bytes(site, id)
  local bytes = 0
  local producers = { [id:sub(1, PRODUCER_BYTES)] = true }
  for _, name in ipairs(flow_watch.keys(site, producers)) do
    bytes = bytes + site:call("MEMORY", "USAGE", workers.PREFIX .. name,
      "SAMPLES", 0)
  end
  return bytes
end

--- What is open of any flow: nothing may be once all have ended.
-- @tparam Site site
-- @treturn {string,...} keys without the shard's prefix
function flow_watch.open(site)
  local open = {}
  for _, key in ipairs(site:call("KEYS", workers.PREFIX .. "g*")) do
    local name = key:sub(#workers.PREFIX + 1)
    if name == "gq" or name == "gc" or name == "gl" or name:find("^g[dr]:") then
      open[#open + 1] = name
    end
  end
  return open
end

--- The memory of a worker and its children.
-- @tparam Process worker
-- @treturn {[int]=int,...} by pid, KiB
function flow_watch.memory(worker)
  local sizes, pids = {}, workers.children(worker)
  pids[#pids + 1] = worker.pid
  for _, pid in ipairs(pids) do
    local status = files.read(("/proc/%d/status"):format(pid)) or ""
    sizes[pid] = tonumber(status:match("VmRSS:%s+(%d+) kB"))
  end
  return sizes
end

--- How much the process has grown that has grown the most.
-- @tparam {[int]=int,...} before
-- @tparam {[int]=int,...} after
-- @treturn int KiB
function flow_watch.growth(before, after)
  local most = 0
  for pid, size in pairs(after) do
    most = math.max(most, size - (before[pid] or size))
  end
  return most
end

--- Whether a process of a run may be killed, and how that ends.
--
-- A task that dies with three processes fails: so the next one is killed when
-- the flow has gone on since.
-- @tparam Run run
-- @tparam function progress a number that grows as the flow goes on
-- @tparam int min by how much
-- @tparam function is_over
-- @treturn int how many tasks may start twice for it
function flow_watch.kill_one(run, progress, min, is_over)
  local before, bound = progress(), run.concurrency
  if math.random(4) == 1 then
    bound = bound * run.processes
    run:kill_worker()
    run:start()
  else
    local children = run:children()
    local pid = children[math.random(math.max(#children, 1))]
    if pid and processes.is_alive(pid) then
      run:kill(pid)
    end
  end
  wait_until(function()
    return progress() >= before + min or is_over()
  end, 60, "a flow that goes on")
  return bound
end

return flow_watch
