--- What measures of a system are made of: its client, its workers, its count.
-- @module bench.peers.trial

local process = require("bench.peers.process")
local setup = require("bench.setup")

local trial = {}

-- Of a processor, from one look to the next: timers tick.
local IDLE_SHARE <const>, LOOK_MS <const> = 0.05, 200

--- Tasks that a worker has done before it is asked.
trial.WARM = 1000

--- Runs the client.
-- @tparam table bench
-- @tparam table system
-- @tparam string measure
-- @tparam int count
-- @treturn {[string]={number,...},...} the numbers that it prints, by name
function trial.client(bench, system, measure, count)
  local args = table.move(system.client, 1, #system.client, 1, {})
  table.insert(args, measure)
  table.insert(args, tostring(count))
  local numbers = {}
  for name, value in process.run(args, system.env(bench.server)):gmatch(
    "(%a+)%s+([%d.e-]+)\n") do
    numbers[name] = numbers[name] or {}
    table.insert(numbers[name], tonumber(value))
  end
  return numbers
end

--- Starts the workers.
-- @tparam table bench
-- @tparam table system
-- @tparam[opt] int count how many, instead of all
-- @treturn {Process,...}
function trial.start(bench, system, count)
  local workers = {}
  for i = 1, count or #system.workers do
    workers[i] = process.start(system.workers[i], system.env(bench.server))
  end
  return workers
end

--- Waits until so many tasks were done.
-- @tparam table bench
-- @tparam table system
-- @tparam int sent how many there are
-- @tparam int wanted
-- @tparam[opt] number pause_ms between two looks
-- @treturn int how many were
function trial.wait_done(bench, system, sent, wanted, pause_ms)
  local done
  setup.wait(function()
    done = system.done(bench.server, sent)
    return done >= wanted
  end, ("%s: %d tasks"):format(system.name, wanted), pause_ms)
  return done
end

--- Waits until its processes do nothing any more: each has been started, has
-- done what it was sent, and waits.
-- @tparam table system
-- @tparam {Process,...} workers
function trial.wait_idle(system, workers)
  local before, at
  setup.wait(function()
    local cpu, now = 0, setup.now()
    for _, worker in ipairs(workers) do
      cpu = cpu + setup.cpu_s(worker:family())
    end
    local is_idle = before and cpu - before < IDLE_SHARE * (now - at)
    before, at = cpu, now
    return is_idle
  end, system.name .. " to have nothing to do", LOOK_MS)
end

--- Stops the workers; they must have done all that was sent.
-- @tparam table bench
-- @tparam table system
-- @tparam {Process,...} workers
-- @tparam int sent
function trial.stop(bench, system, workers, sent)
  for _, worker in ipairs(workers) do
    worker:stop()
  end
  local counted = system.counted(bench.server)
  if counted ~= sent then
    error(("%s has done %s of %d tasks"):format(system.name, counted, sent))
  end
end

--- The number below which a share of a list is. Sorts the list.
-- @tparam {number,...} list
-- @tparam number p
-- @treturn number
function trial.percentile(list, p)
  table.sort(list)
  return list[math.max(1, math.ceil(#list * p))]
end

return trial
