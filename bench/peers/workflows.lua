--- Chains, groups and chords: of each system that has them, and of ours larger
-- ones than the others do.
-- @module bench.peers.workflows

local setup = require("bench.setup")
local trial = require("bench.peers.trial")
local wordcount = require("bench.wordcount")

local workflows = {}

-- Of large groups and chords in a run. Celery takes seconds for one.
local LARGE_MAX <const> = 10
local MEMBERS <const> = 1000 -- of a large one; the clients know it, too
-- One in so many calls of the run is a small workflow.
local SHARE <const> = 4
-- What the client is asked for: the tasks of one, and the row.
local SMALL <const> = {
  { measure = "chain", tasks = 3, row = "chain_p50" },
  { measure = "chord", tasks = 11, row = "chord_p50" },
  { measure = "group", tasks = MEMBERS, row = "group_ms", is_large = true },
  { measure = "largechord", tasks = MEMBERS + 1, row = "large_chord_ms",
    is_large = true },
}

-- One after the other, on workers that have done some tasks before. The client
-- checks every result.
function workflows.small(bench, system)
  if not system.has_workflows then
    return
  end
  bench.server:reset()
  trial.client(bench, system, "add", trial.WARM)
  local workers = trial.start(bench, system)
  trial.wait_done(bench, system, trial.WARM, trial.WARM)
  trial.wait_idle(system, workers)
  local sent = trial.WARM
  for _, one in ipairs(SMALL) do
    local count = math.max(1, bench.sizes.calls // SHARE)
    count = one.is_large and math.min(count, LARGE_MAX) or count
    local times = trial.client(bench, system, one.measure, count)[one.measure]
    if #times ~= count then
      error(("%s has done %d of %d"):format(system.name, #times, count))
    end
    bench.note(system, one.row, trial.percentile(times, 0.5) * 1000)
    sent = sent + count * one.tasks
  end
  trial.stop(bench, system, workers, sent)
end

-- Redis writes down what takes longer than a millisecond, until it is asked:
-- returns a function that tells how many the longest took since.
local function watch_calls(server)
  server:call("CONFIG", "SET", "slowlog-log-slower-than", "1000")
  server:call("CONFIG", "SET", "slowlog-max-len", "100000")
  server:call("SLOWLOG", "RESET")
  return function()
    local longest_us = 1000
    for _, entry in ipairs(server:call("SLOWLOG", "GET", "-1")) do
      longest_us = math.max(longest_us, entry[3])
    end
    server:call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    return longest_us / 1000
  end
end

-- From a tenth of its steps to all: by then every process is up.
function workflows.long_chain(bench, system)
  local server, count = bench.server, bench.sizes.chain
  server:reset()
  local empty, longest_ms = server:memory(), watch_calls(server)
  trial.client(bench, system, "sendchain", count)
  bench.note(system, "step_bytes", (server:memory() - empty) / count)
  local workers = trial.start(bench, system)
  local first = trial.wait_done(bench, system, count, count // 10, 1)
  local began, pss = setup.now(), setup.pss_mb(workers[1].pid)
  trial.wait_done(bench, system, count, count, 2)
  bench.note(system, "steps", (count - first) / (setup.now() - began))
  bench.note(system, "steps_mb", setup.pss_mb(workers[1].pid) - pss)
  bench.note(system, "steps_call_ms", longest_ms())
  trial.stop(bench, system, workers, count)
end

function workflows.large_chord(bench, system)
  local server, count = bench.server, bench.sizes.chord
  server:reset()
  trial.client(bench, system, "add", trial.WARM)
  local workers = trial.start(bench, system)
  trial.wait_done(bench, system, trial.WARM, trial.WARM)
  local longest_ms = watch_calls(server)
  bench.note(system, "huge_chord_s",
    trial.client(bench, system, "hugechord", count).hugechord[1])
  bench.note(system, "huge_chord_call_ms", longest_ms())
  trial.stop(bench, system, workers, trial.WARM + count + 1)
end

function workflows.word_count(bench, system)
  bench.server:reset()
  if not wordcount.path then
    wordcount.prepare(bench.server, bench.sizes.text)
  end
  local speed, ratio = wordcount.measure()
  bench.note(system, "words_mb_s", speed)
  bench.note(system, "words_ratio", ratio)
end

return workflows
