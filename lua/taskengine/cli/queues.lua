--- `taskengine queues`: what waits, runs and has ended, by queue.
-- @module taskengine.cli.queues

local common = require("taskengine.cli.common")
local exit = require("taskengine.cli.exit")
local grid = require("taskengine.cli.grid")
local link = require("taskengine.cli.link")
local say = require("taskengine.cli.say")
local show = require("taskengine.cli.show")
local status = require("taskengine.cli.status")
local survey = require("taskengine.cli.survey")

local queues = {}

-- Beyond that nobody waits for the count by queue, which looks at each.
local DUE_MAX <const> = 100000

local function with_columns_of_status(columns)
  for _, column in ipairs(status.spec.columns) do
    if column[1] ~= "ready" and column[1] ~= "workers" then
      columns[#columns + 1] = column
    end
  end
  return columns
end

queues.spec = {
  name = "queues",
  usage = "queues [OPTIONS]",
  about = "Shows every queue that was ever used: what waits in it, what runs,"
    .. " who serves it, and what became of the rest.",
  options = { link.FILE, common.BROKER, common.CONFIG, common.JSON },
  columns = with_columns_of_status {
    { "ready", "tasks that wait for a worker" },
    { "priorities", "how many of them have which, 9 the most urgent; - when"
      .. " none has any" },
    { "due", "tasks that wait for their time; - when more than 100,000 do, of"
      .. " all queues: then they are not told apart" },
    { "in flight", "tasks in the hands of workers; - when that is too much to"
      .. " be looked at" },
    { "workers", "that serve the queue" },
  },
  examples = {
    "taskengine queues",
    "taskengine queues -b redis://localhost:6379/0 --json",
  },
}

local HEADS <const> = {
  "queue", "ready", "priorities", "due", "in flight", "workers", "enqueued",
  "done", "failed", "revoked", "expired", "retried", "redelivered", "crashes",
}

local function priorities_text(priorities)
  if not priorities then
    return "-"
  end
  local parts = {}
  for priority = 9, 0, -1 do
    local count = priorities[tostring(priority)]
    parts[#parts + 1] = count and ("%d:%d"):format(priority, count) or nil
  end
  return table.concat(parts, " ")
end

local function write_text(list)
  if #list == 0 then
    io.write("no queue was ever used\n")
    return
  end
  local rows, is_number = { HEADS }, {}
  for i, head in ipairs(HEADS) do
    is_number[i] = head ~= "queue" and head ~= "priorities"
  end
  for _, queue in ipairs(list) do
    local row = {}
    for i, head in ipairs(HEADS) do
      row[i] = grid.text(queue[head:gsub(" ", "_")])
    end
    row[1], row[3] = grid.text(queue.name), priorities_text(queue.priorities)
    rows[#rows + 1] = row
  end
  grid.write(rows, is_number)
end

local function add_due(way, known)
  if known.due > DUE_MAX then
    say.note(("%d tasks are due later, too many to be told apart by queue")
      :format(known.due))
    return
  end
  local due = known.due > 0 and survey.due(way) or {}
  for _, queue in ipairs(known.queues) do
    queue.due = due[queue.name] or 0
  end
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function queues.run(given)
  local way = link.open(given)
  local known = survey.all(way)
  add_due(way, known)
  if given.json then
    show.json { queues = known.queues, due = known.due }
  else
    write_text(known.queues)
  end
  return exit.OK
end

return queues
