-- `r` of te1_finish: a task that failed, or asks for it, is to run again.

-- A verdict without its letter: when, flags, the size of a new body.
local HEAD_BYTES = 13
local SPENDS, IS_TIME = 1, 2

-- The outcome of one that was put off past its expiry: { kind = , message = }
-- in MessagePack.
local PUT_OFF = "R\130\164kind\167Expired\167message"
  .. "\217\034was put off until after its expiry"

-- When it is to run, flags, its new body (empty: none) and the outcome of the
-- attempt (empty: none is known); nil when it is none.
local function read(verdict)
  if #verdict < HEAD_BYTES then
    return nil
  end
  local body_end = HEAD_BYTES + te.number_at(verdict, 10, 4)
  if body_end > #verdict then
    return nil
  end
  return te.number_at(verdict, 1, 8), byte(verdict, 9),
    sub(verdict, HEAD_BYTES + 1, body_end), sub(verdict, body_end + 1)
end

te.SIZES.r = function(args, i)
  return args[i + 2] and read(args[i + 2]) and 3 or nil
end

-- One more attempt was made, and came to this.
local function spend(state, env, outcome)
  state.about = state.about or te.about(state.P, state.wid)
  env = te.note(state.P, te.raise(env, te.AT_ATTEMPT), state.now, "r",
    state.wid .. state.about, outcome)
  te.tally(state.P, te.queue(env), "retried")
  return env
end

-- It goes behind those that are ready: they are not to wait for one that fails
-- again and again.
local function put_back(state, env, when)
  if when > state.now then
    te.make_due(state.P, env, when, state.now)
  else
    te.make_ready(state.P, env)
    te.ring(state.P, te.queue(env), 1)
  end
end

te.OPERATIONS.r = te.single(function(state, env, verdict)
  local when, flags, body, outcome = read(verdict)
  if not te.is_set(flags, IS_TIME) then
    when = state.now + when
  end
  when = math.max(when, state.now)
  if te.has_expiry(env) and te.expiry(env) <= when then
    local record = outcome ~= "" and outcome or PUT_OFF
    return te.settle(state.P, env, record, state.now,
      outcome == "" and "expired" or nil)
  elseif te.is_set(flags, SPENDS) then
    env = spend(state, env, outcome)
  end
  if body ~= "" then
    env = sub(env, 1, te.names_end(env)) .. body
  end
  put_back(state, te.returned(env), when)
end)
