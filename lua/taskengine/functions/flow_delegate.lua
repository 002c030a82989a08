-- How a running task lets a node end in its place, of its own flow or of
-- another: the operation `w` of te1_finish.

local SKIPPED = "s"

-- A node ends with what another failed for, or was skipped for.
local function end_for_another(own, i, env, record, state)
  te.end_and_tell(own, i, record, state)
  te.close_past(own.P, env, record)
  te.tally(own.P, te.queue(env), state == SKIPPED and "revoked" or "failed")
end

-- A task is to end as node `from` of the flow, which has ended.
local function settle(f, id, env, from)
  local record = te.raw_outcome(f.P, te.node_id(f.producer, from)) or "-"
  local own, i = te.flow_of(f.P, env)
  call("HDEL", f.P .. "gd:" .. f.producer, id)
  te.keep_delegate(f, own, env, record)
  if own and byte(record) == 68 then
    te.note_root(own, sub(record, 2))
    end_for_another(own, i, env, record, "n")
  elseif own and te.node_state(f, from) == SKIPPED then
    end_for_another(own, i, env, record, SKIPPED)
  else
    te.settle(f.P, env, te.expanded(f.P, record), te.moment or te.now())
  end
  call("HDEL", f.P .. "gl", id)
end

-- Whether a node waits for another flow to end it.
function te.is_away(f, i)
  return call("HEXISTS", f.P .. "gl", te.node_id(f.producer, i)) == 1
end

-- The task that waits for what it delegated to this flow: a node of it, or 0
-- for one from elsewhere.
local function delegate_of(f, target)
  if target > 0 then
    return te.node_id(f.producer, target)
  end
  return call("HGET", f.P .. "g:" .. f.producer, "delegate") or ""
end

-- The end came before the task has said that it delegates.
function te.note_delegate(f, from, target)
  call("HSET", f.P .. "gw:" .. f.producer, "d" .. texts[target],
    texts[from])
end

function te.end_delegated(f, from, target)
  local id = delegate_of(f, target)
  local env = call("HGET", f.P .. "gd:" .. f.producer, id)
  if not env then
    te.note_delegate(f, from, target)
  elseif te.is_sound(env, id) then
    settle(f, id, env, from)
  else
    call("HDEL", f.P .. "gd:" .. f.producer, id)
    te.give_up(f.P, id, env)
  end
end

-- A task whose flow has ended, and not by an edge to it.
local function end_deserted(f, id)
  local P, key = f.P, f.P .. "gd:" .. f.producer
  local env = call("HGET", key, id)
  call("HDEL", key, id)
  if te.is_sound(env, id) then
    te.settle(P, env, f.revoked or te.FLOW_DAMAGED, te.moment or te.now())
  else
    te.give_up(P, id, env, te.FLOW_DAMAGED)
  end
  call("HDEL", P .. "gl", id)
end

-- How many such tasks are seen to together, and what each takes.
local LOT, STEPS_EACH = 32, 5

-- All of them, which will not end otherwise.
function te.FLOW_WORK.z(f)
  if f.left > 0 then
    return true
  end
  local key = f.P .. "gd:" .. f.producer
  while te.steps > 0 do
    local ids = call("HRANDFIELD", key, texts[LOT])
    for k = 1, #ids do
      end_deserted(f, ids[k])
    end
    te.steps = te.steps - 1 - STEPS_EACH * #ids
    if #ids < LOT then
      f.delegates = nil
      call("HDEL", f.P .. "g:" .. f.producer, "delegates")
      return true
    end
  end
  return false
end

-- The same once it is known that no edge is left to be followed.
function te.end_deserted(f)
  if call("EXISTS", f.P .. "gq") == 1 then
    te.put_behind(f, "z", 0, 0)
  else
    te.add_flow_work(f.producer, "z", 0, 0)
  end
end

function te.SIZES.w(args, i)
  return te.is_producer(args[i + 2]) and 3 or nil
end

-- A task that was revoked, itself or with its flow, delegates nothing: what it
-- has sent for that is nobody's.
local function revoke_delegate(state, producer, record, mode)
  local f = te.flow(state.P, producer)
  if f then
    te.revoke_flow(f, record, mode)
  end
end

-- { kind = , message = } in MessagePack
local DELEGATE_GONE = "F\130\164kind\169Forgotten\167message"
  .. "\217\040the flow that was to end it is not there"

-- The flow that was to end the task is gone: it runs again, but no more often
-- than one with which processes die.
local function run_again(state, env)
  env = te.raise(env, te.AT_DEATHS)
  if te.fails_when_lost(env) or byte(env, te.AT_DEATHS) >= te.DEATHS_MAX then
    te.settle(state.P, te.returned(env), DELEGATE_GONE, state.now)
  else
    state.back[#state.back + 1] = env
  end
end

-- The node as which a task ends that delegates only now, if it is known.
local function known_end(f, target)
  local from = te.natural(call("HGET", f.P .. "gw:" .. f.producer,
    "d" .. texts[target]) or nil, f.n)
  return from and te.has_ended(f, from) and from
end

-- With the producer of the flow that ends it.
te.OPERATIONS.w = te.single(function(state, env, producer)
  local P, id = state.P, te.id(env)
  local f, own, i = te.flow(P, producer), te.flow_of(P, env)
  if not f then
    return run_again(state, env)
  elseif own then
    te.mark_delegated(own, i, own ~= f)
  end
  local target = own == f and i or 0
  if target == 0 then
    call("HSET", P .. "gl", id, producer)
  end
  call("HSET", P .. "gd:" .. producer, id, env)
  if not f.delegates then
    f.delegates = "1"
    call("HSET", P .. "g:" .. producer, "delegates", "1")
  end
  local from = known_end(f, target)
  if from then
    settle(f, id, env, from)
  elseif f.state == "done" then
    te.end_deserted(f)
  end
end, revoke_delegate)
