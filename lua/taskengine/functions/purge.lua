-- te1_purge, te1_purge_due: take tasks out that wait, each to an end of its
-- own, as if it had been revoked.

local PURGED_MAX = 1000
-- Envelopes may be large: they come in lots, and a call ends when it has seen
-- so many bytes.
local LOT, PURGED_BYTES_MAX = 8, 16 * 1024 * 1024
-- A node takes as long as so many other tasks: its flow is looked at.
local NODE_STEPS = 5

-- The two kinds of ready tasks, those that are read first before the others.
local POP = { te.pop_prioritised, te.pop_plain }

-- What is none of ours is set aside, and what was revoked has its outcome.
local function purge(P, env, queue, state)
  local version, priority, named = te.read_header(env)
  if version == 0 or named ~= queue or priority > te.PRIORITY_MAX then
    te.give_up(P, te.id(env), env)
    state.malformed = state.malformed + 1
  elseif state.some_revoked and call("ZREM", P .. "cx", te.id(env)) == 1 then
    te.drop_buried(P, env)
    state.revoked = state.revoked + 1
  else
    te.settle(P, env, state.outcome, state.now)
    state.purged = state.purged + 1
  end
end

local function purge_all(P, queue, pop, state)
  local count = math.min(LOT, state.limit - state.seen)
  while count > 0 and state.bytes <= PURGED_BYTES_MAX
    and state.steps < PURGED_MAX do
    local envs = pop(P, queue, count)
    for i = 1, #envs do
      if envs[i] then
        purge(P, envs[i], queue, state)
        state.bytes = state.bytes + #envs[i]
        state.steps = state.steps + (te.is_node(envs[i]) and NODE_STEPS or 1)
      else -- it was damaged
        state.malformed = state.malformed + 1
      end
    end
    state.seen = state.seen + #envs
    if #envs < count then
      return
    end
    count = math.min(LOT, state.limit - state.seen)
  end
end

te.register("purge", function(keys, args)
  local P, queue = keys[1], args[3]
  local state = {
    outcome = args[1], now = te.now(),
    limit = math.min(tonumber(args[2]), PURGED_MAX),
    seen = 0, bytes = 0, steps = 0, purged = 0, revoked = 0, malformed = 0,
    some_revoked = call("EXISTS", P .. "cx") == 1,
  }
  for i = 1, #POP do
    purge_all(P, queue, POP[i], state)
  end
  return { state.seen, state.purged, state.revoked, state.malformed }
end)

te.register("purge_due", function(keys, args)
  local P, outcome, queue = keys[1], args[1], args[3]
  local now, purged = te.now(), 0
  local limit = math.min(tonumber(args[2]), PURGED_MAX)
  local more, at, id = te.walk_due(P, limit, args[4], args[5],
    function(id, env)
      if not te.is_sound(env, id) or te.queue(env) ~= queue then
        return false
      end
      call("HDEL", P .. "t", id)
      call("ZREM", P .. "z", id)
      te.settle(P, env, outcome, now)
      purged = purged + 1
      return true
    end)
  if purged > 0 then
    call("HDEL", P .. "n", "timer") -- it may have been set for one of them
  end
  return { more, purged, at, id }
end)
