--- `taskengine control`: tells workers what to do. Now: to end tasks.
-- @module taskengine.cli.control

local check = require("taskengine.check")
local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local exit = require("taskengine.cli.exit")
local link = require("taskengine.cli.link")
local revoke = require("taskengine.revoke")
local say = require("taskengine.cli.say")
local show = require("taskengine.cli.show")
local suggest = require("taskengine.suggest")

local control = {}

local NAMES <const> = { "revoke" }

control.spec = {
  name = "control",
  usage = "control revoke ID... [OPTIONS]",
  about = "Revokes tasks, whoever has sent them. One that waits never begins."
    .. " One that runs is asked to end: an error of kind Revoked is raised in"
    .. " it, once. With --terminate it is ended a second later if it goes on,"
    .. " for which its process may be killed; other tasks there go back to"
    .. " their queues. The ID of a workflow stands for all of it that has not"
    .. " ended. Exit code 1: one of them has ended before, or there is"
    .. " no such task.",
  operands = { "WHAT", "ID", min = 1, max = 1001, words = NAMES },
  options = {
    {
      long = "terminate",
      help = "end what still runs a second later, by force",
    },
    link.FILE, common.BROKER, common.CONFIG, common.JSON,
  },
  examples = {
    "taskengine control revoke dUJ3kxQ8aWbL00000001",
    "taskengine control revoke cleanup-monday --terminate --json",
  },
}

local function check_usage(given)
  if given[1] ~= NAMES[1] then
    exit.usage(("control: unknown '%s'%s"):format(say.clean(given[1]),
      suggest.hint(given[1], NAMES)), "taskengine control revoke ID...")
  elseif not given[2] then
    exit.usage("control: revoke takes an ID, or more",
      "taskengine control revoke ID...")
  end
  for i = 2, #given do
    if not check.name(given[i]) then
      exit.usage(check.problem("control: ID", check.name, given[i]))
    end
  end
end

local REFUSED <const> = {
  finished = "%s has ended before",
  unknown = "%s was never enqueued, or nothing is remembered of it",
}

local function counted(count, noun)
  return ("%d %s%s"):format(count, noun, count == 1 and "" or "s")
end

-- A workflow is however many tasks.
local function revoked(count, flows)
  if flows == 0 then
    return counted(count, "task")
  end
  local whole = counted(flows, "workflow")
  return count == flows and whole
    or counted(count - flows, "task") .. " and " .. whole
end

local function write(counts, answers)
  local flows = 0
  for _, one in ipairs(answers) do
    if REFUSED[one.answer] then
      say.problem(REFUSED[one.answer]:format(one.id))
    elseif core.envelope.seq(one.id) == 0 then
      flows = flows + 1
    end
  end
  io.write("revoked ", revoked(counts.revoked, flows), "\n")
  if counts.asked > 0 then
    io.write("asked ", counted(counts.asked, "task"), " to end\n")
  end
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function control.run(given)
  check_usage(given)
  local answers = {}
  local counts = revoke.many(link.open(given), #given - 1, function(i)
    return given[i + 1]
  end, { terminate = given.terminate }, function(id, answer)
    answers[#answers + 1] = { id = id, answer = answer }
  end)
  if given.json then
    counts.tasks = answers
    show.json(counts)
  else
    write(counts, answers)
  end
  return counts.finished + counts.unknown > 0 and exit.FAILED or exit.OK
end

return control
