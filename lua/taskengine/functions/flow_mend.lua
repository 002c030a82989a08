-- What is done about flows of which somebody has deleted or overwritten
-- something: what is left of such a flow ends, and who waits for it is told.

-- The outcome of what cannot go on: { kind = , message = } in MessagePack
te.FLOW_DAMAGED = "F\130\164kind\169Malformed\167message"
  .. "\217\036its flow is damaged in Redis or gone"

local CELL_BYTES = te.CELL_BYTES
local TTL_S, TTL_S_MAX, MADE_MAX = 86400, 2 ^ 32, 2 ^ 52
local RELEASED, DELEGATED = 114, 103 -- by byte
local ENDED = { [100] = true, [102] = true, [110] = true, [82] = true,
  [115] = true }
local ENDS_AS = { S = "d", J = "d", G = "d", R = "R", D = "n" }
local IS_MODE = { c = true, t = true, w = true }
-- Of a flow that seems to have stopped: cells that are looked at.
local CELLS_MAX, CELLS_IN_STEP = 20000, 100
-- To count one node.
local COUNT_STEPS = 0.25

local function is_within(v, least, most)
  return v and v >= least and v <= most
end

-- How many nodes a flow has, from what else there is of it.
local function count_nodes(f)
  local n = te.producer_state(f.P, f.producer)
  if n == 0 then
    n = math.floor(call("STRLEN", f.P .. "gs:" .. f.producer) / CELL_BYTES)
  end
  return math.min(math.max(n, 1), te.NODES_MAX)
end

-- Numbers that are none are made anew, and so is how it was revoked.
function te.check_header(f)
  if not is_within(f.n, 1, te.NODES_MAX) then
    f.n, f.left = count_nodes(f), nil
  end
  if not is_within(f.left, 0, f.n + 1) or not is_within(f.out, 0, f.n) then
    f.left, f.out, f.is_torn = f.n, 0, true
  end
  if not is_within(f.made, 0, MADE_MAX) then
    f.made, f.is_torn = te.moment or te.now(), true
  end
  if not is_within(f.ttl_s, 0, TTL_S_MAX) then
    f.ttl_s, f.is_torn = TTL_S, true
  end
  f.passes = f.passes and math.min(f.passes, f.n)
  if f.revoked and not IS_MODE[f.mode] then
    f.mode = "c"
  end
end

-- A flow that goes on has a producer without an end: when nothing else is
-- there, it was deleted.
local function is_deleted(P, producer)
  return not te.flow(P, producer) and call("PTTL", P .. "i:" .. producer) == -1
end

-- The flow of a task that is there and whose outcome is kept so long, also when
-- it has ended. If it is gone it is made again as far as it can be, so that the
-- others of it end.
function te.flow_or_remake(P, producer, ttl_s)
  local f = te.flow(P, producer)
  if not f and te.may_write and is_deleted(P, producer) then
    call("HSET", P .. "g:" .. producer, "sealed", "1", "ttl", texts[ttl_s])
    te.flows[producer] = nil
    f = te.flow(P, producer)
  end
  return f
end

function te.is_broken(f)
  return f.revoked == te.FLOW_DAMAGED
end

-- Counts a node that has not ended, and one that is released. What was no cell
-- is that of a node that waits.
local function count_node(f, i)
  local bytes = te.cell(f, i)
  local state = byte(bytes)
  if f.is_torn then
    f.is_torn = nil
    te.set_cell(f, i, bytes)
  end
  if not ENDED[state] then
    f.left = f.left + 1
    if state == RELEASED or state == DELEGATED and te.is_away(f, i) then
      f.out = f.out + 1
    end
  end
end

-- Counts all nodes, in portions. `counted` tells how many of them have been;
-- the end of one behind these is not counted.
function te.FLOW_WORK.n(f)
  local g = f.P .. "g:" .. f.producer
  while f.counted and f.counted < f.n do
    if te.steps <= 0 then
      call("HSET", g, "counted", texts[f.counted])
      return false
    end
    te.steps = te.steps - COUNT_STEPS
    f.counted = f.counted + 1
    count_node(f, f.counted)
  end
  if f.counted then
    f.counted, f.left = nil, f.left - 1
    call("HDEL", g, "counted")
  end
  return true
end

-- It ends as if it had been revoked; what runs goes on. Held open by one until
-- its nodes are counted.
local function break_flow(f)
  local g = f.P .. "g:" .. f.producer
  te.seen = nil
  f.revoked, f.mode, f.state, f.passes = te.FLOW_DAMAGED, "w", "", nil
  f.counted, f.left, f.out = 0, 1, 0
  call("HSET", g, "n", texts[f.n], "made", texts[f.made], "ttl",
    texts[f.ttl_s], "revoked", f.revoked, "mode", f.mode, "sealed", "1",
    "counted", "0")
  call("HDEL", g, "state", "passes")
  te.keep_malformed(f.P, "flow " .. te.node_id(f.producer, 0)
    .. " could not go on: something of it in Redis was deleted or overwritten")
  call("SADD", f.P .. "gc", f.producer)
  te.add_flow_work(f.producer, "n", 0, 0)
  te.add_revocation(f)
end

-- A node has ended, as its outcome says, and its cell does not say so.
function te.take_ended(f, i)
  local record = te.raw_outcome(f.P, te.node_id(f.producer, i))
  if not record then
    return false
  end
  te.put_end(f, i, ENDS_AS[sub(record, 1, 1)] or "f")
  return true
end

-- Whether nothing will ever bring it on.
local function is_stuck(f)
  return f.out == 0 and f.left > 0 and f.state ~= "done"
    and call("EXISTS", f.P .. "gq") == 0
end

-- Whether it has to end now, once in a call.
local function cannot_go_on(f)
  local is_damaged = f.is_damaged and not te.is_broken(f)
  f.is_damaged = nil
  local is_torn = f.is_torn and not f.counted
  return not f.is_mended and (is_torn or is_damaged or is_stuck(f))
end

-- At the end of a function: ends a flow that cannot go on, and tasks that it
-- was to end and has not. True when there was anything to be done.
local function mend(f)
  if f.state == "done" then
    return false
  elseif cannot_go_on(f) then
    f.is_torn, f.is_mended = nil, true
    break_flow(f)
    return true
  elseif f.left == 0 and f.delegates and not f.is_deserted then
    f.is_deserted = true
    te.end_deserted(f)
    return true
  end
  return false
end

function te.mend_flows(P)
  local k, is_new = 1, false
  while te.opened[k] do
    is_new = mend(te.opened[k]) or is_new
    k = k + 1
  end
  if is_new then
    te.advance_flows(P)
    te.mend_flows(P)
  end
end

-- Whether there is no ready list; asked once in a call.
function te.is_no_list(P, seen)
  if seen.any_ready == nil then
    seen.any_ready = te.any_ready(P)
  end
  return not seen.any_ready
end

-- Whether a task is in flight, due or prioritised, or waits for another flow
-- that goes on.
local function is_somewhere(f, i, state, seen)
  local P, id = f.P, te.node_id(f.producer, i)
  if state == DELEGATED then
    local other = te.flow(P, call("HGET", P .. "gl", id) or "")
    return other and other.state ~= "done"
  end
  return state == RELEASED and (te.place_in_flight(P, id, seen)
    or te.is_prioritised(P, id) or call("ZSCORE", P .. "z", id))
end

-- Whether of all that was released nothing is there any more, as far as that
-- can be told and is not much to look at.
local function find_lost(f, seen)
  if f.n > CELLS_MAX or te.steps <= 0 or not te.is_no_list(f.P, seen)
    or not te.is_few_in_flight(f.P, seen)
    or call("EXISTS", f.P .. "gq") == 1 then
    return false
  end
  te.steps = te.steps - f.n / CELLS_IN_STEP
  local cells = call("GETRANGE", f.P .. "gs:" .. f.producer, "0", "-1")
  local at = string.find(cells, "[rg]")
  while at do
    local i = (at - 1) / CELL_BYTES + 1
    if i % 1 == 0 then
      te.steps = te.steps - 1
      if te.steps <= 0 or is_somewhere(f, i, byte(cells, at), seen) then
        return false
      end
    end
    at = string.find(cells, "[rg]", at + 1)
  end
  return true
end

-- The same, asked once in a call.
local function is_lost(f, seen)
  if f.is_lost == nil then
    f.is_lost = find_lost(f, seen)
  end
  return f.is_lost
end

-- For somebody who waits for a task or a flow: whether that cannot end any
-- more, because of what was deleted.
function te.is_hopeless(P, id, seen)
  local producer = te.sequence(id) and sub(id, 1, 12)
  local f = producer and te.flow(P, producer)
  if not f then
    return producer and is_deleted(P, producer)
  end
  return f.state ~= "done" and (f.is_torn or is_stuck(f) or is_lost(f, seen))
end
