--- What became of a task, as a command says it.
-- @module taskengine.cli.outcome

local core = require("taskengine.core")
local exit = require("taskengine.cli.exit")
local say = require("taskengine.cli.say")
local scheduler = require("taskengine.scheduler")
local show = require("taskengine.cli.show")
local standing = require("taskengine.cli.standing")

local outcome = {}

--- The option to wait.
outcome.WAIT = {
  short = "w", long = "wait", help = "wait for the result and print it",
}

--- Prepares a result to be shown: the table of a group is then a list in JSON,
-- also when it is empty, or has nothing but nil.
-- @tparam Result result
-- @treturn Result the same
function outcome.shown(result)
  result.hole = core.codec.null
  return result
end

local function show_fields(result, fields, given)
  if given.kin then
    standing.add_kin(result, fields)
  end
  show.json(fields)
end

--- Shows how a task has ended.
-- @tparam Result result
-- @tparam boolean ok whether it succeeded
-- @param value what it returned, or its error
-- @tparam table given the option `json`; `kin`: with parent and children
-- @treturn int the exit code
function outcome.show(result, ok, value, given)
  if given.json then
    local fields = { id = result.id, state = result:state() }
    if ok then
      fields.value = value
    else
      fields.error = show.error_fields(value)
    end
    show_fields(result, fields, given)
  elseif ok then
    show.value(value)
  end
  if ok then
    return exit.OK
  end
  show.failure(value)
  return exit.FAILED
end

--- Shows a task that has not ended: for programs, all that is known of it.
-- @tparam Result result
-- @tparam table info see @{taskengine.result.Result:info}
-- @tparam table given the options `json` and `kin`
-- @tparam string text for people: what is the matter
-- @tparam string advice
-- @treturn int the exit code
function outcome.show_pending(result, info, given, text, advice)
  if given.json then
    show_fields(result, standing.fields(info), given)
  end
  say.problem(("%s: %s (%s)"):format(result.id, text, standing.text(info)),
    advice)
  return exit.TIMED_OUT
end

local function advice_on(result)
  return ("later: taskengine result %s --wait"):format(result.id)
end

-- Whoever stops waiting still needs the id. The second Ctrl-C has its usual
-- effect.
local function watch_interrupt(result)
  core.loop.signal("INT", function()
    scheduler.interrupt(exit.new(exit.INTERRUPTED,
      "interrupted; the task goes on: " .. result.id, advice_on(result)))
  end, true)
end

--- Waits for a task and shows how it ended.
-- @tparam Result result
-- @tparam table given the options `timeout` and `json`
-- @treturn int the exit code
-- @raise an exit when it is interrupted
function outcome.wait(result, given)
  watch_interrupt(result)
  local ok, value = result:wait(given.timeout)
  if ok == nil then
    local info = result:info()
    if not result:known() then
      return outcome.show_pending(result, info, given,
        ("not finished within %.14g s; it goes on"):format(given.timeout),
        advice_on(result))
    end
    ok, value = result:wait(0) -- it ended at that moment
  end
  return outcome.show(result, ok, value, given)
end

return outcome
