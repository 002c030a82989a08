--- What a call to an idle worker is made of: who wakes whom, and who computes.
--
--    eval "$(build/taskengine env)"; sudo -E lua5.4 bench/wakeups.lua
--
-- Needs root, for Linux' event tracing, and a machine with nothing else to do.

package.path = "./?.lua;" .. package.path

local setup = require("bench.setup")
local te = require("taskengine")
local wakes = require("bench.wakes")

local CALLS <const>, WARM <const> = 500, 1000
local TRACING <const> = "/sys/kernel/tracing/"
local EVENTS <const> = { "sched/sched_waking", "sched/sched_switch",
  "syscalls/sys_exit_epoll_wait" }

local function set(file, value)
  local handle <close> = assert(io.open(TRACING .. file, "w"))
  assert(handle:write(value))
end

local function trace_events(switch)
  for _, event in ipairs(EVENTS) do
    set("events/" .. event .. "/enable", switch)
  end
end

-- The text of what was traced while `body` ran.
local function traced(body)
  set("tracing_on", "0")
  set("trace", "")
  set("buffer_size_kb", "8192")
  trace_events("1")
  set("tracing_on", "1")
  body()
  set("tracing_on", "0")
  trace_events("0")
  local file <close> = assert(io.open(TRACING .. "trace"))
  return file:read("a")
end

local function names_of(server, worker)
  local me <close> = assert(io.open("/proc/self/stat"))
  local names = {
    [me:read("n")] = "client",
    [tonumber(server:call("INFO", "server"):match("process_id:(%d+)"))] =
      "Redis",
    [worker.process:pid()] = "master",
  }
  for _, pid in ipairs(setup.children_of(worker.process:pid())) do
    names[pid] = "child"
  end
  return names
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function report(times, pairs_, ran)
  print(("a call: %.0f us, the median of %d\n"):format(
    median(times) * 1e6, CALLS))
  print("| who wakes whom | a call | of them, a halted core | us |")
  print("|---|---|---|---|")
  for _, pair in ipairs(pairs_) do
    print(("| %s | %.2f | %.2f | %.0f |"):format(pair.name,
      pair.count / CALLS, pair.halted / CALLS, pair.us))
  end
  print("\n| who runs | us a call |")
  print("|---|---|")
  for _, name in ipairs { "client", "Redis", "master", "child" } do
    print(("| %s | %.0f |"):format(name, (ran[name] or 0) / CALLS))
  end
end

local server <close> = setup.redis()
local app = te.app("bench", { broker = server.url })
local add = app:task("add", function(x, y)
  return x + y
end)
local worker = setup.worker(server)
worker.wait_ready()
for i = 1, WARM do
  assert(add:delay(i, i):get() == 2 * i)
end
local times = {}
local text = traced(function()
  for i = 1, CALLS do
    local start = setup.now()
    assert(add:delay(i, i):get() == 2 * i)
    times[i] = setup.now() - start
  end
end)
local names = names_of(server, worker)
worker.stop()
report(times, wakes.read(text, names))
