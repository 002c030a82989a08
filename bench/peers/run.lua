--- `make bench-peers`: Sidekiq, BullMQ, Celery and taskengine, side by side.
--
-- All take turns at one Redis, measure by measure, so that what else happens
-- on the machine happens to all. A peer that cannot be installed is left out.
-- RUNS=1 TASKS=40000 DEEP=100000 CALLS=500 PRIMES=1000000000 CHAIN=10000
-- CHORD=10000 TEXT=20000000: a quick one. ONLY=workflows: those that all have,
-- and nothing else. The exit code is 1 when an aim was missed.

package.path = "./?.lua;" .. package.path

local aims = require("bench.aim")
local core = require("taskengine.core")
local measures = require("bench.peers.measures")
local process = require("bench.peers.process")
local report = require("bench.peers.table")
local setup = require("bench.setup")

local JSON <const> = "build/bench-peers.json"

local function size(name, default)
  return math.tointeger(os.getenv(name) or default)
    or error(name .. " must be an integer")
end

local RUNS <const> = size("RUNS", 5)
local ONLY <const> = os.getenv("ONLY")

local bench = {
  sizes = {
    tasks = size("TASKS", 200000), -- the peers get a share, for their speed
    calls = size("CALLS", 2000), -- one by one
    deep = size("DEEP", 1000000),
    first = 10000, -- of the deep queue
    primes = size("PRIMES", 10000000000),
    chain = size("CHAIN", 100000), -- steps of ours
    chord = size("CHORD", 100000), -- members of ours
    text = size("TEXT", 200000000), -- bytes whose words are counted
  },
  samples = {}, -- row -> system's name -> list of numbers
}

function bench.note(system, row, value)
  local samples = bench.samples
  samples[row] = samples[row] or {}
  samples[row][system.name] = samples[row][system.name] or {}
  table.insert(samples[row][system.name], value)
end

local function say(text, ...)
  io.stderr:write(text:format(...), "\n")
end

-- Ends the program when somebody has pressed Ctrl-C.
local function shell(command)
  local done, how, code = os.execute(command)
  if how == "signal" or code == 130 then
    os.exit(130)
  end
  return done
end

local function install(group)
  return shell("tools/install-packages " .. group .. " 1>&2")
end

local function is_there(system)
  if system.packages and not install(system.packages)
    or system.setup_command and not shell(system.setup_command .. " 1>&2") then
    say("%s cannot be installed here, and is left out.", system.name)
    return false
  end
  system.version = setup.output_of(system.version_command):match("%S+") or "?"
  return true
end

local function measures_of_each()
  if not ONLY then
    return measures.of_each
  end
  return { measures.only[ONLY] or error("there is nothing called " .. ONLY) }
end

local function measures_of_ours()
  if ONLY then
    return {}
  end
  local list = table.move(measures.of_ours, 1, #measures.of_ours, 1, {})
  if install("primesieve") then
    table.insert(list, measures.primes)
  else
    say("primesieve cannot be installed here, and is left out.")
  end
  return list
end

local function systems()
  local found = {}
  for _, name in ipairs({ "taskengine", "sidekiq", "bullmq", "celery" }) do
    local system = require("bench.peers." .. name .. ".system")
    if is_there(system) then
      table.insert(found, system)
    end
  end
  return found
end

local function write(list)
  local measured = {
    at = os.date("!%Y-%m-%dT%H:%MZ"),
    runs = RUNS,
    sizes = bench.sizes,
    systems = {},
    samples = bench.samples,
  }
  for i, system in ipairs(list) do
    measured.systems[i] = { name = system.name, version = system.version,
      settings = system.settings }
  end
  local file <close> = assert(io.open(JSON, "w"))
  file:write(assert(core.json.encode(measured, { indent = 2 })), "\n")
  local text, judged = report.markdown(measured)
  print(text)
  say("written to %s", JSON)
  local told, are_met = aims.sum_up(judged)
  say("%s", told)
  return are_met
end

local function run_all(list, of_each, of_ours)
  local server <close> = setup.redis(true)
  bench.server = server
  for run = 1, RUNS do
    say("run %d of %d, %s", run, RUNS, os.date("%H:%M:%S"))
    for _, measure in ipairs(of_each) do
      for _, system in ipairs(list) do
        measure(bench, system)
      end
    end
    for _, measure in ipairs(of_ours) do
      measure(bench, list[1])
    end
  end
  return write(list)
end

local list, of_each, of_ours = systems(), measures_of_each(),
  measures_of_ours()
local are_met
local code, why = process.guard(function()
  are_met = run_all(list, of_each, of_ours)
end)
if why then
  say("bench-peers: %s", why)
end
os.exit(code == 0 and not are_met and 1 or code, true)
