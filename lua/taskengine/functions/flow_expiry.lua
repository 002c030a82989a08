-- When a flow goes that has ended: as long after its end as its outcomes are
-- kept, and not while another that goes on holds it.

-- How long what belongs to a flow stays behind its outcomes, for somebody to
-- take it away.
local SLACK_MS = 3600 * 1000
-- Its producer stays for who did not hear that it was sealed and sends it
-- again: for a day, the longest that a call may wait for Redis. That there was
-- such a flow is all that is to be known then.
local SENT_AGAIN_MS, WAS_SEALED = "86400000", "0"
-- More go than come, however many do.
local DROPPED_WITH_EACH = 2
-- When a flow is looked at again that could not go.
local LATER_MS = 1000

-- All nodes have ended: from now on, and not before, the flow expires; or when
-- the one that holds it has ended, too. Its outcomes first, then what it holds,
-- in portions; itself when that is done: until then it tells what there is.
function te.set_flow_end(f)
  if f.revoked then
    call("SREM", f.P .. "gc", f.producer)
  end
  if not f.held then
    te.add_flow_work(f.producer, "c", 0, 0)
  end
end

-- Whether it has ended and nothing holds it, still.
function te.may_expire(f)
  return f.state == "done" and not f.held
end

function te.expire_flow(f)
  local P, ttl_ms = f.P, math.max(f.ttl_s * 1000, 1)
  local keys, now = te.flow_keys(P, f.producer), te.moment or te.now()
  local last = te.FLOW_KEYS_ALWAYS
  if call("EXISTS", unpack(keys, last + 1)) > 0 then
    last = #keys
  end
  for k = 1, last do
    call("PEXPIRE", keys[k], texts[ttl_ms + SLACK_MS])
  end
  call("SET", P .. "i:" .. f.producer, WAS_SEALED, "PX", SENT_AGAIN_MS)
  call("ZADD", P .. "gx", texts[now + ttl_ms], f.producer)
  te.drop_flows(P, now, DROPPED_WITH_EACH)
end

-- It has no end again.
function te.persist_flow(f)
  local P, producer = f.P, f.producer
  local keys = te.flow_keys(P, producer)
  for k = 1, #keys do
    call("PERSIST", keys[k])
  end
  call("SET", P .. "i:" .. producer, texts[f.n])
  call("ZREM", P .. "gx", producer)
  if f.holds then
    te.add_flow_work(producer, "u", 0, 0)
  end
end

-- Outcomes of the nodes from a on are kept as long as the flow's; if that has
-- not come to have no end again.
function te.FLOW_WORK.c(f, item)
  if not te.may_expire(f) then
    return true
  end
  local ttl_ms = texts[f.ttl_s * 1000]
  for i = item.a, f.n, te.CHUNK_NODES do
    if te.steps <= 0 then
      item.a = i
      return false
    end
    te.steps = te.steps - 1
    local key = f.P .. "v:" .. sub(te.node_id(f.producer, i), 1, 19)
    call("PEXPIRE", key, ttl_ms)
  end
  if f.holds then
    te.add_flow_work(f.producer, "h", 0, 0)
  else
    te.expire_flow(f)
  end
  return true
end

-- Whether tasks wait for a flow that has ended. They are to end first, in a
-- later call: this one may have written already what it did to flows.
local function is_awaited(P, producer, now)
  local f = call("EXISTS", P .. "gd:" .. producer) == 1
    and te.flow(P, producer)
  if not f or f.state ~= "done" then
    return false
  end
  te.put_behind(f, "z", 0, 0)
  call("ZADD", P .. "gx", texts[now + LATER_MS], producer)
  return true
end

-- Of those that may go, the ones that nothing keeps.
local function list_old(P, now, limit)
  local due, old = call("ZRANGE", P .. "gx", "-inf",
    string.format("%.0f", now), "BYSCORE", "LIMIT", "0", texts[limit]), {}
  for i = 1, #due do
    old[#old + 1] = not is_awaited(P, due[i], now) and due[i] or nil
  end
  return old
end

-- Takes away what flows have left behind.
function te.drop_flows(P, now, limit)
  local old = list_old(P, now, limit)
  if not old[1] then
    return
  end
  local keys = {}
  for i = 1, #old do
    local of_flow = te.flow_keys(P, old[i])
    for k = 1, #of_flow do
      keys[#keys + 1] = of_flow[k]
    end
  end
  call("UNLINK", unpack(keys))
  call("SREM", P .. "gc", unpack(old)) -- where its header was damaged
  call("ZREM", P .. "gx", unpack(old))
end
