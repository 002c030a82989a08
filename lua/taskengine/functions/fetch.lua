-- te1_fetch: hands ready tasks to a worker; te1_promote: what is due.

local FETCH_MAX, PROMOTE_MAX = 1000, 100
-- How many tasks that it does not hand out a fetch looks at.
local SKIPPED_MAX = 1000
-- Of envelopes in one reply; a single one may be larger.
local FETCH_BYTES_MAX = 16 * 1024 * 1024
-- With no more than these there is room for what flows release.
local TAKING_BYTES_MAX = FETCH_BYTES_MAX - 1024 * 1024
-- Tasks come out of a queue in lots that grow: what turns out to be too much
-- goes back, and is not to be many times what the worker gets.
local LOT_MIN, LOT_MAX = 8, 64

-- The outcome of an expired task: { kind = , message = } in MessagePack.
local EXPIRED = "R\130\164kind\167Expired\167message"
  .. "\217\037expired before a worker could take it"

-- Notes what an envelope looks like that the worker gets, if it is not a case
-- of its own: most of those behind it look the same.
local function note_look(env, queue, flags, state)
  local is_plain = not state.some_revoked and not state.some_flow_revoked
    and not te.has_expiry(env) and not te.unlocks_at_start(flags)
  local names_end = is_plain and te.names_end(env)
  state.look = is_plain and {
    queue = queue, head = sub(env, 21, 26), names = sub(env, 99, names_end),
    names_end = names_end,
  }
end

local function looks_as(env, queue, look)
  return look and sub(env, 99, look.names_end) == look.names
    and sub(env, 21, 26) == look.head and look.queue == queue
    and #env > look.names_end and not te.has_expiry(env)
end

-- A node takes as long as five other tasks: its flow is looked at.
local function note_dropped(state, is_node)
  state.skipped = state.skipped + (is_node and 4 or 0)
end

-- Whether the worker gets the task. What it does not get goes where it
-- belongs: aside when malformed or too new, to its end when expired or
-- revoked.
local function deliverable(P, env, queue, state)
  local version, priority, named, flags = te.read_header(env)
  if version == 0 or named ~= queue or priority > te.PRIORITY_MAX then
    te.give_up(P, te.id(env), env)
    return false
  elseif version > te.VERSION then
    state.newer[#state.newer + 1] = env
    return false
  elseif state.some_revoked and call("ZREM", P .. "cx", te.id(env)) == 1 then
    note_dropped(state, te.drop_buried(P, env))
    return false
  elseif state.some_flow_revoked and te.is_of_revoked(P, env) then
    te.drop_revoked(P, env)
    note_dropped(state, true)
    return false
  elseif te.has_expiry(env) and te.expiry(env) <= state.now then
    te.settle(P, env, EXPIRED, state.now, "expired")
    return false
  elseif te.unlocks_at_start(flags) then
    te.unlock(P, te.id(env), te.digest(env))
  end
  note_look(env, queue, flags, state)
  return true
end

-- Keeps what the worker gets. Returns where in the lot the first task stands
-- that is too much for one reply, or nil.
local function keep(P, envs, queue, state)
  local out, pairs, n, bytes = state.out, state.pairs, state.n, state.bytes
  local delivery, over, m = state.delivery, nil, #pairs
  for i = 1, #envs do
    local env = envs[i]
    if env and n > 0 and bytes + #env > FETCH_BYTES_MAX then
      over = i
      break
    elseif env and (looks_as(env, queue, state.look)
      or deliverable(P, env, queue, state)) then
      n, bytes = n + 1, bytes + #env
      out[n + 2] = env
      pairs[m + 1], pairs[m + 2] = sub(env, 1, 20) .. delivery, env
      m = m + 2
    else
      state.skipped = state.skipped + 1
    end
  end
  state.n, state.bytes = n, bytes
  return over
end

-- The two kinds of queue: `pop` takes envelopes off the front, `put_back`
-- puts those from the first-th on where they were.
local PRIORITISED, PLAIN = {}, {}

-- Also returns ids and scores, by turns.
PRIORITISED.pop = te.pop_prioritised

function PRIORITISED.put_back(P, queue, first, envs, popped)
  for i = first, #envs do
    if envs[i] then
      call("HSET", P .. "t", popped[2 * i - 1], envs[i])
      call("ZADD", P .. "p:" .. queue, popped[2 * i], popped[2 * i - 1])
    end
  end
end

PLAIN.pop = te.pop_plain

function PLAIN.put_back(P, queue, first, envs)
  for i = #envs, first, -1 do
    call("LPUSH", P .. "r:" .. queue, envs[i])
  end
end

-- How many more tasks of the size of those so far a reply takes, and one.
local function count_fitting(state)
  if state.n == 0 then
    return LOT_MIN
  end
  local mean = state.bytes / state.n
  return math.floor(math.max(FETCH_BYTES_MAX - state.bytes, 0) / mean) + 1
end

-- Pops until the worker has what it wants, or as much as goes into a reply,
-- or nothing is left.
local function drain(P, queue, kind, state)
  local lot = LOT_MIN
  while state.n < state.want and state.skipped < SKIPPED_MAX
    and not state.is_full do
    local count = math.min(state.want - state.n, lot, count_fitting(state))
    local envs, popped = kind.pop(P, queue, count)
    local over = keep(P, envs, queue, state)
    if over then
      kind.put_back(P, queue, over, envs, popped)
      state.is_full = true
    elseif #envs < count then
      return
    end
    lot = math.min(2 * lot, LOT_MAX)
  end
end

-- All queues' urgent tasks first, then their plain ones.
local function take(P, args, state)
  for i = 6, #args do
    drain(P, args[i], PRIORITISED, state)
  end
  for i = 6, #args do
    drain(P, args[i], PLAIN, state)
  end
end

-- Of a fetch's fifth argument: the worker may be a sleeper; tasks may be handed
-- to it while it is one.
local MAY_SLEEP, TAKES_HAND_OVERS = 1, 2

local function has_flag(args, bit)
  return te.is_set(tonumber(args[5]) or 0, bit)
end

local function may_sleep(args)
  return has_flag(args, MAY_SLEEP)
end

-- A worker that got less than it wanted sleeps until its bell rings. When
-- that was for having looked at too many, or for their size, it is woken at
-- once; but what is too new for it would keep it awake for nothing.
local function set_sleeping(P, args, state)
  local sleeps = state.n < state.want
  if sleeps and (state.is_full or state.skipped >= SKIPPED_MAX
    and state.too_new < state.skipped) then
    sleeps = false
    call("RPUSH", P .. "b:" .. args[1], "")
  end
  if sleeps or may_sleep(args) then
    if has_flag(args, TAKES_HAND_OVERS) then
      te.accept_hand_overs(P, args[1], state.want - state.n)
    end
    local command = sleeps and "SADD" or "SREM"
    for i = 6, #args do
      call(command, P .. "sl:" .. args[i], args[1])
    end
  end
  return sleeps
end

-- A worker that was woken and does not take all passes the bell on. What
-- became due here and is not taken may be for others too.
local function wake_sleepers(P, args, sleeps, promoted)
  for i = 6, #args do
    local queue = args[i]
    local n = promoted[queue] or may_sleep(args) and 1
    if n and not sleeps and te.has_work(P, queue) then
      te.ring(P, queue, n)
    end
    promoted[queue] = nil
  end
  te.ring_all(P, promoted)
end

-- While a worker was awake, nobody who slept may have been left to take back
-- what lies in the bell of one that died. It is woken for that itself, too.
local function look_at_bells(P, wid)
  local counts = {}
  te.take_back_from_others(P, wid, counts)
  te.ring_all(P, counts)
end

local function have_work(P, args)
  for i = 6, #args do
    if te.has_work(P, args[i]) then
      return true
    end
  end
  return false
end

-- What was taken is in flight from then on, and what is for newer workers back
-- in its queue: nothing is nowhere while other things are seen to.
local function keep_taken(P, wid, state)
  for i = 1, #state.newer do
    te.make_ready(P, state.newer[i])
  end
  if state.pairs[1] then
    call("HSET", P .. "f:" .. wid, unpack(state.pairs))
  end
  state.too_new = state.too_new + #state.newer
  state.newer, state.pairs = {}, {}
end

local function look_for_revoked(P, state)
  state.some_revoked = call("EXISTS", P .. "cx") == 1
  state.some_flow_revoked = call("EXISTS", P .. "gc") == 1
end

-- Goes on with what flows have left to be done, once the queues have been
-- looked at. What that releases is the worker's at once, where nothing waits
-- there. Returns whether there is more, and the next due time.
local function release_more(P, args, state, next_due)
  if call("EXISTS", P .. "gq") == 0 then
    return false, next_due
  end
  if state.n < state.want and state.bytes <= TAKING_BYTES_MAX
    and not have_work(P, args) then
    te.begin_takes(args[1], tonumber(args[4]), state.want - state.n)
  end
  te.steps = te.steps - state.skipped / 2 -- which took time, too
  local is_more = te.continue_flows(P)
  local got, bytes = te.end_takes()
  for k = 1, #got do
    state.out[state.n + 2 + k] = got[k]
  end
  state.n, state.bytes = state.n + #got, state.bytes + bytes
  look_for_revoked(P, state)
  state.look = nil
  take(P, args, state)
  keep_taken(P, args[1], state)
  return is_more, te.next_due(P)
end

te.register("fetch", function(keys, args)
  local P, wid, number = keys[1], args[1], tonumber(args[4])
  local now = te.now()
  if not te.renew(P, wid, now, tonumber(args[2])) then
    return { "FENCED" }
  elseif not te.advance(P, wid, number) then
    return redis.error_reply("ERR te1_fetch: its delivery number is past")
  end
  local next_due, promoted = te.promote(P, now, PROMOTE_MAX)
  if may_sleep(args) then
    te.take_back_from_others(P, wid, promoted)
  end
  local state = {
    now = now,
    want = math.min(tonumber(args[3]), FETCH_MAX),
    n = 0,
    bytes = 0,
    is_full = false,
    skipped = 0,
    too_new = 0,
    newer = {},
    out = { now, 0 },
    pairs = {},
    delivery = te.bytes_of(number, 4),
  }
  look_for_revoked(P, state)
  take(P, args, state)
  keep_taken(P, wid, state)
  local is_more
  is_more, next_due = release_more(P, args, state, next_due)
  te.note_timer(P, next_due)
  state.out[2] = is_more and now or next_due
  local sleeps = set_sleeping(P, args, state)
  wake_sleepers(P, args, sleeps, promoted)
  if sleeps and not may_sleep(args) then
    look_at_bells(P, wid)
  end
  return state.out
end)

te.register("promote", function(keys, args)
  local P, now = keys[1], te.now()
  local limit = math.min(tonumber(args[1]), FETCH_MAX)
  local is_more = te.continue_flows(P)
  local next_due, promoted = te.promote(P, now, limit)
  te.ring_all(P, promoted)
  return { now, is_more and now or next_due }
end)
