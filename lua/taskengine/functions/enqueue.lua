-- te1_enqueue: accepts tasks, once each.

local function remember_producer(P, producer, last)
  call("SET", P .. "i:" .. producer, last, "PX", te.PRODUCER_MS)
end

-- A queue's first task since it was empty: the queue gets a name.
local function accepted(P, queue, n, length)
  if length == n then
    call("SADD", P .. "q", queue)
  end
  te.count(P, queue, "enqueued", n)
  te.ring(P, queue, n)
end

local function add_plain(P, args, i)
  local queue, n = args[i + 1], tonumber(args[i + 2])
  local length = call("RPUSH", P .. "r:" .. queue,
    unpack(args, i + 3, i + 2 + n))
  accepted(P, queue, n, length)
  return i + 3 + n
end

-- A repeat of an enqueue whose outcome its producer never learned. The
-- producer is retired, so that its own late request does nothing any more.
local function is_repeat(P, env)
  local id = te.id(env)
  local producer, seq = sub(id, 1, 12), te.sequence(id)
  local last, retired = te.producer_state(P, producer)
  if seq <= last or call("SET", P .. "u:" .. id, id, "NX") == false then
    return true
  end
  if not retired then
    remember_producer(P, producer, string.format("%.0f!", last))
  end
  return false
end

-- The id of the task that is there already, or nil when this one is new.
local function existing(P, env, unique)
  local kind = sub(unique, 1, 1)
  if kind == "i" then
    return is_repeat(P, env) and te.id(env) or nil
  elseif kind == "u" then
    local key = P .. "u:" .. sub(unique, 2)
    if call("SET", key, te.id(env), "NX") == false then
      return call("GET", key)
    end
  end
end

local function due_time(delay, now)
  if delay == "" then
    return 0
  elseif sub(delay, 1, 1) == "+" then
    return now + tonumber(delay)
  end
  return tonumber(delay)
end

-- Rings one sleeper when it must set its timer to an earlier time.
local function add_due(P, env, queue, when)
  local earliest = te.next_due(P)
  te.make_due(P, env, when)
  if earliest == 0 or when < earliest then
    te.ring(P, queue, 1)
  end
end

local function add_general(P, args, i, now)
  local env, queue, delay = args[i + 1], args[i + 2], args[i + 3]
  local expires, unique = args[i + 4], args[i + 5]
  local before = existing(P, env, unique)
  if before then
    return before
  end
  if expires ~= "" then
    env = te.patch(env, 31, te.bytes_of(now + tonumber(expires), 8))
  end
  call("SADD", P .. "q", queue)
  te.count(P, queue, "enqueued", 1)
  local when = due_time(delay, now)
  if when > now then
    add_due(P, env, queue, when)
  else
    te.make_ready(P, env)
    te.ring(P, queue, 1)
  end
  return te.id(env)
end

-- The ids that a batch got when it was accepted.
local function repeated(P, args, out)
  local i = 4
  while i <= #args do
    if args[i] == "r" then
      i = i + 3 + tonumber(args[i + 2])
    else
      local unique = args[i + 5]
      local id = sub(unique, 1, 1) == "u"
        and call("GET", P .. "u:" .. sub(unique, 2))
      out[#out + 1] = id or te.id(args[i + 1])
      i = i + 6
    end
  end
  return out
end

te.register("enqueue", function(keys, args)
  local P, producer = keys[1], args[1]
  local now = te.now()
  local last, retired = te.producer_state(P, producer)
  if tonumber(args[2]) <= last then
    return repeated(P, args, { now, 1 })
  elseif retired then
    return { now, 2 }
  end
  local out = { now, 0 }
  local i = 4
  while i <= #args do
    if args[i] == "r" then
      i = add_plain(P, args, i)
    elseif args[i] == "g" then
      out[#out + 1] = add_general(P, args, i, now)
      i = i + 6
    else
      return redis.error_reply("ERR te1_enqueue: unknown group")
    end
  end
  remember_producer(P, producer, args[3])
  return out
end, {})
