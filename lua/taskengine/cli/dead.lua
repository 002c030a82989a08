--- `taskengine dead`: tasks that failed for good, and how to run them again.
-- @module taskengine.cli.dead

local check = require("taskengine.check")
local common = require("taskengine.cli.common")
local confirm = require("taskengine.cli.confirm")
local dead = require("taskengine.dead")
local exit = require("taskengine.cli.exit")
local link = require("taskengine.cli.link")
local malformed = require("taskengine.cli.malformed")
local obituary = require("taskengine.cli.obituary")
local options = require("taskengine.options")
local say = require("taskengine.cli.say")
local show = require("taskengine.cli.show")
local suggest = require("taskengine.suggest")

local command = {}

local LISTED <const> = 50
local NAMES <const> = { "list", "show", "requeue", "delete" }
local known = options.DEAD.known

local SECONDS <const> =
  { [""] = 1, s = 1, m = 60, h = 3600, d = 86400, w = 7 * 86400 }

local function read_duration(text)
  local number, unit = text:match("^(%d+%.?%d*)([smhdw]?)$")
  local seconds = number and tonumber(number) * SECONDS[unit]
  if seconds and known.older(seconds) then
    return seconds
  end
  return nil, "a duration such as 90s, 15m, 2h or 3d, up to 100 years"
end

command.spec = {
  name = "dead",
  usage = "dead [list|show|requeue|delete] [ID...] [OPTIONS]",
  about = "Shows tasks that failed for good, the last one first, and runs them"
    .. " again: requeue puts a task back into its queue under its id, with all"
    .. " its retries before it. They are kept for 7 days, the last 10,000 of"
    .. " them. requeue and delete take ids, or a filter, or --all; without ids"
    .. " they say how many there are and ask.",
  operands = { "ACTION", "ID", min = 0, max = 1001, words = NAMES },
  options = {
    {
      long = "task", value = "NAME", accepts = known.task,
      help = "those of this task",
    },
    {
      short = "Q", long = "queue", value = "NAME", accepts = known.queue,
      help = "those of this queue",
    },
    {
      long = "kind", value = "KIND", accepts = known.kind,
      help = "those whose error is of this kind, such as WorkerLost",
    },
    {
      long = "older", value = "DURATION", read = read_duration,
      help = "that died so long ago or earlier: 90s, 15m, 2h, 3d",
    },
    {
      long = "newer", value = "DURATION", read = read_duration,
      help = "that died so long ago or later",
    },
    {
      long = "limit", value = "N", accepts = known.limit,
      help = "no more than that, the last ones to die (default of list: 50)",
    },
    { long = "all", help = "all of them" },
    {
      long = "malformed",
      help = "what stood in a queue and is no task, instead of tasks",
    },
    confirm.YES,
    link.FILE, common.BROKER, common.CONFIG, common.JSON,
  },
  examples = {
    "taskengine dead",
    "taskengine dead show dUJ3kxQ8aWbL00000001",
    "taskengine dead requeue dUJ3kxQ8aWbL00000001",
    "taskengine dead requeue --kind WorkerLost --newer 2h",
    "taskengine dead delete --older 3d --yes",
    "taskengine dead list --malformed",
  },
}

local FILTERS <const> = { "task", "queue", "kind", "older", "newer", "limit" }

local function filter_of(given)
  local filter
  for _, name in ipairs(FILTERS) do
    if given[name] ~= nil then
      filter = filter or {}
      filter[name] = given[name]
    end
  end
  return filter
end

local function counted(count)
  return ("%d %s"):format(count, count == 1 and "task" or "tasks")
end

local function missing(id)
  return ("%s is not among the dead"):format(id)
end

local function write_json(entries, has_more)
  local out = {}
  for i, entry in ipairs(entries) do
    out[i] = obituary.fields(entry)
  end
  show.json { dead = out, more = has_more }
end

local function write_list(entries, has_more)
  if #entries == 0 then
    io.write("no dead task\n")
  else
    obituary.list(entries)
  end
  if has_more then
    say.note("there are more; --limit N or --all shows them, --task, --queue,"
      .. " --kind and --newer choose")
  end
end

local function list(way, given)
  local filter = filter_of(given) or {}
  local limit = filter.limit or not given.all and LISTED or math.huge
  filter.limit = limit < math.huge and limit + 1 or nil
  local entries = dead.list(way, filter)
  local has_more = #entries > limit
  if has_more then
    entries[#entries] = nil -- there are `limit` without it
  end
  local write = given.json and write_json or write_list
  write(entries, has_more)
  return exit.OK
end

local function show_one(way, given)
  local entry = dead.find(way, given[2])
  local details = entry and entry:details()
  if not details then
    exit.raise(exit.FAILED, missing(given[2]),
      ("taskengine result %s says what became of it"):format(given[2]))
  elseif given.json then
    show.json(obituary.whole(entry, details))
  else
    obituary.write(entry, details)
  end
  return exit.OK
end

-- The entries of the ids that were given; how many are there no more. One
-- entry may be named more than once, also by both of its ids.
local function named(way, given)
  local entries, gone, seen = {}, 0, {}
  for i = #given, 2, -1 do -- the last of a list goes first
    local entry = dead.find(way, given[i])
    local id = entry and entry.engine_id or given[i]
    if entry and not seen[id] then
      entries[#entries + 1] = entry
    elseif not seen[id] then
      say.problem(missing(id))
      gone = gone + 1
    end
    seen[id] = true
  end
  return entries, gone
end

-- What is meant; nil when the user was asked and does not want it.
local function choose(way, given)
  if #given > 1 then
    return named(way, given)
  end
  local entries = dead.list(way, filter_of(given) or {})
  local question = ("%s %s"):format(given[1], counted(#entries))
  if #entries > 0 and not given.yes and not confirm.ask(question) then
    say.note("nothing was done")
    return nil
  end
  return entries, 0
end

-- How many were answered how.
local function tally(entries, answers)
  local counts = {}
  for _, entry in ipairs(entries) do
    local answer = answers[entry]
    counts[answer] = (counts[answer] or 0) + 1
  end
  return counts
end

local function note_unserved(entries, answers)
  local queues, names = {}, {}
  for _, entry in ipairs(entries) do
    if answers[entry] == "unserved" then
      if not queues[entry.queue] then
        names[#names + 1] = entry.queue
      end
      queues[entry.queue] = (queues[entry.queue] or 0) + 1
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    say.note(("no worker serves the queue %s now: %s there for one"):format(
      name, queues[name] == 1 and "1 task waits"
        or queues[name] .. " tasks wait"))
  end
end

local TAKEN <const> = "%s stays dead: the id that its caller chose belongs to"
  .. " another task by now, or it is unique and one like it has not ended"
local RUNNING <const> = "%s stays dead as long as its flow goes on: requeue it"
  .. " when that has ended (taskengine flow %s)"

-- What was chosen by a filter and is gone was dealt with by others meanwhile,
-- or runs again with all that failed in its flow.
local function note_refused(given, entries, answers)
  for _, entry in ipairs(entries) do
    if answers[entry] == "taken" then
      say.problem(TAKEN:format(entry.engine_id))
    elseif answers[entry] == "running" then
      say.problem(RUNNING:format(entry.engine_id, entry.engine_id))
    elseif answers[entry] == "missing" and #given > 1 then
      say.problem(missing(entry.id))
    end
  end
end

local function write_counts(given, what, counts)
  if given.json then
    show.json {
      [what] = counts.done,
      missing = counts.missing or 0,
      taken = what == "requeued" and (counts.taken or 0) or nil,
      running = what == "requeued" and (counts.running or 0) or nil,
    }
  else
    io.write(("%s %s\n"):format(what, counted(counts.done)))
  end
end

local function report(given, what, entries, answers, gone)
  local counts = tally(entries, answers)
  counts.done = (counts[what] or 0) + (counts.unserved or 0)
  counts.missing = gone + (counts.missing or 0)
  note_refused(given, entries, answers)
  note_unserved(entries, answers)
  write_counts(given, what, counts)
  -- What others have dealt with meanwhile is no matter, unless it was named.
  local is_bad = counts.taken or counts.running
    or #given > 1 and counts.missing > 0
  return is_bad and exit.FAILED or exit.OK
end

local function act(name, what)
  return function(way, given)
    local entries, gone = choose(way, given)
    if not entries then
      return exit.FAILED
    end
    return report(given, what, entries, dead[name](way, entries), gone)
  end
end

local ACTIONS <const> = {
  list = list,
  show = show_one,
  requeue = act("requeue", "requeued"),
  delete = act("delete", "deleted"),
}

-- requeue and delete: one way to say which.
local function check_choice(given)
  local filter = filter_of(given)
  local ways = (#given > 1 and 1 or 0) + (filter and 1 or 0)
    + (given.all and 1 or 0)
  if ways == 0 then
    exit.usage(("dead: which tasks is it to %s?"):format(given[1]),
      "ids, a filter such as --task NAME, or --all")
  elseif ways > 1 then
    exit.usage("dead: ids, filters and --all exclude each other")
  elseif #given == 1 then
    confirm.check(given, "dead", "it may be many tasks")
  end
end

-- Why a filter would not be heeded; nil when it would.
local function problem_with(given, name)
  local action = given[1]
  local is_count = action == "list" and name == "limit"
  if action == "show" then
    return ("show takes one ID, and no --%s"):format(name)
  elseif given.malformed and not is_count then
    return ("--%s is for tasks, and what is malformed is none"):format(name)
  elseif given.all and is_count then
    return "--all and --limit exclude each other"
  end
end

local function check_filter(given)
  for _, name in ipairs(FILTERS) do
    local problem = given[name] ~= nil and problem_with(given, name)
    if problem then
      exit.usage("dead: " .. problem)
    end
  end
end

local function check_usage(given)
  local action = given[1]
  if not ACTIONS[action] then
    exit.usage(("dead: unknown action '%s'%s"):format(say.clean(action),
      suggest.hint(action, NAMES)), "one of list, show, requeue, delete")
  elseif action == "show" and #given ~= 2 then
    exit.usage("dead: show takes one ID")
  elseif action == "list" and #given > 1 then
    exit.usage("dead: list takes no ID", "taskengine dead show ID")
  elseif action == "requeue" or action == "delete" then
    check_choice(given)
  end
  for i = 2, #given do
    if not check.name(given[i]) then
      exit.usage(check.problem("dead: ID", check.name, given[i]))
    end
  end
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function command.run(given)
  given[1] = given[1] or "list"
  check_filter(given)
  check_usage(given)
  if given.malformed then
    return malformed.run(link.open, given)
  end
  return ACTIONS[given[1]](link.open(given), given)
end

return command
