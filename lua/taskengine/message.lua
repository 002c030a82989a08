--- What the options of a call make of a task to be sent.
-- @module taskengine.message

local caller = require("taskengine.caller")
local core = require("taskengine.core")
local moment = require("taskengine.moment")
local size = require("taskengine.size")

local message = {}

--- What a serializer is called, and its flag.
message.SERIALIZERS = { json = core.envelope.JSON, msgpack = 0 }

-- Where a task goes that names no queue.
message.QUEUE = "default"

local function milliseconds(seconds)
  return math.ceil(seconds * 1000)
end

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

local function flags_of(options, task, serializer)
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
  m.shown_id = task_id
  if not task_id then
    m.unique = ""
  elseif core.envelope.seq(task_id) then
    m.unique, m.own_id = "i", task_id
  else
    m.unique = "u" .. task_id
  end
end

--- A call that is ready to be packed.
-- @table Message
-- @tfield string name of the task
-- @tfield string template of its envelope
-- @tfield string queue
-- @tfield boolean is_plain ready at once and nothing special
-- @tfield string delay
-- @tfield string expires
-- @tfield string unique these three as docs/protocol.md has them
-- @tfield ?string own_id the id that its envelope must have
-- @tfield ?string shown_id the id that the caller chose
-- @tfield boolean keeps_result
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
  }
  set_id(m, options.task_id)
  local flags = flags_of(options, task, settings.serializer)
  local priority = pick("priority", options, task) or 0
  m.keeps_result = flags & core.envelope.NO_RESULT == 0
  m.is_plain = priority == 0 and m.delay == "" and m.expires == ""
    and m.unique == ""
  m.template = core.envelope.template {
    queue = m.queue,
    name = name,
    priority = priority,
    flags = flags,
    time_limit_ms = limit and milliseconds(limit) or 0,
    soft_time_limit_ms = soft_limit and milliseconds(soft_limit) or 0,
    result_ttl_s = settings.result_expires,
    alias = m.shown_id,
  }
  return m
end

return message
