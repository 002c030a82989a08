-- te1_enqueue: accepts tasks, once each.

local KEPT_MS = te.KEPT_MS .. "" -- see texts

local function remember_producer(P, producer, last)
  call("SET", P .. "i:" .. producer, last, "PX", KEPT_MS)
end

-- Whether what is said of other tasks like it fits the envelope.
local function is_uniqueness(text, env)
  local for_ms, rest = te.read_unique(text)
  if for_ms and not te.digest(env) then
    return false
  end
  return rest == ""
    or rest == "i" and te.sequence(te.id(env)) ~= nil
    or not for_ms and sub(rest, 1, 1) == "u" and sub(rest, 2) == te.alias(env)
end

-- What follows `g`: envelope, queue, delay, expires, unique.
local function is_general(args, i)
  local env, queue, unique = args[i + 1], args[i + 2], args[i + 5]
  return unique
    and te.read_header(env) > 0
    and te.queue(env) == queue
    and te.priority(env) <= te.PRIORITY_MAX
    and string.find(args[i + 3], "^%+?%d*$")
    and args[i + 3] ~= "+"
    and string.find(args[i + 4], "^%d*$")
    and is_uniqueness(unique, env)
end

-- Whether an inbox is named behind a group of one plain task.
local function is_awaiting(args, i, before)
  return before and args[before] == "r" and args[before + 2] == "1"
    and string.find(args[i + 1] or "", "^a:%w+$")
end

-- The longest time to live of an outcome: what an envelope has room for.
local TTL_S_MAX = 4294967295

-- Whether a task or nobody is named as the sender of what follows, and for how
-- long that is to be known.
local function is_parent(args, i)
  local id, ttl_s = args[i + 1] or "?", tonumber(args[i + 2])
  return (id == "" or te.sequence(id) ~= nil)
    and ttl_s and ttl_s >= 1 and ttl_s <= TTL_S_MAX
end

-- How many arguments a group has, its letter among them; nil when they are not
-- as they must be. `before` is where the group before it starts.
local SIZES = {
  r = function(args, i)
    local n = tonumber(args[i + 2])
    return n and n > 0 and n <= te.BATCH_MAX and 3 + n or nil
  end,
  g = function(args, i)
    return is_general(args, i) and 6 or nil
  end,
  a = function(args, i, before)
    return is_awaiting(args, i, before) and 2 or nil
  end,
  c = function(args, i)
    return is_parent(args, i) and 3 or nil
  end,
}

-- Where each group starts, and which letters there are; nil when one is not as
-- it must be, in which case nothing is done at all.
local function parse(args)
  local starts, letters, i = {}, {}, 4
  while i <= #args do
    local letter = args[i]
    local size = SIZES[letter] and SIZES[letter](args, i, starts[#starts])
    if not size then
      return nil, letters
    end
    starts[#starts + 1], letters[letter] = i, true
    i = i + size
  end
  return i == #args + 1 and starts or nil, letters
end

local function add_plain(P, args, i)
  local queue, n = args[i + 1], tonumber(args[i + 2])
  if te.count(P, queue, "enqueued", n) == n then -- its first ones
    call("SADD", P .. "q", queue)
  end
  local how = n == 1 and te.hand_over(P, queue, { args[i + 3] }) or "queue"
  if how ~= "handed" then
    call("RPUSH", P .. "r:" .. queue, unpack(args, i + 3, i + 2 + n))
  end
  if how == "queue" then
    te.ring(P, queue, n)
  end
end

local function was_there(P, id)
  return te.was_enqueued(P, id) or te.get_outcome(P, id)
end

-- A producer who does not know whether a task was enqueued, when somebody asks
-- for it again: his own late request does nothing any more.
local function retire(P, producer)
  local last, retired = te.producer_state(P, producer)
  if not retired then
    remember_producer(P, producer, string.format("%.0f!", last))
  end
end

-- The id of the task that is there already, or nil when this one is new.
local function existing(P, env, unique, batch)
  local id = te.id(env)
  local for_ms, rest = te.read_unique(unique)
  if rest == "i" then
    local original = te.original(P, id)
    if original ~= id or was_there(P, id) then
      return original
    end
    retire(P, sub(id, 1, 12))
  elseif rest ~= "" then
    local key = P .. "u:" .. sub(rest, 2)
    return call("SET", key, id, "NX") == false and call("GET", key) or nil
  end
  local holder = for_ms and te.lock(P, env, for_ms, batch.now)
  if holder then
    if not batch.has_doubles then
      te.forget_doubles(P, batch.producer)
      batch.has_doubles = true
    end
    te.note_double(P, id, holder)
    return holder
  elseif rest == "i" then
    call("SET", P .. "u:" .. id, id, "PX", te.KEPT_MS)
  end
end

local function due_time(delay, now)
  if delay == "" then
    return 0
  elseif sub(delay, 1, 1) == "+" then
    return now + tonumber(sub(delay, 2))
  end
  return tonumber(delay)
end

local function add_general(P, args, i, batch)
  local env, queue, now = args[i + 1], args[i + 2], batch.now
  local id = te.id(env)
  local before = existing(P, env, args[i + 5], batch)
  if before then
    return before
  end
  if args[i + 4] ~= "" then
    env = te.patch(env, 31, te.bytes_of(now + tonumber(args[i + 4]), 8))
  end
  call("SADD", P .. "q", queue)
  te.count(P, queue, "enqueued", 1)
  local when = due_time(args[i + 3], now)
  if when > now then
    te.make_due(P, env, when, now)
    return id
  end
  local how = te.hand_over(P, queue, { env })
  if how ~= "handed" then
    te.make_ready(P, env)
  end
  if how == "queue" then
    te.ring(P, queue, 1)
  end
  return id
end

-- The id that a group of a batch got when the batch was accepted.
local function accepted_id(P, env, unique)
  local for_ms, rest = te.read_unique(unique)
  if sub(rest, 1, 1) == "u" then
    return call("GET", P .. "u:" .. sub(rest, 2)) or te.id(env)
  end
  return for_ms and te.original(P, te.id(env)) or te.id(env)
end

-- Whether a batch is to be done: 0, or why not. A producer's numbers have no
-- gaps, so that its last number tells which of its tasks were accepted.
local function judge(P, producer, first)
  local last, retired = te.producer_state(P, producer)
  if first <= last then
    return 1, last
  elseif retired or first > last + 1 then
    return 2, last
  end
  return 0, last
end

local function add_group(P, args, i, batch, out)
  if args[i] == "r" then
    add_plain(P, args, i)
  elseif args[i] == "a" then
    te.add_inbox(P, te.id(args[i - 1]), args[i + 1], batch.now)
  elseif args[i] == "g" then
    out[#out + 1] = add_general(P, args, i, batch)
  end
end

local function add_all(P, args, starts, out)
  local batch = { producer = args[1], now = out[1] }
  for k = 1, #starts do
    add_group(P, args, starts[k], batch, out)
  end
  remember_producer(P, args[1], args[3])
end

local function tell_accepted(P, args, starts, out)
  for k = 1, #starts do
    local i = starts[k]
    if args[i] == "g" then
      out[#out + 1] = accepted_id(P, args[i + 1], args[i + 5])
    end
  end
end

te.register("enqueue", function(keys, args)
  local P, producer = keys[1], args[1]
  local starts, letters = parse(args)
  local now = (letters.g or letters.a) and te.now() or 0
  local verdict, last = judge(P, producer, tonumber(args[2]))
  if not starts then
    return redis.error_reply("ERR te1_enqueue: a group is not well-formed")
  elseif verdict == 1 and tonumber(args[3]) > last then
    return redis.error_reply("ERR te1_enqueue: half of it was done before")
  end
  local out = { now, verdict }
  if verdict == 0 then
    add_all(P, args, starts, out)
    if letters.c then
      te.note_kin(P, args, starts, out)
    end
  elseif verdict == 1 then
    tell_accepted(P, args, starts, out)
  end
  return out
end, {})
