--- `taskengine status`: queues and workers.
-- @module taskengine.cli.status

local common = require("taskengine.cli.common")
local exit = require("taskengine.cli.exit")
local grid = require("taskengine.cli.grid")
local link = require("taskengine.cli.link")
local show = require("taskengine.cli.show")

local status = {}

status.spec = {
  name = "status",
  usage = "status [OPTIONS]",
  about = "Shows queues with what waits in them and what became of the rest,"
    .. " and the workers.",
  options = { link.FILE, common.BROKER, common.CONFIG, common.JSON },
  columns = {
    { "ready", "tasks that wait for a worker" },
    { "workers", "that serve the queue" },
    { "enqueued", "tasks that were ever put there; the next four are what"
      .. " became of them" },
    { "done", "tasks that returned a value" },
    { "failed", "tasks that ended with an error" },
    { "revoked", "tasks that were revoked before they began" },
    { "expired", "tasks that nobody began in time" },
    { "retried", "how often a task failed, or asked for it, and was run again"
      .. " therefore" },
    { "redelivered", "how often a task was handed back to the queue, as by a"
      .. " worker that stops" },
    { "crashes", "how often a process or a worker died while it ran a task;"
      .. " the task runs again, unless that was once too often" },
  },
  examples = {
    "taskengine status",
    "taskengine status -b redis://localhost:6379/0 --json",
  },
}

local QUEUE_COLUMNS <const> = {
  "queue", "ready", "workers", "enqueued", "done", "failed", "revoked",
  "expired", "retried", "redelivered", "crashes",
}

local SHOWN_MAX <const> = 10

local WORKER_COLUMNS <const> = {
  "worker", "host", "pid", "processes", "in flight", "queues", "tasks",
}

-- Of what a worker says of itself, what has the right type.
local FIELDS <const> = {
  name = "string", host = "string", pid = "number", processes = "number",
  concurrency = "number", version = "string", started = "number",
  queues = "table", tasks = "table",
}

local function describe_worker(worker)
  local out = {
    id = worker.id,
    alive = worker.alive,
    in_flight = worker.in_flight,
  }
  for name, kind in pairs(FIELDS) do
    if type(worker.about[name]) == kind then
      out[name] = worker.about[name]
    end
  end
  return out
end

local function write_queues(queues)
  local rows, is_number = { QUEUE_COLUMNS }, {}
  for i = 2, #QUEUE_COLUMNS do
    is_number[i] = true
  end
  for _, queue in ipairs(queues) do
    local row = { grid.text(queue.name) }
    for i = 2, #QUEUE_COLUMNS do
      row[i] = grid.text(queue[QUEUE_COLUMNS[i]])
    end
    rows[#rows + 1] = row
  end
  grid.write(rows, is_number)
end

-- Of many no more than fit on a line; --json has all.
local function names_in(list, is_map)
  local names = {}
  for key, value in pairs(list or {}) do
    names[#names + 1] = grid.text(is_map and key or value)
  end
  table.sort(names)
  local left_out = #names - SHOWN_MAX
  if left_out > 0 then
    return ("%s and %d more"):format(table.concat(names, ",", 1, SHOWN_MAX),
      left_out)
  end
  return #names > 0 and table.concat(names, ",") or "-"
end

local function write_workers(workers)
  local rows = { WORKER_COLUMNS }
  for _, worker in ipairs(workers) do
    rows[#rows + 1] = {
      grid.text(worker.name or worker.id)
        .. (worker.alive and "" or " (lost)"),
      grid.text(worker.host), grid.text(worker.pid),
      grid.text(worker.processes), grid.text(worker.in_flight),
      names_in(worker.queues, false), names_in(worker.tasks, true),
    }
  end
  grid.write(rows, { [3] = true, [4] = true, [5] = true })
end

local function write_text(known)
  if #known.queues == 0 then
    io.write("no queue was ever used\n")
  else
    write_queues(known.queues)
  end
  io.write("\n")
  if #known.workers == 0 then
    io.write("no worker\n")
  else
    write_workers(known.workers)
  end
  io.write(("\ndue later %d, dead %d, malformed %d, revoked among the ready"
    .. " %d\n"):format(known.due, known.dead, known.malformed, known.buried))
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function status.run(given)
  local known = link.status(link.open(given))
  for i, worker in ipairs(known.workers) do
    known.workers[i] = describe_worker(worker)
  end
  if given.json then
    show.json(known)
  else
    write_text(known)
  end
  return exit.OK
end

return status
