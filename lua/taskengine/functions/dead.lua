-- te1_dead, te1_dead_read, te1_requeue, te1_delete: tasks that failed for
-- good; te1_history: what is noted of a task, that processes died with it or
-- attempts failed; te1_malformed, te1_drop_malformed: what is no task at all.

local READ_MAX = 1000
-- Of envelopes that one call reads or moves; a single one may be larger.
local READ_BYTES_MAX = 16 * 1024 * 1024
local TRIMMED_MAX = 100
-- Of what is noted about a task, the last so many, none with a longer record.
local PAST_MAX, PAST_RECORD_BYTES_MAX = 16, 4096
-- What stands where a note names a worker, when there was none.
local NOBODY = "------------\0\0\0"

-- What a worker says of itself, as far as a person needs it to find the
-- process: name, host and pid, each with its length in front.
function te.about(P, wid)
  local ok, about = pcall(cmsgpack.unpack, call("HGET", P .. "wi", wid) or "")
  about = ok and type(about) == "table" and about or {}
  local words = ""
  for _, value in ipairs {
    about.name or "", about.host or "", about.pid or "",
  } do
    local text = sub(tostring(value), 1, 255)
    words = words .. char(#text) .. text
  end
  return words
end

-- Notes what happened to a task. Returns the envelope, which then says that
-- there is something: such a task never ends without its envelope being read.
function te.note(P, env, now, letter, who, record)
  local key = P .. "h:" .. te.id(env)
  if #record > PAST_RECORD_BYTES_MAX then
    record = ""
  end
  call("RPUSH", key, te.bytes_of(now, 8) .. letter .. who .. record)
  call("LTRIM", key, -PAST_MAX, -1)
  call("PEXPIRE", key, te.KEPT_MS)
  return te.with_past(env)
end

-- How long what was noted is kept after a task's end. The attempts of one that
-- was retried are kept beside its outcome.
local function past_ms(env, record)
  if sub(record, 1, 1) == "F" then
    return te.KEPT_MS
  end
  return te.attempt(env) > 0 and te.keeps_result(env) and te.ttl_ms(env) or 0
end

-- What was noted goes with the task, and what it said of itself.
function te.close_past(P, env, record)
  if te.has_past(env) then
    local key, ms = P .. "h:" .. te.id(env), past_ms(env, record)
    call("HDEL", P .. "st", te.id(env))
    if ms > 0 then
      call("PEXPIRE", key, ms)
    else
      call("UNLINK", key)
    end
  end
end

local function size_of(P, id)
  return call("HSTRLEN", P .. "t", id) + call("HSTRLEN", P .. "e", id)
end

-- Takes entries out, but for what was noted of their tasks.
local function take_out(P, ids)
  local size = 0
  for i = 1, #ids do
    size = size + size_of(P, ids[i])
  end
  call("ZREM", P .. "x", unpack(ids))
  call("HDEL", P .. "t", unpack(ids))
  call("HDEL", P .. "e", unpack(ids))
  if call("EXISTS", P .. "x") == 0 then
    call("HDEL", P .. "n", "dead")
  else
    call("HINCRBY", P .. "n", "dead", 0 - size)
  end
end

-- A task that is done again by its flow.
function te.take_dead(P, id)
  if call("ZSCORE", P .. "x", id) then
    take_out(P, { id })
  end
end

local function drop(P, ids)
  if #ids == 0 then
    return
  end
  local pasts = {}
  for i = 1, #ids do
    pasts[i] = P .. "h:" .. ids[i]
  end
  take_out(P, ids)
  call("UNLINK", unpack(pasts))
end

-- The oldest, as many as are too many bytes.
local function too_heavy(P, total)
  local ids, heavy = call("ZRANGE", P .. "x", 0, TRIMMED_MAX - 1), {}
  for i = 1, #ids do
    if total <= te.DEAD_BYTES_MAX then
      break
    end
    heavy[i] = ids[i]
    total = total - size_of(P, ids[i])
  end
  return heavy
end

-- Keeps the dead bounded, by age, by number and by bytes: `total` of them, if
-- that is known.
function te.trim_dead(P, now, total)
  local x = P .. "x"
  local old = call("ZRANGE", x, "-inf",
    string.format("%.0f", now - te.KEPT_MS), "BYSCORE", "LIMIT", 0,
    TRIMMED_MAX)
  local over = call("ZCARD", x) - #old - te.DEAD_MAX
  if over > 0 then
    local more = call("ZRANGE", x, #old,
      #old + math.min(over, TRIMMED_MAX) - 1)
    for i = 1, #more do
      old[#old + 1] = more[i]
    end
  end
  drop(P, old)
  if #old > 0 or not total then
    total = tonumber(call("HGET", P .. "n", "dead") or 0) or 0
  end
  if total > te.DEAD_BYTES_MAX then
    drop(P, too_heavy(P, total))
  end
end

-- Keeps a task that failed for good, with all that it takes to run it again.
function te.keep_dead(P, env, record, now)
  local id = te.id(env)
  call("HSET", P .. "t", id, env)
  call("HSET", P .. "e", id, record)
  call("ZADD", P .. "x", string.format("%.0f", now), id)
  te.trim_dead(P, now, call("HINCRBY", P .. "n", "dead", #env + #record))
end

-- A time as it was asked for: ms, or -ms for so long ago, or without an end.
local function moment(text, now)
  local ago = string.match(text, "^%-(%d+)$")
  return ago and string.format("%.0f", now - ago) or text
end

te.register("dead", function(keys, args)
  local count, now = math.min(tonumber(args[3]), te.DEAD_MAX), te.now()
  return call("ZRANGE", keys[1] .. "x", moment(args[2], now),
    moment(args[1], now), "BYSCORE", "REV", "LIMIT", 0, count, "WITHSCORES")
end, { "no-writes" })

-- An entry, or "-" when there is none, or one that somebody has damaged.
local function read(P, id, is_whole)
  local at = call("ZSCORE", P .. "x", id)
  local env = at and call("HGET", P .. "t", id)
  if not env or not te.is_sound(env, id) then
    return "-"
  end
  local record = call("HGET", P .. "e", id) or ""
  return {
    id, at,
    is_whole and env or sub(env, 1, te.names_end(env)), #env,
    (is_whole or #record <= te.INLINE_BYTES_MAX) and record or ">",
    is_whole and call("LRANGE", P .. "h:" .. id, 0, -1) or {},
  }
end

te.register("dead_read", function(keys, args)
  local P, out, bytes = keys[1], {}, 0
  if #args - 1 > READ_MAX then
    return redis.error_reply("ERR te1_dead_read: too many at once")
  end
  for i = 2, #args do
    local id = te.resolve(P, args[i])
    local size = size_of(P, id)
    if bytes > 0 and bytes + size > READ_BYTES_MAX then
      out[i - 1] = ">"
    else
      out[i - 1] = read(P, id, args[1] == "1")
      bytes = bytes + size
    end
  end
  return out
end, { "no-writes" })

te.register("history", function(keys, args)
  local id = te.resolve(keys[1], args[1])
  return call("LRANGE", keys[1] .. "h:" .. id, 0, -1)
end, { "no-writes" })

-- The entry that is meant: the one of this id, if it died at that time. A
-- request that comes late finds another death, or none.
local function find(P, any_id, at)
  local id = te.resolve(P, any_id)
  local died = call("ZSCORE", P .. "x", id)
  if died and (at == "" or at == died) then
    return id
  end
end

-- As new, but for what was noted of it. An expiry that has passed would end
-- it before it begins.
local function renewed(env, now)
  env = te.patch(te.patch(env, 23, "\0\0\0"), 27, "\0\0\0\0")
  if te.expiry(env) <= now then
    env = te.patch(env, 31, te.NO_EXPIRY)
  end
  return env
end

-- Ids lead to the task again: the caller's, and its own once the producer is
-- no longer remembered.
local function remember_ids(P, id, alias)
  if alias then
    call("SET", P .. "u:" .. alias, id)
  end
  if not te.was_enqueued(P, id) then
    call("SET", P .. "u:" .. id, id, "PX", te.KEPT_MS)
  end
end

-- Whether the caller's id is another task's now, or one like it is there.
local function is_taken(P, id, env, alias, now)
  local owner = alias and call("GET", P .. "u:" .. alias)
  return owner and owner ~= id
    or te.digest(env) and te.lock(P, env, "", now)
end

-- With a member all that has failed in its flow is done again, once the flow
-- has ended; also for others of that flow which are asked for meanwhile.
local FLOW_ANSWERS = {
  retried = "requeued", running = "running", nothing = "missing",
}

local function requeue_flow(flow)
  return flow.passes and "requeued" or FLOW_ANSWERS[te.retry_flow(flow)]
end

-- Puts a task back into its queue. Those who have its old outcome keep it,
-- who asks from now on waits for the new one.
local function requeue(P, id, now)
  local env = call("HGET", P .. "t", id)
  local record = call("HGET", P .. "e", id) or ""
  if not env or not te.is_sound(env, id) then
    drop(P, { id })
    te.keep_malformed(P, env or id)
    return "missing"
  end
  local flow = te.flow_of(P, env)
  if flow then
    return requeue_flow(flow)
  end
  local alias = te.alias(env)
  if is_taken(P, id, env, alias, now) then
    return "taken"
  end
  take_out(P, { id })
  call("HDEL", P .. "v:" .. sub(id, 1, 19), sub(id, 20))
  remember_ids(P, id, alias)
  env = te.note(P, renewed(env, now), now, "q", NOBODY, record)
  te.count(P, te.queue(env), "requeued", 1)
  te.make_ready(P, env)
  te.ring(P, te.queue(env), 1)
  return call("EXISTS", P .. "ws:" .. te.queue(env)) == 1 and "requeued"
    or "unserved"
end

te.register("requeue", function(keys, args)
  local P, now, out, bytes = keys[1], te.now(), {}, 0
  if #args > 2 * READ_MAX then
    return redis.error_reply("ERR te1_requeue: too many at once")
  end
  for i = 1, #args, 2 do
    local id = find(P, args[i], args[i + 1])
    bytes = bytes + (id and size_of(P, id) or 0)
    out[#out + 1] = not id and "missing"
      or i > 1 and bytes > READ_BYTES_MAX and "later"
      or requeue(P, id, now)
  end
  te.go_on_with_flows(P)
  return out
end, {})

te.register("delete", function(keys, args)
  local P, out = keys[1], {}
  if #args > 2 * READ_MAX then
    return redis.error_reply("ERR te1_delete: too many at once")
  end
  for i = 1, #args, 2 do
    local id = find(P, args[i], args[i + 1])
    if id then
      drop(P, { id })
    end
    out[#out + 1] = id and "deleted" or "missing"
  end
  return out
end)

te.register("malformed", function(keys, args)
  local first, count = tonumber(args[1]), math.min(tonumber(args[2]), READ_MAX)
  return call("LRANGE", keys[1] .. "m", first, first + count - 1)
end, { "no-writes" })

te.register("drop_malformed", function(keys, args)
  local m, n, dropped = keys[1] .. "m", keys[1] .. "n", 0
  for i = 1, math.min(#args, READ_MAX) do
    local found = call("LREM", m, 0, args[i])
    dropped = dropped + found
    call("HINCRBY", n, "malformed", 0 - found * #args[i])
  end
  if call("EXISTS", m) == 0 then
    call("HDEL", n, "malformed", "dropped")
  end
  return dropped
end)
