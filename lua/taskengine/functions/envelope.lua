-- The header of an envelope, which is all of it that is ever read.

te.VERSION = 1
te.HEADER_BYTES = 102
te.PRIORITY_MAX = 9
local FAILS_WHEN_LOST = 2

-- Counts one up in a byte that stops at 255.
function te.raise(env, i)
  return te.patch(env, i, char(math.min(byte(env, i) + 1, 255)))
end

te.AT_ATTEMPT, te.AT_DEATHS, te.AT_REAPS = 23, 24, 25
-- The flag of a task of which something is noted, in `h`.
te.HAS_PAST = 16

-- One more delivery that came back unfinished.
function te.returned(env)
  local n = te.number_at(env, 27, 4)
  return te.patch(env, 27, te.bytes_of(math.min(n + 1, 4294967295), 4))
end

function te.id(env)
  return sub(env, 1, 20)
end

-- Whether it is a node of a flow.
function te.is_node(env)
  return byte(env, 59) ~= 0
end

function te.queue(env)
  return sub(env, 103, 102 + (byte(env, 99) or 0))
end

function te.priority(env)
  return byte(env, 26)
end

-- How often it was retried.
function te.attempt(env)
  return byte(env, 23)
end

function te.keeps_result(env)
  return byte(env, 22) % 2 == 0
end

function te.fails_when_lost(env)
  return te.is_set(byte(env, 22), FAILS_WHEN_LOST)
end

function te.has_past(env)
  return te.is_set(byte(env, 22), te.HAS_PAST)
end

-- The flag of a unique task whose lock goes when it is first fetched.
te.UNIQUE_START = 32
function te.unlocks_at_start(flags)
  return te.is_set(flags, te.UNIQUE_START)
end

te.NO_DIGEST = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
te.NO_EXPIRY = "\0\0\0\0\0\0\0\0"

function te.has_expiry(env)
  return sub(env, 31, 38) ~= te.NO_EXPIRY
end

function te.expiry(env)
  return te.number_at(env, 31, 8)
end

function te.ttl_ms(env)
  return te.number_at(env, 55, 4) * 1000
end

-- The id that the caller chose, or nil.
function te.alias(env)
  local n = byte(env, 102)
  if n > 0 then
    local start = 103 + byte(env, 99) + byte(env, 100) + byte(env, 101)
    return sub(env, start, start + n - 1)
  end
end

-- Where the names end and the body begins behind.
function te.names_end(env)
  local queue, name, limit_key, alias = byte(env, 99, 102)
  return te.HEADER_BYTES + queue + name + limit_key + alias
end

-- What a template says is read from the envelope of no task.
function te.from_template(bytes)
  return "--------------------" .. bytes .. "-"
end

-- Version, priority, queue and flags; 0 for what no version of ours has
-- written.
-- One look at the bytes for each task that is fetched: this is a hot path.
function te.read_header(env)
  local queue, name, limit_key, alias = byte(env, 99, 102)
  if alias and queue > 0
    and #env > te.HEADER_BYTES + queue + name + limit_key + alias then
    local version, flags, _, _, _, priority = byte(env, 21, 26)
    return version, priority, sub(env, 103, 102 + queue), flags
  end
  return 0
end
