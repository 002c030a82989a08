-- te1_finish: how a worker's tasks leave it; te1_reap: how they leave a
-- worker that is gone.

-- How many arguments an operation has, its letter among them; nil when they
-- are not as they must be.
te.SIZES = {
  s = function(args, i)
    local ttl_s, n = tonumber(args[i + 2]), tonumber(args[i + 3])
    return ttl_s and ttl_s >= 0 and n and n > 0 and n <= te.BATCH_MAX
      and 4 + 2 * n or nil
  end,
  d = function(args, i)
    local n = tonumber(args[i + 2])
    return n and n > 0 and n <= te.BATCH_MAX and 3 + n or nil
  end,
  o = function() return 3 end,
  h = function() return 2 end,
  b = function() return 2 end,
  l = function() return 3 end,
  n = function() return 3 end,
}

-- How many successors this worker takes straight, under which delivery number.
function te.SIZES.t(args, i)
  local count, number = tonumber(args[i + 1]), tonumber(args[i + 2])
  return i == 3 and count and count > 0 and number and number < 2 ^ 32 and 3
    or nil
end

-- Where each operation starts; nil when one is not as it must be, in which
-- case nothing is done at all.
local function parse(args)
  local starts, i = {}, 3
  while i <= #args do
    local size = te.SIZES[args[i]] and te.SIZES[args[i]](args, i)
    if not size then
      return nil
    end
    starts[#starts + 1] = i
    i = i + size
  end
  return i == #args + 1 and starts or nil
end

-- How many outcomes of the same kind are seen to together.
local LOT = 64

-- Reads the envelopes of a run of operations `o`, of which this is the first.
-- Returns how many these are.
local function read_lot(state, args, starts, k)
  local fields, envs = {}, {}
  for at = k, math.min(k + LOT - 1, #starts) do
    if args[starts[at]] ~= "o" then
      break
    end
    fields[#fields + 1] = args[starts[at] + 1]
  end
  if #fields > 1 then
    local found = call("HMGET", state.P .. "f:" .. state.wid, unpack(fields))
    for at = 1, #fields do
      envs[fields[at]] = found[at]
    end
    state.lot, state.taken = envs, {}
  end
  return #fields
end

-- What was taken of a lot leaves the worker.
local function close_lot(state)
  local taken = state.taken
  state.lot, state.taken = nil, nil
  if taken and taken[1] then
    call("HDEL", state.P .. "f:" .. state.wid, unpack(taken))
  end
end

-- The envelope under a field, which is there no more, or false.
local function take_out(state, field)
  local f, lot = state.P .. "f:" .. state.wid, state.lot
  if lot then
    local env = lot[field]
    if env then
      lot[field] = false
      state.taken[#state.taken + 1] = field
    end
    return env
  end
  local env = call("HGET", f, field)
  if env then
    call("HDEL", f, field)
  end
  return env
end

-- The envelope in flight under this field, taken out, and the outcome of one
-- that is asked to end, or whose flow was revoked, and in which mode; or false,
-- also for one that is damaged: of that task the outcome is kept, if there is
-- any.
local function take(state, field, outcome)
  local P, env = state.P, take_out(state, field)
  if not env then
    return false
  end
  local id = sub(field, 1, 20)
  local request, mode
  if state.some_asked then
    request, mode = te.take_request(P, state.wid, field)
  end
  if not te.is_sound(env, id) then
    te.give_up(P, id, env, outcome or request)
    return false
  elseif not request then
    request, mode = te.revocation_of(P, env)
  end
  return env, request, mode
end

-- What a worker has in flight. What is no field there is set aside: it would
-- keep the worker from leaving, and others from taking what it had.
local function fields_of(P, wid)
  local f, fields = P .. "f:" .. wid, {}
  local all = call("HKEYS", f)
  for i = 1, #all do
    if #all[i] == te.FIELD_BYTES then
      fields[#fields + 1] = all[i]
    else
      te.keep_malformed(P, all[i] .. " " .. call("HGET", f, all[i]))
      call("HDEL", f, all[i])
    end
  end
  return fields
end

-- Puts tasks at the head of their queues, in the order given.
local function hand_back(P, envs)
  local counts = {}
  for i = #envs, 1, -1 do
    local env = te.returned(envs[i])
    local queue = te.queue(env)
    te.make_ready(P, env, true)
    counts[queue] = (counts[queue] or 0) + 1
  end
  te.ring_all(P, counts)
end

-- Operations: each returns how many tasks were still this worker's. What
-- goes back to its queue is gathered in state.back.
te.OPERATIONS = {}

-- Takes n tasks out of flight, all at once. Returns how many were there.
function te.take_all(state, args, first, last, step)
  local fields, n = {}, 0
  for k = first, last, step do
    n = n + 1
    fields[n] = args[k]
  end
  if state.some_asked then
    call("HDEL", state.P .. "cr:" .. state.wid, unpack(fields))
  end
  return call("HDEL", state.P .. "f:" .. state.wid, unpack(fields)), n
end

-- queue, ttl, n, then n times field and outcome: all or none of them are
-- this worker's, because it sends them so only once (a repeat in doubt is
-- sent as `o`). Outcomes of one chunk are written together. Should only some
-- be there all the same, the outcome that was written first stays.
function te.OPERATIONS.s(state, args, i)
  local P, first, last = state.P, i + 4, i + 3 + 2 * tonumber(args[i + 3])
  local own, n = te.take_all(state, args, first, last, 2)
  if own == 0 then
    return 0
  end
  local chunks = {}
  for k = first, last, 2 do
    local field, outcome = args[k], args[k + 1]
    if own == n or not te.get_outcome(P, sub(field, 1, 20)) then
      local prefix = sub(field, 1, 19)
      local chunk = chunks[prefix]
      if chunk then
        local size = #chunk
        chunk[size + 1], chunk[size + 2] = sub(field, 20, 20), outcome
      else
        chunks[prefix] = { sub(field, 20, 20), outcome }
      end
      if state.some_wait then
        te.tell(P, sub(field, 1, 20), outcome)
      end
    end
  end
  for prefix, outcomes in pairs(chunks) do
    te.put_outcomes(P .. "v:" .. prefix, outcomes, args[i + 2] * 1000)
  end
  te.count(P, args[i + 1], "done", own)
  return own
end

-- queue, n, fields: those who wait learn that nothing was kept
function te.OPERATIONS.d(state, args, i)
  local first, last, own = i + 3, i + 2 + tonumber(args[i + 2]), 0
  if state.some_wait then
    for k = first, last do
      if te.take_all(state, args, k, k, 1) == 1 then
        own = own + 1
        te.tell(state.P, sub(args[k], 1, 20), "-")
      end
    end
  else
    own = te.take_all(state, args, first, last, 1)
  end
  if own > 0 then
    te.count(state.P, args[i + 1], "done", own)
  end
  return own
end

-- The operations on one task: what is done with its envelope. One that is
-- asked to end does so, unless it has ended; `instead` is called then.
function te.single(act, instead)
  return function(state, args, i)
    local outcome = args[i] == "o" and args[i + 2] or nil
    local env, request, mode = take(state, args[i + 1], outcome)
    if not env then
      return 0
    elseif request and not outcome then
      te.settle(state.P, env, request, state.now)
      if instead then
        instead(state, args[i + 2], request, mode)
      end
    else
      act(state, env, args[i + 2])
    end
    return 1
  end
end

-- A call that comes too late for a fetch of this number gets none.
function te.OPERATIONS.t(state, args, i)
  local number = tonumber(args[i + 2])
  if te.advance(state.P, state.wid, number) then
    te.begin_takes(state.wid, number, tonumber(args[i + 1]))
  end
  return 0
end

local function back(state, env)
  state.back[#state.back + 1] = env
end

te.OPERATIONS.h = te.single(back)

te.OPERATIONS.b = te.single(function(state, env)
  te.count(state.P, te.queue(env), "redelivered", 1)
  back(state, env)
end)

te.OPERATIONS.o = te.single(function(state, env, outcome)
  te.settle(state.P, env, outcome, state.now)
end)

-- The two ways in which a task loses what runs it: where that is counted, how
-- often is its end, and its letter in what is noted.
local CHILD = { at = te.AT_DEATHS, max = te.DEATHS_MAX, letter = "c" }
local WORKER = { at = te.AT_REAPS, max = te.REAPS_MAX, letter = "w" }

-- The worker or the child that ran it is gone. state.about: who that was.
local function lost(state, env, outcome, what)
  state.about = state.about or te.about(state.P, state.wid)
  env = te.note(state.P, te.raise(env, what.at), state.now, what.letter,
    state.wid .. state.about, outcome)
  te.count(state.P, te.queue(env), "lost", 1)
  if te.fails_when_lost(env) or byte(env, what.at) >= what.max then
    te.settle(state.P, te.returned(env), outcome, state.now)
  else
    back(state, env)
  end
end

te.OPERATIONS.l = te.single(function(state, env, outcome)
  lost(state, env, outcome, CHILD)
end)

-- Whether every worker of the queue has refused it.
local function refused_by_all(P, queue, refusals)
  local wids = call("SMEMBERS", P .. "ws:" .. queue)
  for i = 1, #wids do
    if not string.find(refusals, wids[i], 1, true) then
      return false
    end
  end
  return true
end

local REFUSED_MS_MAX, REFUSED_PAUSE_MS = 60000, 250
local REFUSALS_MS = 3600 * 1000

te.OPERATIONS.n = te.single(function(state, env, outcome)
  local P, now = state.P, state.now
  local key = P .. "nr:" .. te.id(env)
  local refusals = call("GET", key) or string.format("%.0f", now)
  if not string.find(refusals, " " .. state.wid, 1, true) then
    refusals = refusals .. " " .. state.wid
  end
  local since = tonumber(string.match(refusals, "^%d+") or now)
  if now - since >= REFUSED_MS_MAX
    or refused_by_all(P, te.queue(env), refusals) then
    call("DEL", key)
    te.settle(P, env, outcome, now)
  else
    call("SET", key, refusals, "PX", REFUSALS_MS)
    te.make_due(P, te.returned(env), now + REFUSED_PAUSE_MS, now)
  end
end)

-- Whether anybody waits for any task, and whether any task of this worker is
-- asked to end: mostly neither, which is one question.
local function look_around(P, wid)
  local requests = P .. "cr:" .. wid
  local n = call("EXISTS", P .. "y", requests, requests) -- which counts twice
  te.waits = n % 2 == 1
  return te.waits, n >= 2
end

te.register("finish", function(keys, args)
  local P, wid = keys[1], args[1]
  local now, starts = te.now(), parse(args)
  if not te.renew(P, wid, now, tonumber(args[2])) then
    return { "FENCED" }
  elseif not starts then
    return redis.error_reply("ERR te1_finish: not an operation")
  end
  local state = { P = P, wid = wid, now = now, back = {} }
  state.some_wait, state.some_asked = look_around(P, wid)
  local total, lot_end = 0, 0
  for k = 1, #starts do
    local i = starts[k]
    if args[i] == "o" and k > lot_end then
      lot_end = k - 1 + read_lot(state, args, starts, k)
    end
    total = total + te.OPERATIONS[args[i]](state, args, i)
    if k == lot_end then
      close_lot(state)
    end
  end
  hand_back(P, state.back)
  te.advance_flows(P)
  local got = te.end_takes()
  te.lower_limit(P, wid, #got)
  return { total, unpack(got) }
end)

-- Everything that the shard keeps of a worker, but what is in flight. Its
-- bell may have rung for work that is still there, and its timer been set
-- for what is due: others are woken for it.
local function forget_worker(P, wid)
  local queues = call("HGET", P .. "wq", wid) or ""
  call("UNLINK", P .. "b:" .. wid)
  call("HDEL", P .. "wi", wid)
  call("HDEL", P .. "wq", wid)
  call("ZREM", P .. "wn", wid)
  call("HDEL", P .. "hn", wid)
  call("HDEL", P .. "hl", wid)
  call("ZREM", P .. "w", wid)
  call("HDEL", P .. "n", "timer")
  local some_due = call("EXISTS", P .. "z") == 1
  for queue in string.gmatch(queues, "%S+") do
    call("SREM", P .. "ws:" .. queue, wid)
    call("SREM", P .. "sl:" .. queue, wid)
    if some_due or te.has_work(P, queue) then
      te.ring(P, queue, 1)
    end
  end
end

te.register("leave", function(keys, args)
  local P, wid, counts = keys[1], args[1], {}
  te.take_back(P, wid, counts)
  te.ring_all(P, counts)
  if #fields_of(P, wid) > 0 then
    return 0
  end
  forget_worker(P, wid)
  call("UNLINK", P .. "cr:" .. wid)
  te.go_on_with_flows(P)
  return 1
end)

-- With the number of the worker's last fetch: should that still be on its
-- way, it hands out nothing any more. Ahead of the fields: the number of the
-- last hand-over to it.
te.register("holds", function(keys, args)
  local P, wid, counts = keys[1], args[1], {}
  if args[2] and call("ZSCORE", P .. "w", wid) then
    te.advance(P, wid, tonumber(args[2]))
  end
  te.take_back(P, wid, counts)
  te.ring_all(P, counts)
  local fields = fields_of(P, wid)
  table.insert(fields, 1, string.format("%.0f", te.last_handed(P, wid)))
  return fields
end)

-- The fields in flight at a worker, the first that it fetched first.
local function in_order(fields)
  local order = {}
  for i = 1, #fields do
    local field = fields[i]
    order[i] = {
      field = field,
      delivery = te.number_at(field, 21, 4),
      number = te.sequence(sub(field, 1, 20)) or 0,
    }
  end
  table.sort(order, function(a, b)
    if a.delivery ~= b.delivery then
      return a.delivery < b.delivery
    elseif a.number ~= b.number then
      return a.number < b.number
    end
    return a.field < b.field
  end)
  return order
end

te.register("reap", function(keys, args)
  local P, wid, outcome = keys[1], args[1], args[3]
  local now = te.now()
  local deadline = call("ZSCORE", P .. "w", wid)
  if deadline then
    if args[2] ~= "1" and tonumber(deadline) > now then
      return -1
    end
  elseif call("EXISTS", P .. "f:" .. wid) == 0 then
    return -1
  end
  local all, started = args[4] == "-", {}
  for i = 4, #args do
    started[args[i]] = true
  end
  local state = {
    P = P, wid = wid, now = now, back = {}, about = te.about(P, wid),
    some_asked = te.some_requests(P, wid),
  }
  local counts = {}
  local taken_back = te.take_back(P, wid, counts)
  te.ring_all(P, counts)
  local order = in_order(fields_of(P, wid))
  forget_worker(P, wid)
  te.pass_flows_on(P)
  for i = 1, #order do
    local env, request = take(state, order[i].field)
    if not env then
      started[order[i].field] = nil -- it was damaged
    elseif request then
      te.settle(P, env, request, now)
    elseif all or started[order[i].field] then
      lost(state, env, outcome, WORKER)
    else
      back(state, env)
    end
  end
  call("UNLINK", P .. "cr:" .. wid)
  hand_back(P, state.back)
  return #order + taken_back
end)
