-- te1_fetch: hands ready tasks to a worker; te1_promote: what is due.

local PROMOTE_MAX = 100

-- The outcome of an expired task: { kind = , message = } in MessagePack.
local EXPIRED = "R\130\164kind\167Expired\167message"
  .. "\217\037expired before a worker could take it"
local NO_EXPIRY = "\0\0\0\0\0\0\0\0"

local function keep_malformed(P, env)
  call("LPUSH", P .. "m", env)
  call("LTRIM", P .. "m", 0, te.MALFORMED_MAX - 1)
end

-- Its outcome was written when it was revoked.
local function drop_revoked(P, env)
  te.expire_alias(P, env)
  te.count(P, te.queue(env), "revoked", 1)
end

-- Whether the worker gets the task. What it does not get has gone where it
-- belongs: aside when malformed or too new, or to its end when expired or
-- revoked.
local function deliverable(P, env, now, some_revoked)
  local version = te.version(env)
  if version == nil or version == 0 then
    keep_malformed(P, env)
    return false
  elseif version > te.VERSION then
    te.make_ready(P, env)
    return false
  elseif some_revoked and call("SREM", P .. "cx", te.id(env)) == 1 then
    drop_revoked(P, env)
    return false
  elseif sub(env, 31, 38) ~= NO_EXPIRY and te.expiry(env) <= now then
    te.settle(P, env, EXPIRED, now)
    te.count(P, te.queue(env), "expired", 1)
    return false
  end
  return true
end

local function keep(P, envs, state)
  for i = 1, #envs do
    local env = envs[i]
    if env and deliverable(P, env, state.now, state.some_revoked) then
      state.n = state.n + 1
      state.out[state.n + 2] = env
      state.pairs[2 * state.n - 1] = sub(env, 1, 20) .. state.delivery
      state.pairs[2 * state.n] = env
    end
  end
end

local function take_prioritised(P, queue, want, state)
  local popped = call("ZPOPMIN", P .. "p:" .. queue, want)
  if #popped > 0 then
    local ids = {}
    for i = 1, #popped, 2 do
      ids[#ids + 1] = popped[i]
    end
    local envs = call("HMGET", P .. "t", unpack(ids))
    call("HDEL", P .. "t", unpack(ids))
    keep(P, envs, state)
  end
end

local function take_plain(P, queue, want, state)
  local envs = call("LPOP", P .. "r:" .. queue, want)
  if envs then
    keep(P, envs, state)
  end
end

-- All queues' urgent tasks first, then their plain ones.
local function take(P, args, want, state)
  for _, from in ipairs({ take_prioritised, take_plain }) do
    for i = 6, #args do
      if state.n >= want then
        return
      end
      from(P, args[i], want - state.n, state)
    end
  end
end

-- A worker that got less than it wanted sleeps until its bell rings.
local function set_sleeping(P, args, wid, sleeps, slept)
  if sleeps or slept then
    local command = sleeps and "SADD" or "SREM"
    for i = 6, #args do
      call(command, P .. "sl:" .. args[i], wid)
    end
  end
end

te.register("fetch", function(keys, args)
  local P, wid, want = keys[1], args[1], math.min(tonumber(args[3]), 1000)
  local now = te.now()
  if not te.renew(P, wid, now, tonumber(args[2])) then
    return { "FENCED" }
  end
  local state = {
    now = now,
    n = 0,
    out = { now, te.promote(P, now, PROMOTE_MAX) },
    pairs = {},
    delivery = te.bytes_of(tonumber(args[4]), 4),
    some_revoked = call("EXISTS", P .. "cx") == 1,
  }
  take(P, args, want, state)
  if state.n > 0 then
    call("HSET", P .. "f:" .. wid, unpack(state.pairs))
  end
  set_sleeping(P, args, wid, state.n < want, args[5] == "1")
  return state.out
end)

te.register("promote", function(keys, args)
  local now = te.now()
  local limit = math.min(tonumber(args[1]), 1000)
  return { now, te.promote(keys[1], now, limit) }
end)
