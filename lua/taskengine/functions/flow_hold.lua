-- How a flow that has ended stays for another that goes on.
--
-- A task that delegated to a flow may have ended with an outcome that names
-- nodes there: a large group whose results are read when they are needed, or
-- the cause of a failure. As long as the flow of that task goes on, it holds
-- the other: nothing of that expires before.

local STEPS_EACH = 10

-- Kept longer than asked for, where another outcome needs it.
local function keep_at_least(f, ttl_s)
  if ttl_s > f.ttl_s then
    f.ttl_s = ttl_s
    call("HSET", f.P .. "g:" .. f.producer, "ttl", texts[ttl_s])
  end
end

-- Whether an outcome names nodes of the flow that it came from.
local function names_nodes(record)
  local letter = sub(record, 1, 1)
  return letter == "G" or letter == "D"
end

-- It has no end from now on, also if it has ended.
local function hold(f)
  f.held = "1"
  call("HSET", f.P .. "g:" .. f.producer, "held", "1")
  if f.state == "done" then
    te.persist_flow(f)
    te.add_flow_work(f.producer, "k", 0, 0)
  end
end

-- A task with this envelope has ended as a node of flow f: of the flow `own`,
-- or of none.
function te.keep_delegate(f, own, env, record)
  if not names_nodes(record) then
    return
  elseif not own then
    keep_at_least(f, te.ttl_ms(env) / 1000)
    if f.state == "done" then
      te.set_flow_end(f)
    end
  elseif own ~= f then
    hold(f)
    call("RPUSH", f.P .. "gh:" .. own.producer, f.producer)
    if not own.holds then
      own.holds = "1"
      call("HSET", f.P .. "g:" .. own.producer, "holds", "1")
    end
  end
end

-- Calls visit(flow) for those that a flow holds, from item.a on.
local function each_held(f, item, visit)
  local key = f.P .. "gh:" .. f.producer
  while te.steps > 0 do
    te.steps = te.steps - STEPS_EACH
    local producer = call("LINDEX", key, texts[item.a])
    if not producer then
      return true
    end
    local other = te.flow(f.P, producer)
    if other then
      visit(other)
    end
    item.a = item.a + 1
  end
  return false
end

-- It has ended: what it holds may end, too, and then it may go itself. Here as
-- below: unless it is not so any more, when the work is come to.
function te.FLOW_WORK.h(f, item)
  if not te.may_expire(f) then
    return true
  end
  local is_over = each_held(f, item, function(other)
    other.held = nil
    call("HDEL", f.P .. "g:" .. other.producer, "held")
    keep_at_least(other, f.ttl_s)
    if other.state == "done" then
      te.set_flow_end(other)
    end
  end)
  if is_over then
    te.expire_flow(f)
  end
  return is_over
end

-- It goes on, or is held, having ended before.
function te.FLOW_WORK.u(f, item)
  if te.may_expire(f) then
    return true
  end
  return each_held(f, item, hold)
end

-- Outcomes of a flow that has ended have no end, from node a on.
function te.FLOW_WORK.k(f, item)
  if not f.held then
    return true
  end
  for i = item.a, f.n, te.CHUNK_NODES do
    if te.steps <= 0 then
      item.a = i
      return false
    end
    te.steps = te.steps - 1
    call("PERSIST", f.P .. "v:" .. sub(te.node_id(f.producer, i), 1, 19))
  end
  return true
end
