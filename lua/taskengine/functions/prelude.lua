-- What all functions share: keys, the clock, the envelope's header.
--
-- The files of this folder are one Redis function library (library.lua puts
-- them together, this one first, so that they see its locals). They run in
-- Lua 5.1 inside Redis and in Lua 5.4 in specs, read nothing of an envelope
-- but its header, and are documented in docs/protocol.md. BUILD comes from
-- library.lua.

local te = {}

te.VERSION = 1 -- of the envelope
te.HEADER_BYTES = 102
te.DEATHS_MAX = 3
te.REAPS_MAX = 10
te.DEAD_MAX = 10000
-- Of the envelopes and outcomes of the dead.
te.DEAD_BYTES_MAX = 256 * 1024 * 1024
-- How long the dead, producers, waits and malformed envelopes are kept.
te.KEPT_MS = 7 * 86400 * 1000
te.INLINE_BYTES_MAX = 65536
te.FIELD_BYTES = 24 -- of a task in flight: id, delivery number
te.PRIORITY_MAX = 9
-- Tasks in one group or operation: Lua 5.1 unpacks fewer than 8,000 values.
te.BATCH_MAX = 4000

-- While Redis loads a library it shows it nothing but register_function: no
-- redis.call, no string. These are set when a function is first called.
local try, byte, sub, char

-- Calls Redis. What somebody else has put in the place of one of our keys must
-- not stop a transition half-way, with tasks in no place at all: it is moved
-- out of the way.
local function call(...)
  local reply = try(...)
  if type(reply) == "table" and reply.err then
    return te.mend(reply, ...)
  end
  return reply
end

local DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local digit_value = {}

local function set_up()
  byte, sub, char = string.byte, string.sub, string.char
  for i = 1, #DIGITS do
    digit_value[byte(DIGITS, i)] = i - 1
  end
  setmetatable(digit_value, { __index = function() return 0 / 0 end })
  try = redis.pcall
end

-- Milliseconds since 1970 by the clock of Redis.
function te.now()
  local t = call("TIME")
  te.moment = t[1] * 1000 + math.floor(t[2] / 1000)
  return te.moment
end

-- Big-endian, n bytes at 1-based position i.
function te.number_at(s, i, n)
  if n == 4 then -- the most of them
    local a, b, c, d = byte(s, i, i + 3)
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
  local v = 0
  for k = i, i + n - 1 do
    v = v * 256 + byte(s, k)
  end
  return v
end

function te.bytes_of(v, n)
  local out = {}
  for k = n, 1, -1 do
    out[k] = char(v % 256)
    v = math.floor(v / 256)
  end
  return table.concat(out)
end

-- The envelope with its bytes from 1-based position i replaced.
function te.patch(env, i, bytes)
  return sub(env, 1, i - 1) .. bytes .. sub(env, i + #bytes)
end

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

-- The number behind the producer in an id of the engine's form, or nil.
function te.sequence(id)
  if #id ~= 20 or string.find(id, "[^0-9A-Za-z]") then
    return nil
  end
  local d, a, b, c, e, f, g, h, i = digit_value, byte(id, 13, 20)
  return ((((((d[a] * 62 + d[b]) * 62 + d[c]) * 62 + d[e]) * 62 + d[f]) * 62
    + d[g]) * 62 + d[h]) * 62 + d[i]
end

-- The node that a flow's id says; no number at all when it is not one.
function te.node_of(id)
  local d, x, y, a, b, c, e, g, h = digit_value, byte(id, 13, 20)
  return x == 48 and y == 48 and
    ((((d[a] * 62 + d[b]) * 62 + d[c]) * 62 + d[e]) * 62 + d[g]) * 62 + d[h]
    or 0 / 0
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
  return math.floor(byte(env, 22) / 2) % 2 == 1
end

function te.has_past(env)
  return math.floor(byte(env, 22) / te.HAS_PAST) % 2 == 1
end

-- The flag of a unique task whose lock goes when it is first fetched.
te.UNIQUE_START = 32
function te.unlocks_at_start(flags)
  return math.floor(flags / te.UNIQUE_START) % 2 == 1
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

local digits = {}

-- A count as text. Redis prints a number that it is given with %.17g, which
-- takes as long as a GET: where every task passes, it is given this.
function te.text(n)
  local text = digits[n]
  if not text then
    text = string.format("%.0f", n)
    if n <= te.BATCH_MAX then
      digits[n] = text
    end
  end
  return text
end

-- Returns what the counter is now.
function te.count(P, queue, field, n)
  return call("HINCRBY", P .. "s:" .. queue, field, te.text(n))
end

-- What is counted, while it stays the same counter.
local tallied = { n = 0 }

local function write_tally()
  if tallied.n > 0 then
    local n = tallied.n
    tallied.n = 0
    te.count(tallied.P, tallied.queue, tallied.field, n)
  end
end

-- Counts one more, with others of this call: a thousand tasks that end together
-- are one command.
function te.tally(P, queue, field)
  if tallied.n == 0 or tallied.queue ~= queue or tallied.field ~= field then
    write_tally()
    tallied.P, tallied.queue, tallied.field = P, queue, field
  end
  tallied.n = tallied.n + 1
end

-- Wakes sleepers of a queue that has n new tasks: one more than n, because
-- one of them may have died in its sleep. Returns how many it woke.
function te.ring(P, queue, n)
  local wids = call("SPOP", P .. "sl:" .. queue, te.text(n + 1))
  for i = 1, #wids do
    call("RPUSH", P .. "b:" .. wids[i], "")
  end
  return #wids
end

function te.has_work(P, queue)
  return call("EXISTS", P .. "r:" .. queue, P .. "p:" .. queue) > 0
end

-- Whether any queue has a ready list.
function te.any_ready(P)
  local queues = call("SMEMBERS", P .. "q")
  for i = 1, #queues do
    if call("EXISTS", P .. "r:" .. queues[i]) == 1 then
      return true
    end
  end
  return false
end

-- Orders the prioritised set; at the head among equals when `first`.
local function score(P, env, first)
  local base = (9 - te.priority(env)) * 2 ^ 44 + 2 ^ 43
  local at
  if first then
    at = base - call("HINCRBY", P .. "n", "head", 1)
  else
    at = base + call("HINCRBY", P .. "n", "seq", 1)
  end
  return string.format("%.0f", at)
end

-- Makes a task ready; at the head of its queue when `first`.
function te.make_ready(P, env, first)
  local queue = te.queue(env)
  if te.priority(env) > 0 then
    local id = te.id(env)
    call("HSET", P .. "t", id, env)
    call("ZADD", P .. "p:" .. queue, score(P, env, first), id)
  else
    call(first and "LPUSH" or "RPUSH", P .. "r:" .. queue, env)
  end
end

-- The earliest due time, or 0 when nothing is due ever.
function te.next_due(P)
  local first = call("ZRANGE", P .. "z", "0", "0", "WITHSCORES")
  return first[2] and math.max(tonumber(first[2]) or 1, 1) or 0
end

-- Notes that some worker sets its timer by the next due time.
function te.note_timer(P, next_due)
  if next_due > 0 then
    call("HSET", P .. "n", "timer", string.format("%.0f", next_due))
  end
end

-- Lays a task aside until its time. Wakes a sleeper of its queue to set a
-- timer, unless some worker has one already that is as early.
function te.make_due(P, env, when, now)
  local id, at = te.id(env), string.format("%.0f", when)
  call("HSET", P .. "t", id, env)
  call("ZADD", P .. "z", at, id)
  local timer = tonumber(call("HGET", P .. "n", "timer") or 0) or 0
  if (timer <= now or timer > when) and te.ring(P, te.queue(env), 1) > 0 then
    call("HSET", P .. "n", "timer", at)
  end
end

-- Moves what is due to its ready list, `limit` of it at most. Returns the
-- next due time and how many tasks each queue got.
function te.promote(P, now, limit)
  local promoted, next_due = {}, te.next_due(P)
  if next_due == 0 or next_due > now then
    return next_due, promoted
  end
  local ids = call("ZRANGE", P .. "z", "-inf", string.format("%.0f", now),
    "BYSCORE", "LIMIT", 0, limit)
  local envs = call("HMGET", P .. "t", unpack(ids))
  call("HDEL", P .. "t", unpack(ids))
  call("ZREM", P .. "z", unpack(ids))
  for i = 1, #ids do
    if envs[i] and te.is_sound(envs[i], ids[i]) then
      te.make_ready(P, envs[i])
      local queue = te.queue(envs[i])
      promoted[queue] = (promoted[queue] or 0) + 1
    else
      te.give_up(P, ids[i], envs[i])
    end
  end
  for queue in pairs(promoted) do
    call("SADD", P .. "q", queue)
  end
  return te.next_due(P), promoted
end

-- Outcomes of tasks whose ids differ only in the last digit share a hash, a
-- chunk: measured at a fifth of the memory and half the time of a key each.
-- The chunk stays at least as long as the one in it that is kept the longest;
-- a little longer, so that not every outcome has to prolong it.
local TTL_SLACK_MS_MAX = 60000

function te.put_outcomes(key, outcomes, ttl_ms)
  call("HSET", key, unpack(outcomes))
  ttl_ms = tonumber(ttl_ms)
  if call("PTTL", key) < ttl_ms then
    local more = math.min(math.floor(ttl_ms / 64), TTL_SLACK_MS_MAX)
    call("PEXPIRE", key, string.format("%.0f", ttl_ms + more))
  end
end

function te.put_outcome(P, id, record, ttl_ms)
  te.put_outcomes(P .. "v:" .. sub(id, 1, 19), { sub(id, 20), record }, ttl_ms)
end

-- The outcome's record, or false.
function te.get_outcome(P, id)
  local record = te.raw_outcome(P, id)
  return record and te.expanded(P, record)
end

-- At least a thousand inboxes may wait for one task.
local INBOXES_BYTES_MAX = 16000

-- Whether anybody waits for any task; asked once in a call.
function te.some_wait(P)
  if te.waits == nil then
    te.waits = call("EXISTS", P .. "y") == 1
  end
  return te.waits ~= false
end

-- When it was asked for so many tasks who waits for them, the ids of all that
-- somebody waits for are read, if they are few.
local ASKED_MAX, WAITED_FOR_MAX = 2, 16

local function read_waits(P)
  te.waits = "many"
  if call("HLEN", P .. "y") <= WAITED_FOR_MAX then
    local ids, waits = call("HKEYS", P .. "y"), {}
    for i = 1, #ids do
      waits[ids[i]] = true
    end
    te.waits = waits
  end
end

-- For n tasks: the ids of all that somebody waits for, where these are few;
-- true when any of the tasks may be one; nil when nobody waits.
function te.waited_for(P, n)
  if not te.some_wait(P) then
    return nil
  elseif te.waits == true and n > ASKED_MAX then
    read_waits(P)
  end
  return type(te.waits) == "table" and te.waits or true
end

-- Whether somebody may wait for a task.
local function is_waited_for(P, id)
  if not te.some_wait(P) then
    return false
  end
  if te.waits == true then
    te.asked = te.asked + 1
    if te.asked > ASKED_MAX then
      read_waits(P)
    end
  end
  return type(te.waits) ~= "table" or te.waits[id]
end

-- False when too many wait for the task.
function te.add_inbox(P, id, inbox, now)
  te.waits = true
  if call("HSETNX", P .. "y", id, inbox) == 1 then
    call("ZADD", P .. "yt", string.format("%.0f", now), id)
    return true
  end
  local inboxes = call("HGET", P .. "y", id)
  if #inboxes > INBOXES_BYTES_MAX then
    return false
  elseif not string.find(" " .. inboxes .. " ", " " .. inbox .. " ", 1, true)
  then
    call("HSET", P .. "y", id, inboxes .. " " .. inbox)
  end
  call("ZADD", P .. "yt", string.format("%.0f", now), id)
  return true
end

-- How long Redis keeps an inbox that nobody reads.
local INBOX_MS = "3600000"

-- Hands an outcome to those who wait for it.
function te.tell(P, id, record)
  local inboxes = is_waited_for(P, id) and call("HGET", P .. "y", id)
  if inboxes then
    call("HDEL", P .. "y", id)
    call("ZREM", P .. "yt", id)
    local item = id .. (#record <= te.INLINE_BYTES_MAX and record or ">")
    for inbox in string.gmatch(inboxes, "%S+") do
      if string.find(inbox, "^[ab]:") then
        call("RPUSH", P .. inbox, item)
        call("PEXPIRE", P .. inbox, INBOX_MS)
      end
    end
  end
end

-- A caller's id is remembered as long as the outcome.
local function expire_alias(P, env)
  local alias = te.alias(env)
  if alias then
    call("PEXPIRE", P .. "u:" .. alias, math.max(te.ttl_ms(env), 1))
  end
end

-- What else the end of a task sets off.
function te.ended(P, env, record)
  te.tell(P, te.id(env), record)
  expire_alias(P, env)
  te.close_past(P, env, record)
  local digest = te.digest(env)
  if digest then
    te.unlock(P, te.id(env), digest)
  end
end

-- Forgets waits that nothing has ended.
function te.trim_waits(P, now, limit)
  local ids = call("ZRANGE", P .. "yt", "-inf",
    string.format("%.0f", now - te.KEPT_MS), "BYSCORE", "LIMIT", 0, limit)
  if #ids > 0 then
    call("ZREM", P .. "yt", unpack(ids))
    call("HDEL", P .. "y", unpack(ids))
  end
end

local COUNTERS = { S = "done", F = "failed", R = "revoked" }

-- Ends a task with an outcome. The envelope has left wherever it was.
function te.settle(P, env, record, now, counter)
  local id, ttl_ms = te.id(env), te.ttl_ms(env)
  local letter = sub(record, 1, 1)
  local flow, node = te.flow_of(P, env)
  if flow then
    if not te.end_member(flow, node, env, record) then
      return te.drop_revoked(P, env)
    end
  elseif te.keeps_result(env) and ttl_ms > 0 then
    te.put_outcome(P, id, record, ttl_ms)
  end
  te.ended(P, env, record)
  if letter == "F" then
    te.keep_dead(P, env, record, now)
  end
  te.tally(P, te.queue(env), counter or COUNTERS[letter] or "done")
end

-- { kind = , message = } in MessagePack
local REVOKED = "R\130\164kind\167Revoked\167message"
  .. "\183revoked while it waited"

-- Drops a task that was revoked while it stood in a ready list: its outcome
-- was written then.
function te.drop_revoked(P, env)
  local flow, node = te.flow_of(P, env)
  if flow then
    te.end_node_alone(flow, node, flow.revoked or REVOKED, "R")
  end
  te.ended(P, env, "-")
  te.tally(P, te.queue(env), "revoked")
end

-- The same for one with a tombstone. Of a node that is done again meanwhile it
-- is all that is left of what was revoked.
function te.drop_buried(P, env)
  local flow, node = te.flow_of(P, env)
  if flow then
    te.dig_up(flow, node)
  end
  if flow and te.node_state(flow, node) ~= "R" then
    te.tally(P, te.queue(env), "revoked")
  else
    te.drop_revoked(P, env)
  end
end

-- What is known of a producer: its last number and whether it is retired.
function te.producer_state(P, producer)
  local v = call("GET", P .. "i:" .. producer) or ""
  return tonumber(string.match(v, "^%d+") or 0), sub(v, -1) == "!"
end

-- Whether a task of this id was ever enqueued, as far as is remembered.
function te.was_enqueued(P, id)
  local seq = te.sequence(id)
  return seq ~= nil and seq <= te.producer_state(P, sub(id, 1, 12))
    or call("HEXISTS", P .. "t", id) == 1
    or call("EXISTS", P .. "u:" .. id) == 1
end

-- The engine's id for an id that may be the caller's.
function te.resolve(P, id)
  return not te.sequence(id) and call("GET", P .. "u:" .. id) or id
end

-- Renews a worker's lease, unless it was renewed a moment ago. False when it
-- has none: all that the worker held is somebody else's now.
function te.renew(P, wid, now, lease_ms)
  local deadline = call("ZSCORE", P .. "w", wid)
  if deadline and math.abs(now + lease_ms - deadline) * 64 > lease_ms then
    call("ZADD", P .. "w", string.format("%.0f", now + lease_ms), wid)
  end
  return deadline ~= false
end

-- Notes the number of a worker's fetch. They rise (modulo 2^32); false for
-- one that comes late, when the worker has given it up.
function te.advance(P, wid, number)
  local key = P .. "wn"
  if call("ZADD", key, "GT", "CH", number, wid) == 1 then
    return true
  elseif call("ZSCORE", key, wid) - number < 2 ^ 31 then
    return false
  end
  call("ZADD", key, number, wid)
  return true
end

function te.register(name, callback, flags)
  flags = flags or { "allow-oom" }
  local may_write = flags[1] ~= "no-writes"
  redis.register_function({
    function_name = "te1_" .. name,
    callback = function(keys, args)
      if not try then
        set_up()
      end
      te.may_write = may_write
      tallied.n, te.waits, te.asked = 0, nil, 0
      te.begin_flows()
      local reply = callback(keys, args)
      te.close_flows(keys[1])
      write_tally()
      return reply
    end,
    flags = flags,
  })
end

te.register("build", function()
  return BUILD
end, { "no-writes", "allow-stale" })
