--- `taskengine purge QUEUE...`: deletes tasks that wait.
-- @module taskengine.cli.purge

local check = require("taskengine.check")
local common = require("taskengine.cli.common")
local confirm = require("taskengine.cli.confirm")
local exit = require("taskengine.cli.exit")
local grid = require("taskengine.cli.grid")
local link = require("taskengine.cli.link")
local record = require("taskengine.record")
local say = require("taskengine.cli.say")
local show = require("taskengine.cli.show")
local suggest = require("taskengine.suggest")
local survey = require("taskengine.cli.survey")

local purge = {}

-- Of one call: a few milliseconds, between which Redis serves others.
local BATCH <const> = 1000

purge.spec = {
  name = "purge",
  usage = "purge QUEUE...|--all [OPTIONS]",
  about = "Deletes the tasks that wait in queues for a worker, with --due also"
    .. " those that wait for their time. What runs goes on. Whoever waits for a"
    .. " deleted task, or asks for its result later, learns that it was"
    .. " revoked: Revoked, \"purged\". It shows what it would delete and asks;"
    .. " where nobody can be asked --yes has to be given.",
  operands = { "QUEUE", min = 0, max = 1000 },
  options = {
    { long = "all", help = "of every queue that was ever used" },
    {
      long = "due",
      help = "also tasks with a countdown or eta that has not come",
    },
    confirm.YES,
    link.FILE, common.BROKER, common.CONFIG, common.JSON,
  },
  examples = {
    "taskengine purge mail",
    "taskengine purge mail reports --due --yes",
    "taskengine purge --all --yes --json",
  },
}

local function check_usage(given)
  if given.all and #given > 0 then
    exit.usage("purge: --all is for all queues, name none besides")
  elseif not given.all and #given == 0 then
    exit.usage("purge: QUEUE is missing",
      "taskengine queues shows them; --all is for all of them")
  end
  for _, name in ipairs(given) do
    if not check.name(name) then
      exit.usage(check.problem("purge: QUEUE", check.name, name))
    end
  end
  confirm.check(given, "purge", "what is deleted is gone")
end

-- What there is in those queues that are meant.
local function chosen(known, given)
  if given.all then
    return known.queues
  end
  local by_name, names, list = {}, {}, {}
  for i, queue in ipairs(known.queues) do
    by_name[queue.name], names[i] = queue, queue.name
  end
  for _, name in ipairs(given) do
    local queue = by_name[name]
    if not queue then
      exit.usage(("purge: no queue '%s' was ever used%s"):format(name,
        suggest.hint(name, names)), "taskengine queues shows them")
    elseif not queue.is_chosen then
      queue.is_chosen, list[#list + 1] = true, queue
    end
  end
  return list
end

local function counted(count)
  return ("%d %s"):format(count, count == 1 and "task" or "tasks")
end

-- Whether the user agrees. Nothing but data goes to stdout.
local function is_wanted(list, total)
  local rows = { { "queue", "ready", "due" } }
  for _, queue in ipairs(list) do
    rows[#rows + 1] = { grid.text(queue.name), grid.text(queue.ready),
      grid.text(queue.due) }
  end
  grid.write(rows, { [2] = true, [3] = true }, io.stderr)
  return confirm.ask(("delete %s for good"):format(counted(total)))
end

-- What comes meanwhile stays: no more is looked at than there was.
local function purge_ready(way, queue, outcome, counts)
  local left = queue.ready
  while left > 0 do
    local seen, purged, _, malformed = table.unpack(way:ask("te1_purge",
      { outcome, tostring(math.min(left, BATCH)), queue.name }))
    counts.purged = counts.purged + purged
    counts.malformed = counts.malformed + malformed
    left = seen > 0 and left - seen or 0
  end
end

local function purge_due(way, queue, outcome, counts)
  local reply = { 1, 0, "", "" } -- more, purged, the last that stayed
  while reply[1] == 1 do
    reply = way:ask("te1_purge_due",
      { outcome, tostring(BATCH), queue.name, reply[3], reply[4] })
    counts.due = counts.due + reply[2]
  end
end

local function purge_queue(way, queue, outcome)
  local counts = { name = queue.name, purged = 0, due = 0, malformed = 0 }
  purge_ready(way, queue, outcome, counts)
  if (queue.due or 0) > 0 then
    purge_due(way, queue, outcome, counts)
  end
  return {
    name = queue.name,
    purged = counts.purged + counts.due,
    malformed = counts.malformed,
  }
end

local function report(done, given)
  local total, malformed, parts = 0, 0, {}
  for _, queue in ipairs(done) do
    total = total + queue.purged
    malformed = malformed + queue.malformed
    if queue.purged > 0 then
      parts[#parts + 1] = ("%s %d"):format(queue.name, queue.purged)
    end
  end
  if given.json then
    show.json { purged = total, queues = done }
  else
    io.write("purged ", counted(total), #parts > 0 and ": " or "",
      table.concat(parts, ", "), "\n")
  end
  if malformed > 0 then
    say.note(malformed == 1
      and "1 entry was no task: it is set aside, not deleted"
      or ("%d entries were no tasks: they are set aside, not deleted"):format(
        malformed))
  end
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function purge.run(given)
  check_usage(given)
  local way = link.open(given)
  local list, total = chosen(link.status(way), given), 0
  local due = given.due and survey.due(way) or {}
  for _, queue in ipairs(list) do
    queue.due = due[queue.name] or 0
    total = total + queue.ready + queue.due
  end
  if total > 0 and not given.yes and not is_wanted(list, total) then
    say.note("nothing was deleted")
    return exit.FAILED
  end
  local outcome = record.revocation { kind = "Revoked", message = "purged" }
  local done = {}
  for i, queue in ipairs(list) do
    done[i] = purge_queue(way, queue, outcome)
  end
  report(done, given)
  return exit.OK
end

return purge
