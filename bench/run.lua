--- `make bench`: what a task costs. Medians of five, a table, JSON.
--
-- Redis beside the worker on a Unix socket, without persistence; the client
-- is idle while the worker drains. TASKS=20000 RUNS=1 make bench: a quick one.
-- The exit code is 1 when an aim was missed.

package.path = "./?.lua;" .. package.path

local aims = require("bench.aim")
local core = require("taskengine.core")
local setup = require("bench.setup")
local te = require("taskengine")
local wordcount = require("bench.wordcount")

local TASKS <const> = math.tointeger(os.getenv("TASKS") or 200000)
local RUNS <const> = math.tointeger(os.getenv("RUNS") or 5)
local SINGLE <const> = 2000
local JSON <const> = "build/bench.json"

local server = setup.redis()
local app = te.app("bench", { broker = server.url })
local noop = app:task("noop", function() end)
local add = app:task("add", function(x, y)
  return x + y
end)

local function calls(n)
  local list = {}
  for i = 1, n do
    list[i] = { i, i }
  end
  return list
end

local samples = {} -- name -> list of numbers
local function note(name, value)
  samples[name] = samples[name] or {}
  table.insert(samples[name], value)
end

local function percentile(list, p)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  return sorted[math.max(1, math.ceil(#sorted * p))]
end

local function bench_queue()
  server:reset()
  local none, list = {}, calls(TASKS)
  for i = 1, TASKS do
    none[i] = {}
  end
  local before, cpu, start = server:memory(), server:cpu_s(), setup.now()
  app:enqueue_many(add, list)
  note("enqueue", TASKS / (setup.now() - start))
  note("enqueue_redis_us", (server:cpu_s() - cpu) / TASKS * 1e6)
  note("queued_bytes", (server:memory() - before) / TASKS)

  server:reset()
  app:enqueue_many(noop, none)
  server:call("CONFIG", "RESETSTAT")
  cpu = server:cpu_s()
  local worker = setup.worker(server)
  local first
  setup.wait(function()
    first = server:done()
    return first > 0
  end, "the first task", 1)
  start = setup.now()
  local master, children = setup.worker_cpu_s(worker.process:pid())
  setup.wait(function()
    return server:done() == TASKS
  end, "the last task", 5)
  local took = setup.now() - start
  local master_end, children_end = setup.worker_cpu_s(worker.process:pid())
  note("drain", (TASKS - first) / took)
  note("drain_us", took / (TASKS - first) * 1e6)
  note("drain_redis_us", (server:cpu_s() - cpu) / TASKS * 1e6)
  note("drain_master_us", (master_end - master) / (TASKS - first) * 1e6)
  note("drain_children_us", (children_end - children) / (TASKS - first) * 1e6)
  note("drain_fcall_us", server:fcall_us() / TASKS)
  note("kept_bytes", (server:memory() - before) / TASKS)
  worker.stop()
end

local function bench_single()
  server:reset()
  local start = setup.now()
  for i = 1, SINGLE do
    add:delay(i, i)
  end
  note("single", SINGLE / (setup.now() - start))
end

local function bench_round_trip()
  server:reset()
  local worker = setup.worker(server)
  worker.wait_ready()
  add:delay(1, 1):get()
  local times = {}
  for i = 1, SINGLE do
    local start = setup.now()
    add:delay(i, i):get()
    times[i] = (setup.now() - start) * 1000
  end
  note("round_trip_p50", percentile(times, 0.5))
  note("round_trip_p99", percentile(times, 0.99))
  worker.stop()
end

local function bench_start()
  server:reset()
  add:delay(1, 1)
  local start = setup.now()
  local worker = setup.worker(server)
  setup.wait(function()
    return server:done() == 1
  end, "the first task", 1)
  note("start_ms", (setup.now() - start) * 1000)
  worker.wait_ready()
  note("pss_mb", setup.pss_mb(worker.process:pid()))
  worker.stop()
end

local function bench_words()
  server:reset()
  local speed, ratio = wordcount.measure()
  note("words_mb_s", speed)
  note("words_awk", ratio)
end

-- Title, unit, format and aim of each; `more` says that more is better.
local ROWS <const> = {
  { "yardstick", "redis-benchmark -P 32 lpush", "/s", "%.0f" },
  { "drain", "drain, no-op, results kept", "/s", "%.0f", 100000, more = true },
  { "drain_us", "  time a task", "us", "%.2f" },
  { "drain_redis_us", "  Redis CPU a task", "us", "%.2f", 5 },
  { "drain_fcall_us", "  of it inside functions", "us", "%.2f" },
  { "drain_master_us", "  master's CPU a task", "us", "%.2f" },
  { "drain_children_us", "  children's CPU a task, both", "us", "%.2f" },
  { "kept_bytes", "  Redis memory a kept result", "B", "%.0f" },
  { "enqueue", "bulk enqueue add(x, y)", "/s", "%.0f", 400000, more = true },
  { "enqueue_redis_us", "  Redis CPU a task", "us", "%.2f" },
  { "queued_bytes", "  Redis memory a queued task", "B", "%.0f", 150 },
  { "single", "enqueue one by one", "/s", "%.0f" },
  { "round_trip_p50", "round trip, idle worker, p50", "ms", "%.3f" },
  { "round_trip_p99", "round trip, idle worker, p99", "ms", "%.3f" },
  { "start_ms", "start to first task done", "ms", "%.1f", 60 },
  { "pss_mb", "PSS, idle worker of 2 children", "MB", "%.1f", 12 },
  { "words_mb_s", "word count of 200 MB, command", "MB/s", "%.0f" },
  { "words_awk", "  against one core of awk", "x", "%.1f", 3, more = true },
}

-- Whether all aims are met.
local function report()
  local out, judged = {}, {}
  print(("%-34s %12s %12s %12s     aim"):format("", "median", "min", "max"))
  for _, row in ipairs(ROWS) do
    local key, title, unit, format, limit = table.unpack(row)
    local list = samples[key]
    local median = percentile(list, 0.5)
    local aim, met
    if limit then
      aim, met = aims.judge(row, limit, median)
      table.insert(judged, { title = title:match("%S.*"), aim = aim, met = met,
        found = format:format(median) })
      aim = ("%-9s %s"):format(aim, met and "met" or "short")
    end
    print(("%-34s %12s %12s %12s %-4s %s"):format(title,
      format:format(median), format:format(percentile(list, 0)),
      format:format(percentile(list, 1)), unit, aim or ""))
    out[key] = { median = median, samples = list, unit = unit }
  end
  local file <close> = assert(io.open(JSON, "w"))
  file:write(assert(core.json.encode(out, { indent = 2 })), "\n")
  print("written to " .. JSON)
  local told, are_met = aims.sum_up(judged)
  print(told)
  return are_met
end

wordcount.prepare(server)
for run = 1, RUNS do
  io.stderr:write(("run %d of %d\n"):format(run, RUNS))
  note("yardstick", setup.yardstick(server))
  bench_queue()
  bench_single()
  bench_round_trip()
  bench_start()
  bench_words()
end
local are_met = report()
server:stop()
os.exit(are_met, true)
