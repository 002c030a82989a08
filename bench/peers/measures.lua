--- What is measured of each system. Every measure counts what was done.
--
-- A measure is a function of the bench: `server`, `sizes` and `note(system,
-- row, value)`; and of the system: see bench/peers/*/system.lua.
-- @module bench.peers.measures

local process = require("bench.peers.process")
local setup = require("bench.setup")
local trial = require("bench.peers.trial")
local workflows = require("bench.peers.workflows")

local measures = {}

local WARM <const> = trial.WARM
local client <const>, start <const> = trial.client, trial.start
local wait_done <const>, stop <const> = trial.wait_done, trial.stop
local percentile <const> = trial.percentile

local function seconds(...)
  return client(...).seconds[1]
end

-- From a tenth to all: by then every process is up, and code that is compiled
-- while it runs is.
local function drain(bench, system)
  local server = bench.server
  local count = bench.sizes.tasks // system.share
  server:reset()
  client(bench, system, "noop", count)
  local workers = start(bench, system)
  local first = wait_done(bench, system, count, count // 10, 1)
  local cpu, began = server:cpu_s(), setup.now()
  wait_done(bench, system, count, count, 2)
  local took = setup.now() - began
  bench.note(system, "drain", (count - first) / took)
  bench.note(system, "drain_redis_us",
    (server:cpu_s() - cpu) / (count - first) * 1e6)
  stop(bench, system, workers, count)
end

local function bulk(bench, system)
  local server = bench.server
  local count = bench.sizes.tasks // system.share
  server:reset()
  local empty = server:memory()
  bench.note(system, "bulk", count / seconds(bench, system, "add", count))
  bench.note(system, "queued_bytes", (server:memory() - empty) / count)
  local workers = start(bench, system)
  wait_done(bench, system, count, count)
  stop(bench, system, workers, count)
  if system.keeps_results then
    bench.note(system, "kept_bytes", (server:memory() - empty) / count)
  end
end

local function single(bench, system)
  bench.server:reset()
  local count = bench.sizes.calls
  bench.note(system, "single", count / seconds(bench, system, "single", count))
end

local function idle(bench, system)
  local calls = bench.sizes.calls
  bench.server:reset()
  client(bench, system, "add", WARM)
  local workers = start(bench, system)
  wait_done(bench, system, WARM, WARM)
  trial.wait_idle(system, workers)
  local pss = 0
  for _, worker in ipairs(workers) do
    pss = pss + setup.pss_mb(worker.pid)
  end
  bench.note(system, "pss_mb", pss)
  local times = client(bench, system, "round", calls).round
  if #times ~= calls then
    error(("%s answered %d of %d calls"):format(system.name, #times, calls))
  end
  bench.note(system, "round_p50", percentile(times, 0.5) * 1000)
  bench.note(system, "round_p99", percentile(times, 0.99) * 1000)
  stop(bench, system, workers, WARM + calls)
end

-- One process of the peers that have two: they are faster so.
local function first_task(bench, system)
  bench.server:reset()
  client(bench, system, "add", 1)
  local began = setup.now()
  local workers = start(bench, system, 1)
  wait_done(bench, system, 1, 1, 1)
  bench.note(system, "start_ms", (setup.now() - began) * 1000)
  trial.wait_idle(system, workers) -- Sidekiq's was taken, and has yet to run
  stop(bench, system, workers, 1)
end

-- A core with nothing to do sleeps, and to wake it takes longer than the work
-- that one call is. On a busy machine it is awake: here by processes that run
-- only when nobody else wants to.
local function with_cores_awake(measure)
  local count = math.tointeger(tonumber(setup.output_of("nproc")))
  return function(bench, system)
    local marked = setmetatable({
      note = function(of, row, value)
        bench.note(of, "awake_" .. row, value)
      end,
    }, { __index = bench })
    local idlers = {}
    for i = 1, count do
      idlers[i] = process.start { "chrt", "-i", "0", "lua5.4", "-e",
        "while true do end" }
    end
    measure(marked, system)
    for _, idler in ipairs(idlers) do
      idler:stop()
    end
  end
end

--- For every system, in the order in which they run.
measures.of_each = { drain, bulk, single, idle, first_task,
  with_cores_awake(single), with_cores_awake(idle), workflows.small,
  with_cores_awake(workflows.small) }

-- Nanoseconds on a processor, from here on.
local function cpu_meter(worker)
  local paths = {}
  for _, pid in ipairs(worker:family()) do
    local list = setup.output_of(("ls -d /proc/%d/task/*"):format(pid))
    for folder in list:gmatch("%S+") do
      table.insert(paths, folder .. "/schedstat")
    end
  end
  local function read()
    local sum = 0
    for _, path in ipairs(paths) do
      local file <close> = assert(io.open(path))
      sum = sum + file:read("n")
    end
    return sum
  end
  local before = read()
  return function()
    return read() - before
  end
end

-- Processor time a task of the first ones of a queue of `depth`. The worker
-- is there before and held, so that its start does not count.
local function first_of(bench, system, depth)
  local server = bench.server
  local first = math.min(bench.sizes.first, depth)
  server:reset()
  client(bench, system, "noop", WARM)
  local workers = start(bench, system)
  wait_done(bench, system, WARM, WARM)
  trial.wait_idle(system, workers)
  workers[1].handle:kill("SIGSTOP")
  client(bench, system, "noop", depth)
  local worker_ns, cpu = cpu_meter(workers[1]), server:cpu_s()
  workers[1].handle:kill("SIGCONT")
  local done = wait_done(bench, system, WARM + depth, WARM + first, 1) - WARM
  local us = (server:cpu_s() - cpu) * 1e6 + worker_ns() / 1000
  if depth == first then
    stop(bench, system, workers, WARM + depth)
  else
    process.kill_all()
  end
  return us / done
end

local function deep(bench, system)
  local few = first_of(bench, system, bench.sizes.first)
  local many = first_of(bench, system, bench.sizes.deep)
  bench.note(system, "few_us", few)
  bench.note(system, "many_us", many)
  bench.note(system, "deep_ratio", many / few)
end

local RECIPE <const> = "recipes/primes.lua"
local PROCESSES <const> = "2"

local function timed(args, env)
  local began = setup.now()
  local text = process.run(args, env)
  return text, setup.now() - began
end

local function primes(bench, system)
  local server, limit = bench.server, tostring(bench.sizes.primes)
  server:reset()
  local text, program_s = timed({ "primesieve", limit, "-t", PROCESSES,
    "--time" })
  local expected = text:match("Primes: (%d+)")
  local search_s = tonumber(text:match("Seconds: ([%d.]+)"))
  local function check(output)
    if output:match("Found (%d+)") ~= expected then
      error("primesieve found " .. expected .. " primes, but we: " .. output)
    end
  end

  local env = system.env(server)
  local worker = process.start({ system.program, "worker", RECIPE, "-P",
    PROCESSES, "-l", "warn" }, env)
  process.run({ "lua5.4", RECIPE, "100000000" }, env)
  text = process.run({ "lua5.4", RECIPE, limit }, env)
  worker:stop()
  check(text)
  local tasks_s = tonumber(text:match("Took ([%d.]+)"))
  local run_text, run_s = timed({ system.program, "run", "-q", "-P", PROCESSES,
    RECIPE, limit })
  check(run_text)
  bench.note(system, "primes_s", tasks_s)
  bench.note(system, "primes_run_s", run_s)
  bench.note(system, "primesieve_s", program_s)
  bench.note(system, "primes_ratio", tasks_s / search_s)
  bench.note(system, "primes_run_ratio", run_s / program_s)
end

--- For taskengine alone.
measures.of_ours = { deep, workflows.long_chain, workflows.large_chord,
  workflows.word_count }

--- What can be asked for alone, by name.
measures.only = { workflows = workflows.small }

--- For taskengine beside the program primesieve.
measures.primes = primes

return measures
