-- What is done with whatever somebody else has written over our keys.

local MALFORMED_MAX, MALFORMED_BYTES_MAX = 10000, 16 * 1024 * 1024
local MALFORMED_EACH_BYTES_MAX = 65536
-- How long an outcome is kept of a task that cannot say so any more.
local RECORD_MS = 86400 * 1000

-- Keeps what is no task of ours for people to look at, the newest, and counts
-- what there is no room for. A list that is new starts the counts.
function te.keep_malformed(P, bytes)
  local m, n = P .. "m", P .. "n"
  bytes = sub(bytes, 1, MALFORMED_EACH_BYTES_MAX)
  if call("LPUSH", m, bytes) == 1 then
    call("HDEL", n, "malformed", "dropped")
  end
  local total = call("HINCRBY", n, "malformed", #bytes)
  while total > MALFORMED_BYTES_MAX or call("LLEN", m) > MALFORMED_MAX do
    local oldest = call("RPOP", m)
    if not oldest then
      break
    end
    total = call("HINCRBY", n, "malformed", 0 - #oldest)
    call("HINCRBY", n, "dropped", "1")
  end
  call("PEXPIRE", m, te.KEPT_MS)
end

-- Moves a key of the wrong type to where no function looks; a line among the
-- malformed says so.
local function set_aside(key)
  local P, name = string.match(key, "^(te:%b{}:)(.*)$")
  local kind = call("TYPE", key).ok
  local place = string.format("%sm:%.0f:%s", P, te.now(), name)
  call("RENAME", key, place)
  call("PEXPIRE", place, te.KEPT_MS)
  te.keep_malformed(P, string.format("%s was a %s: it is now %s", key, kind,
    place))
end

-- Takes a counter that cannot be counted up, so that it starts anew.
local function set_aside_field(key, field)
  local P = string.match(key, "^te:%b{}:")
  te.keep_malformed(P, string.format("%s of %s was %s", field, key,
    call("HGET", key, field)))
  call("HDEL", key, field)
end

-- Repeats a command that Redis refused, when the reason is gone. A function
-- that may not write takes the key for missing.
function te.mend(problem, command, key, ...)
  if string.find(problem.err, "^WRONGTYPE") then
    if not te.may_write then
      return redis.call(command, key .. " ", ...)
    end
    set_aside(key)
  elseif command == "HINCRBY"
    and (string.find(problem.err, "not an integer", 1, true)
      or string.find(problem.err, "overflow", 1, true)) then
    set_aside_field(key, (...))
  else
    error(problem)
  end
  return redis.call(command, key, ...)
end

-- Whether an envelope that was found under an id is that task's, by a version
-- of ours or a newer one.
function te.is_sound(env, id)
  local version, priority, queue = te.read_header(env)
  return version > 0 and priority <= te.PRIORITY_MAX
    and sub(env, 1, 20) == id
    and string.find(queue, "^[%w_.:-]+$") ~= nil
end

-- { kind = , message = } in MessagePack
local MALFORMED = "F\130\164kind\169Malformed\167message"
  .. "\217\040its envelope in Redis is damaged or gone"

-- Ends a task whose envelope is not one: `env` is what was in its place, or
-- false. Nothing more can be done for it than to keep what there is and to
-- tell those who wait; `record` is how it ended, if that is known.
function te.give_up(P, id, env, record)
  te.keep_malformed(P, env or id)
  te.unlock(P, id)
  call("HDEL", P .. "st", id)
  if te.sequence(id) and te.was_enqueued(P, id) and not te.get_outcome(P, id)
  then
    record = record or MALFORMED
    te.end_or_put(P, id, record, RECORD_MS)
    te.tell(P, id, record)
  end
end

-- Takes tasks off the front of a ready list: their envelopes, not looked at.
function te.pop_plain(P, queue, count)
  return call("LPOP", P .. "r:" .. queue, texts[count]) or {}
end

-- Takes tasks off the front of a prioritised set: their envelopes, false for
-- each that is damaged, and their ids and scores by turns.
function te.pop_prioritised(P, queue, count)
  local popped, ids = call("ZPOPMIN", P .. "p:" .. queue, texts[count]), {}
  for i = 1, #popped, 2 do
    ids[#ids + 1] = popped[i]
  end
  if #ids == 0 then
    return ids, popped
  end
  local envs = call("HMGET", P .. "t", unpack(ids))
  call("HDEL", P .. "t", unpack(ids))
  for i = 1, #ids do
    if not envs[i] or not te.is_sound(envs[i], ids[i]) then
      te.give_up(P, ids[i], envs[i])
      envs[i] = false
    end
  end
  return envs, popped
end
