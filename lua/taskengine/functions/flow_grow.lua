-- How a running task makes its flow grow: te1_flow_add; and how it lets another
-- node end in its place: the operation `w` of te1_finish.

local DELEGATED = "g"

-- A task is to end as node `from` of the flow, which has ended.
local function settle(f, id, env, from)
  local record = te.raw_outcome(f.P, te.node_id(f.producer, from)) or "-"
  local own, i = te.flow_of(f.P, env)
  call("HDEL", f.P .. "gd:" .. f.producer, id)
  call("HDEL", f.P .. "gl", id)
  if own and byte(record) == 68 then
    te.end_node_alone(own, i, record, "n")
    te.close_past(f.P, env, record)
  else
    te.settle(f.P, env, te.expanded(f.P, record), te.moment or te.now())
  end
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
  call("HSET", f.P .. "gw:" .. f.producer, "d" .. te.text(target),
    te.text(from))
end

function te.end_delegated(f, from, target)
  local id = delegate_of(f, target)
  local env = call("HGET", f.P .. "gd:" .. f.producer, id)
  if env then
    settle(f, id, env, from)
  else
    te.note_delegate(f, from, target)
  end
end

function te.SIZES.w() return 3 end

-- With the producer of the flow that ends it. Should that be gone, the task
-- runs again.
te.OPERATIONS.w = te.single(function(state, env, producer)
  local P, id = state.P, te.id(env)
  local f = te.flow(P, producer)
  if not f then
    state.back[#state.back + 1] = env
    return
  end
  local own, i = te.flow_of(P, env)
  if own then
    te.set_node_state(own, i, DELEGATED)
  end
  local target = own == f and i or 0
  if target == 0 then
    call("HSET", P .. "gl", id, producer)
  end
  call("HSET", P .. "gd:" .. producer, id, env)
  local from = call("HGET", P .. "gw:" .. producer, "d" .. te.text(target))
  if from then
    settle(f, id, env, tonumber(from))
  end
end)
