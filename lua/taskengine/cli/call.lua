--- `taskengine call NAME '[ARG, ...]'`: sends a task.
-- @module taskengine.cli.call

local check = require("taskengine.check")
local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local link = require("taskengine.cli.link")
local message = require("taskengine.message")
local options = require("taskengine.options")
local outcome = require("taskengine.cli.outcome")
local result = require("taskengine.result")
local roster = require("taskengine.cli.roster")
local say = require("taskengine.cli.say")
local show = require("taskengine.cli.show")
local suggest = require("taskengine.suggest")

local call = {}

local known = options.CALL.known

call.spec = {
  name = "call",
  usage = "call NAME ['[ARG, ...]'] [OPTIONS]",
  about = "Sends a task and prints its id; with --wait its result. The"
    .. " arguments are one JSON array.",
  operands = { "NAME", "ARGUMENTS", min = 1, max = 2 },
  options = {
    outcome.WAIT,
    common.TIMEOUT,
    {
      long = "countdown", value = "SECONDS", accepts = known.countdown,
      help = "run it that much later",
    },
    {
      long = "expires", value = "SECONDS", accepts = known.expires,
      help = "do not run it later than that from now",
    },
    {
      short = "Q", long = "queue", value = "NAME", accepts = known.queue,
      help = "where to put it (default: where the task belongs)",
    },
    {
      long = "priority", value = "0-9", accepts = known.priority,
      words = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" },
      help = "9 is the most urgent (default: 0)",
    },
    {
      long = "id", value = "ID", accepts = known.task_id,
      help = "an id of your own: the same one never makes two tasks",
    },
    link.FILE,
    common.BROKER,
    common.CONFIG,
    common.JSON,
  },
  examples = {
    "taskengine call addition '[4, 6]' --wait",
    "taskengine call report '[\"2026-11\"]' --countdown 60 --queue heavy",
    "taskengine call cleanup --id cleanup-monday --json",
  },
}

local function read_arguments(text)
  local list, why = core.json.decode(text or "[]")
  if why then
    exit.usage("call: the arguments are no JSON: " .. errors.sentence(why),
      "an array in single quotes: taskengine call addition '[4, 6]'")
  end
  local is_array = text == nil or text:find("^%s*%[")
  if not is_array then
    local what = list == nil and "null" or check.describe(list)
    exit.usage("call: the arguments have to be a JSON array, got " .. what,
      "for example: '[4, 6]'")
  end
  list.n = #list
  for i = 1, list.n do
    if list[i] == core.codec.null then
      list[i] = nil -- as an argument nil keeps its place
    end
  end
  return list
end

-- Its options, its queue, and whether anybody serves that now. With a queue
-- of the caller's own only who serves that one has a say.
local function look_up(way, name, queue)
  local live = roster.live(link.status(way))
  local task = roster.find_task(queue and roster.serving(live, queue) or live,
    name)
  queue = queue or task and task.queue or message.QUEUE
  local serving = roster.serving(live, queue)
  if not task and #serving > 0 then
    exit.usage(("call: no worker on the queue %s knows a task '%s'%s"):format(
      queue, name, suggest.hint(name, roster.task_names(serving))),
      "taskengine status shows workers and their tasks")
  end
  return task or {}, queue, #serving > 0
end

local function send(way, name, task, args, opts)
  if opts.task_id and not core.envelope.seq(opts.task_id) then
    opts.unique = false -- the id says which tasks are the same
  end
  local m = message.of_call(message.new(name, task, opts, way.settings), args)
  local id = way:send(m, args, nil)
  return outcome.shown(result.new(way, not m.own_id and m.shown_id or id, {
    name = name,
    engine_id = id,
  }))
end

-- Whatever keeps Redis from saying how it ends, the task is there.
local function tell_id_on_error(sent)
  return setmetatable({}, { __close = function(_, e)
    if errors.is(e) then
      say.note("the task was sent: " .. sent.id)
    end
  end })
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function call.run(given)
  local name, args = given[1], read_arguments(given[2])
  if given.timeout and not given.wait then
    exit.usage("call: --timeout is for --wait")
  end
  if not check.name(name) then
    exit.usage(check.problem("call: NAME", check.name, name))
  end
  local way = link.open(given)
  local task, queue, is_served = look_up(way, name, given.queue)
  if given.wait and task.ignore_result then
    exit.usage(("call: the task '%s' keeps no result, there is nothing to wait"
      .. " for"):format(name), "without --wait it is sent")
  end
  local sent = send(way, name, task, args, {
    countdown = given.countdown,
    expires = given.expires,
    queue = queue,
    priority = given.priority,
    task_id = given.id,
  })
  if not given.wait then
    if given.json then
      show.json { id = sent.id }
    else
      io.write(sent.id, "\n")
    end
    return exit.OK
  elseif not is_served then
    say.note(("no worker serves the queue %s now; waiting for one"):format(
      queue))
  end
  local _ <close> = tell_id_on_error(sent)
  return outcome.wait(sent, given)
end

return call
