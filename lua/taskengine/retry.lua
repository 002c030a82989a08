--- Whether a task that failed is run again, and when.
--
-- A *policy* is a plain table; the functions here are pure, and chance comes
-- in as an argument.
-- @module taskengine.retry

local check = require("taskengine.check")

local retry = {}

local RETRIES <const>, DELAY_S <const>, BACKOFF_MAX_S <const> = 3, 180, 600
-- The header has a byte for how often it was.
local RETRIES_MAX <const> = 254
-- 100 years, as for other times.
local SECONDS_MAX <const> = 100 * 366 * 86400

-- What `autoretry_for = true` is not for: the task was told to end, or what
-- it asked for had retries of its own.
local FINAL <const> = { Revoked = true, MaxRetriesExceeded = true }

local is_count = check.integer(0, RETRIES_MAX)
local is_pause = check.seconds(0.001, SECONDS_MAX)

local function is_list_of_kinds(value)
  if type(value) ~= "table" or #value == 0 then
    return false
  end
  local count = 0
  for _, kind in pairs(value) do
    if type(kind) ~= "string" then
      return false
    end
    count = count + 1
  end
  return count == #value
end

--- What a task may say of its retries: names and their checks.
-- @table KNOWN
-- @field max_retries how often it is run again: 0 to 254; false: for ever
-- @field retry_delay seconds before it is, without retry_backoff
-- @field retry_backoff true, or the first pause in seconds: each is twice the
-- one before
-- @field retry_backoff_max the longest such pause
-- @field retry_jitter whether these are drawn by chance, from 0 on
-- @field autoretry_for after which errors: true (any), a list of kinds, or a
-- function that takes a TaskError
retry.KNOWN = {
  max_retries = check.rule("an integer from 0 to 254, or false for ever",
    function(value)
      return value == false or value == math.huge or is_count(value)
    end),
  retry_delay = check.seconds(0, SECONDS_MAX),
  retry_backoff = check.rule("true, false or the first pause in seconds, from"
    .. " 0.001 on", function(value)
      return type(value) == "boolean" or is_pause(value)
    end),
  retry_backoff_max = is_pause,
  retry_jitter = check.boolean,
  autoretry_for = check.rule("true, false, a list of kinds or a function",
    function(value)
      return type(value) == "boolean" or type(value) == "function"
        or is_list_of_kinds(value)
    end),
}

--- What a call may say instead: it travels, so that it has no function.
-- @table CALL
retry.CALL = {}
for name, accepts in pairs(retry.KNOWN) do
  retry.CALL[name] = accepts
end
retry.CALL.autoretry_for = check.rule("true, false or a list of kinds",
  function(value)
    return type(value) == "boolean" or is_list_of_kinds(value)
  end)

-- What is said of one thing: by the call, by the task, or else.
local function pick(name, override, options, default)
  local value = override[name]
  if value == nil or not retry.CALL[name](value) then
    value = options[name]
  end
  if value == nil then
    return default
  end
  return value
end

local function set_of(kinds)
  if type(kinds) ~= "table" then
    return kinds
  end
  local set = {}
  for _, kind in ipairs(kinds) do
    set[kind] = true
  end
  return set
end

--- The policy of a task, or of one call of it.
-- @tparam table options the task's
-- @tparam[opt] table|boolean override what the call says, as it came: false:
-- it is not run again
-- @treturn table
function retry.policy(options, override)
  if override == false then
    return { max_retries = 0, retry_for = false, delay_s = 0 }
  end
  override = type(override) == "table" and override or {}
  local backoff = pick("retry_backoff", override, options, false)
  return {
    max_retries = pick("max_retries", override, options, RETRIES)
      or math.huge,
    delay_s = pick("retry_delay", override, options, DELAY_S),
    backoff_s = backoff == true and 1 or backoff or nil,
    backoff_max_s =
      pick("retry_backoff_max", override, options, BACKOFF_MAX_S),
    has_jitter = pick("retry_jitter", override, options, true),
    retry_for = set_of(pick("autoretry_for", override, options, false)),
  }
end

--- How long to wait before a task is run again.
-- @tparam table policy
-- @tparam int retries how often it was
-- @tparam number chance 0 to 1, as of `math.random()`
-- @treturn number seconds
function retry.delay(policy, retries, chance)
  if not policy.backoff_s then
    return policy.delay_s
  end
  local pause = math.min(policy.backoff_s * 2.0 ^ retries,
    policy.backoff_max_s)
  return policy.has_jitter and pause * chance or pause
end

--- Whether it may be run once more.
-- @tparam table policy
-- @tparam int retries how often it was
-- @treturn boolean
function retry.has_left(policy, retries)
  return retries < policy.max_retries
end

--- Whether it is run again after an error of its own.
-- @tparam table policy
-- @tparam TaskError e
-- @treturn boolean
-- @raise what the task's predicate does
function retry.is_for(policy, e)
  local retry_for = policy.retry_for
  if type(retry_for) == "function" then
    return retry_for(e) and true or false
  elseif type(retry_for) == "table" then
    return retry_for[e.kind] or false
  end
  return retry_for and not FINAL[e.kind]
end

--- Whether it is run again after an error of this kind, which nobody is left to
-- be asked about.
-- @tparam table policy
-- @tparam string kind
-- @treturn boolean
function retry.is_for_kind(policy, kind)
  return type(policy.retry_for) ~= "function"
    and retry.is_for(policy, { kind = kind })
end

return retry
