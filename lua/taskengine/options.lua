--- Tables of named options, checked against what is known.
-- @module taskengine.options

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local retry = require("taskengine.retry")
local suggest = require("taskengine.suggest")
local unique = require("taskengine.unique")

local options = {}

-- 100 years: beyond that a time is a mistake, and milliseconds stay exact.
local SECONDS_MAX <const> = 100 * 366 * 86400
-- The header has 32 bits of milliseconds for it.
local LIMIT_SECONDS_MAX <const> = 4294967

local is_delay = check.seconds(0, SECONDS_MAX)
local is_time = check.seconds(0.001, SECONDS_MAX)
local is_limit = check.seconds(0.001, LIMIT_SECONDS_MAX)
local is_priority = check.integer(0, 9)
local is_memory = check.size(1 << 20, 1 << 40, "1M to 1T")
-- What is in it is looked at when it is attached.
local is_callback = check.callback

local function set(text)
  local out = {}
  for name in text:gmatch("%S+") do
    out[name] = true
  end
  return out
end

local function with(known, more)
  for name, accepts in pairs(more) do
    known[name] = accepts
  end
  return known
end

-- What is in the table is looked at by name.
local is_retry = check.rule("true, false or a table of max_retries,"
  .. " retry_delay, retry_backoff, retry_backoff_max, retry_jitter,"
  .. " autoretry_for", function(value)
    return type(value) == "boolean" or type(value) == "table"
  end)

local RETRY <const> = { known = retry.CALL, later = {} }

--- What `apply_async`, `send_task` and `enqueue_many` take.
options.CALL = {
  known = {
    countdown = is_delay,
    deadline = is_time,
    eta = check.moment,
    expires = is_time,
    headers = check.table,
    ignore_result = check.boolean,
    link = is_callback,
    link_error = is_callback,
    memory_limit = is_memory,
    priority = is_priority,
    queue = check.name,
    retry = is_retry,
    soft_time_limit = is_limit,
    task_id = check.name,
    time_limit = is_limit,
    unique = unique.accepts,
  },
  inner = { retry = RETRY, unique = unique.SPEC },
  later = {},
}

--- What `app:task` takes.
options.TASK = {
  known = with({
    acks_late = check.boolean,
    bind = check.boolean,
    deadline = is_time,
    expires = is_time,
    ignore_result = check.boolean,
    memory_limit = is_memory,
    priority = is_priority,
    queue = check.name,
    reject_on_worker_lost = check.boolean,
    soft_time_limit = is_limit,
    stream = check.boolean,
    time_limit = is_limit,
    track_started = check.boolean,
    unique = unique.accepts,
  }, retry.KNOWN),
  inner = { unique = unique.SPEC },
  later = set("concurrency rate_limit"),
}

--- What `self:retry` takes.
options.RETRY = {
  known = {
    args = check.table,
    countdown = is_delay,
    eta = check.moment,
    exc = check.rule("an error", function()
      return true
    end),
    max_retries = retry.KNOWN.max_retries,
  },
  later = {},
}

--- What `app:dead` takes.
options.DEAD = {
  known = {
    kind = check.string,
    limit = check.integer(1, 10000),
    newer = is_delay,
    older = is_delay,
    queue = check.name,
    task = check.name,
  },
  later = {},
}

--- What `result:revoke` takes.
options.REVOKE = { known = { terminate = check.boolean }, later = {} }

--- What `result:get` takes.
options.GET = { known = { timeout = is_delay }, later = {} }

--- What `join` of a group's results takes.
options.JOIN = {
  known = { timeout = is_delay, propagate = check.boolean },
  later = {},
}

local function sorted_names(known)
  local list = {}
  for name in pairs(known) do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

local problem_in

-- Why a table cannot hold this name, with this value; nil when it can.
local function problem_with(where, spec, name, value)
  if type(name) ~= "string" then
    return ("%s: options have names, got [%s]"):format(where,
      check.describe(name))
  end
  local accepts = spec.known[name]
  if not accepts then
    return spec.later[name]
      and ("%s: the option '%s' is not built yet"):format(where, name)
      or ("%s: unknown %s '%s'%s"):format(where, spec.noun or "option", name,
        suggest.hint(name, sorted_names(spec.known)))
  elseif not accepts(value) then
    return check.problem(where .. ": " .. name, accepts, value)
  elseif type(value) == "table" and spec.inner and spec.inner[name] then
    return problem_in(where .. ": " .. name, spec.inner[name], value)
  end
end

function problem_in(where, spec, given)
  for name, value in pairs(given) do
    local problem = problem_with(where, spec, name, value)
    if problem then
      return problem
    end
  end
end

--- Whether an option of this name may have this value.
-- @tparam table spec as for @{check}
-- @tparam string name
-- @param value
-- @treturn boolean
function options.accepts(spec, name, value)
  return problem_with("", spec, name, value) == nil
end

--- Checks a table of options.
-- @tparam string where what takes them, for messages
-- @tparam table spec `known`: names and their checks; `inner`: specs of those
-- that are tables of options, too; `later`: those to come; `noun`: what one is
-- called, an option
-- @tparam ?table given
-- @treturn table the options; empty when none were given
-- @raise at the line of the caller's program
function options.check(where, spec, given)
  if given == nil then
    return {}
  elseif type(given) ~= "table" then
    caller.raise(check.problem(where .. ": options", check.table, given))
  end
  local problem = problem_in(where, spec, given)
  if problem then
    caller.raise(problem)
  end
  return given
end

--- Checks that at most one of two says how long a task is worth being run.
-- @tparam string where for the message
-- @tparam table given
-- @raise at the line of the caller's program
function options.check_end(where, given)
  if given.expires and given.deadline then
    caller.raise(where .. ": expires is until when it may begin, deadline until"
      .. " when it has to end: one of them")
  end
end

-- Of each pair one is said: the later word takes the other's place.
local PARTNERS <const> = {
  countdown = "eta", eta = "countdown",
  expires = "deadline", deadline = "expires",
}

--- Options, and others that go before them.
-- @tparam ?table given
-- @tparam ?table own those that go before
-- @treturn ?table of both; nil when there are none. It may be one of the two,
-- so nobody changes it
function options.merge(given, own)
  if not (given and own) then
    return given or own
  end
  local all = {}
  for name, value in pairs(given) do
    all[name] = value
  end
  for name, value in pairs(own) do
    if PARTNERS[name] then
      all[PARTNERS[name]] = nil
    end
    all[name] = value
  end
  return all
end

--- Checks what a call that sends a task was given.
-- @tparam string where what was called, for messages
-- @tparam ?table args
-- @tparam ?table given options
-- @treturn ?table the options, nil when none were given
-- @raise at the line of the caller's program
function options.call(where, args, given)
  if args ~= nil and type(args) ~= "table" then
    caller.raise(check.problem(where .. ": arguments", check.table, args))
  end
  if given == nil then
    return nil
  end
  local checked = options.check(where, options.CALL, given)
  if checked.countdown and checked.eta then
    caller.raise(where .. ": countdown and eta say the same, one will do")
  end
  options.check_end(where, checked)
  return checked
end

return options
