--- What the options of a call make of a task to be sent.
-- @module taskengine.message

local caller = require("taskengine.caller")
local core = require("taskengine.core")
local moment = require("taskengine.moment")
local size = require("taskengine.size")
local unique = require("taskengine.unique")

local message = {}

local milliseconds = moment.milliseconds

--- What a serializer is called, and its flag.
message.SERIALIZERS = { json = core.envelope.JSON, msgpack = 0 }

-- Where a task goes that names no queue.
message.QUEUE = "default"

-- A field of the call, else of the task.
local function pick(name, options, task)
  local value = options[name]
  if value == nil then
    value = task[name]
  end
  return value
end

--- Checks that the soft time limit comes before the hard one.
-- @tparam string name of the task
-- @tparam ?number soft in seconds
-- @tparam ?number hard in seconds
-- @raise at the line of the caller's program
function message.check_limits(name, soft, hard)
  if soft and hard and soft >= hard then
    caller.raise(("task '%s': the soft time limit (%.14g s) has to be less than"
      .. " the time limit (%.14g s)"):format(name, soft, hard))
  end
end

-- Until when it is worth being run, and whether that is a deadline of all its
-- attempts: the call's, else the task's.
local function end_of(options, task)
  local source = (options.expires or options.deadline) and options or task
  return source.expires or source.deadline, source.deadline ~= nil
end

local function flags_of(options, task, serializer, rule)
  local flags = message.SERIALIZERS[serializer]
  if select(2, end_of(options, task)) then
    flags = flags | core.envelope.DEADLINE
  end
  if pick("ignore_result", options, task) then
    flags = flags | core.envelope.NO_RESULT
  end
  if task.acks_late == false or task.reject_on_worker_lost == false then
    flags = flags | core.envelope.LOST_FAILS
  end
  if rule and rule.ends_at_start then
    flags = flags | core.envelope.UNIQUE_START
  end
  if task.track_started then
    flags = flags | core.envelope.TRACK_STARTED
  end
  return flags
end

-- What travels of a call's own retries: true says nothing. For ever is false,
-- because JSON has no infinity.
local function retry_of(options)
  local given = options.retry
  if given == false then
    return false
  elseif type(given) ~= "table" then
    return nil
  end
  local out = {}
  for name, value in pairs(given) do
    out[name] = value ~= math.huge and value
  end
  return out
end

local function delay_of(options)
  if options.countdown and options.countdown > 0 then
    return ("+%d"):format(milliseconds(options.countdown))
  elseif options.eta then
    return ("%d"):format(milliseconds(moment.seconds(options.eta)))
  end
  return ""
end

-- A caller's id: a name for a task, or an id that is one of ours already.
local function set_id(m, task_id)
  local lock = m.rule and m.rule.lock or ""
  m.shown_id = task_id
  if not task_id then
    m.unique = lock
  elseif core.envelope.seq(task_id) then
    m.unique, m.own_id = lock .. "i", task_id
  elseif m.rule then
    caller.raise(("task '%s': task_id and unique both say which tasks are the"
      .. " same, one will do (unique = false for this call)"):format(m.name))
  else
    m.unique = "u" .. task_id
  end
end

-- Whether its body says more than the arguments.
local function is_special(m)
  return m.headers ~= nil or m.retry ~= nil or m.memory_limit ~= nil
end

--- A call that is ready to be packed.
-- @table Message
-- @tfield string name of the task
-- @tfield string template of its envelope
-- @tfield string queue
-- @tfield boolean is_plain ready at once and nothing special
-- @tfield boolean is_special its body says more than the arguments
-- @tfield string delay
-- @tfield string expires
-- @tfield string unique these three as docs/protocol.md has them
-- @tfield ?string own_id the id that its envelope must have
-- @tfield ?string shown_id the id that the caller chose
-- @tfield ?Rule rule of a unique task, which is to go through
-- @{message.of_call} or @{message.of_calls} first
-- @tfield ?table fields of its template, for those
-- @tfield ?{string,...} digests of many calls
-- @tfield boolean keeps_result
-- @tfield int result_ttl_s
-- @tfield ?table headers
-- @tfield ?table|boolean retry what the call says of its retries
-- @tfield ?int memory_limit the call's, in bytes

--- Makes one.
-- @tparam string name of the task
-- @tparam table task its options
-- @tparam table options of the call; both were checked
-- @tparam table settings `result_expires`, `serializer`
-- @treturn Message
-- @raise when its soft time limit is not less than its time limit
function message.new(name, task, options, settings)
  local expires = end_of(options, task)
  local limit = pick("time_limit", options, task)
  local soft_limit = pick("soft_time_limit", options, task)
  message.check_limits(name, soft_limit, limit)
  local m = {
    name = name,
    queue = pick("queue", options, task) or message.QUEUE,
    delay = delay_of(options),
    expires = expires and ("%d"):format(milliseconds(expires)) or "",
    headers = options.headers,
    retry = retry_of(options),
    memory_limit = size.bytes(options.memory_limit),
    rule = unique.rule(name, pick("unique", options, task)),
    result_ttl_s = settings.result_expires,
  }
  m.is_special = is_special(m)
  set_id(m, options.task_id)
  local flags = flags_of(options, task, settings.serializer, m.rule)
  local priority = pick("priority", options, task) or 0
  m.keeps_result = flags & core.envelope.NO_RESULT == 0
  m.is_plain = priority == 0 and m.delay == "" and m.expires == ""
    and m.unique == ""
  local fields = {
    queue = m.queue,
    name = name,
    priority = priority,
    flags = flags,
    time_limit_ms = milliseconds(limit or 0),
    soft_time_limit_ms = milliseconds(soft_limit or 0),
    result_ttl_s = settings.result_expires,
    alias = m.shown_id,
  }
  m.template = core.envelope.template(fields)
  m.fields = m.rule and fields
  return m
end

local function copy_of(m)
  local copy = {}
  for name, value in pairs(m) do
    copy[name] = value
  end
  return copy
end

--- The template for a call with this digest.
-- @tparam Message m
-- @tparam string digest
-- @treturn string
function message.template(m, digest)
  m.fields.unique = digest
  return core.envelope.template(m.fields)
end

--- The message for one call. That of a unique task differs from call to call.
-- @tparam Message m
-- @tparam table args
-- @tparam ?string over see @{taskengine.unique.digest}
-- @treturn Message
-- @raise when the task's own key is none
function message.of_call(m, args, over)
  if not m.rule then
    return m
  end
  local copy = copy_of(m)
  copy.template = message.template(m, unique.digest(m.rule, m.name, args,
    over))
  return copy
end

--- The message for many calls.
-- @tparam Message m
-- @tparam {table,...} list of lists of arguments
-- @treturn Message
-- @raise when the task's own key is none
function message.of_calls(m, list)
  if not m.rule then
    return m
  end
  local copy, digests = copy_of(m), {}
  for i = 1, #list do
    digests[i] = unique.digest(m.rule, m.name, list[i])
  end
  copy.digests = digests
  return copy
end

return message
