-- te1_flow_retry, te1_flow_look; what other functions ask
-- about nodes.

local CELL_BYTES, CHUNK = te.CELL_BYTES, te.CHUNK_NODES
local NO_CELL = te.NO_CELL
local WAITS, RELEASED, DELEGATED, DONE = "\0", "r", "g", "d"
-- To look at a task in flight, to ask for its end, and to bury one.
local LOOK_STEPS, ASK_STEPS, BURY_STEPS = 0.02, 1, 3
local HAS_FAILED = { f = true, n = true, R = true, s = true }
local ERRBACK, EDGE_BYTES = te.ERRBACK, te.EDGE_BYTES
local LOOKED_AT_MAX, LOOKED_AT_BYTES_MAX = 10000, 1024 * 1024

-- Whether the end that a node has is only to be taken back: its flow is done
-- again.
function te.is_outdated(f, i)
  return f.passes ~= nil and i <= f.passes
    and HAS_FAILED[te.node_state(f, i)] == true
    and call("HEXISTS", f.P .. "gw:" .. f.producer, "t" .. texts[i]) == 0
end

-- The same of the outcome of a task.
function te.is_old_outcome(P, id, record)
  local letter = byte(record)
  if letter == 83 or letter == 74 or letter == 71 then -- as most are
    return false
  end
  local f, i = te.flow_of_id(P, id)
  return f ~= nil and te.is_outdated(f, i)
end

-- Whether a node has ended, and that stands.
function te.has_ended(f, i)
  return not te.IS_OPEN[te.node_state(f, i)] and not te.is_outdated(f, i)
end

-- Whether a node is in no queue and no worker's hands.
function te.is_held_back(f, i)
  local state = te.node_state(f, i)
  return state == WAITS or state == DELEGATED
end

-- Whether others may still need what is kept of a task.
function te.is_in_live_flow(P, id)
  local f = te.flow_of_id(P, id)
  return f ~= nil and (f.state ~= "done" or f.held)
end

-- Whether it is a flow that goes on, or is not sealed yet.
local function is_live_flow(P, id)
  if te.sequence(id) ~= 0 then
    return false
  end
  local f = te.flow(P, sub(id, 1, 12))
  return f and f.state ~= "done"
    or not f and call("EXISTS", P .. "g:" .. sub(id, 1, 12)) == 1
end

-- Whether it is a flow, or a node of one, that has ended.
function te.has_ended_in_flow(P, id)
  if te.sequence(id) == 0 then
    local f = te.flow(P, sub(id, 1, 12))
    return f ~= nil and f.state == "done"
  end
  local f, i = te.flow_of_id(P, id)
  return f ~= nil and te.has_ended(f, i)
end

function te.waits_in_flow(P, id)
  local f, i = te.flow_of_id(P, id)
  return f and (te.is_held_back(f, i) or te.is_outdated(f, i))
    or call("HEXISTS", P .. "gl", id) == 1 or is_live_flow(P, id)
end

-- The flow to which a task delegated, which nobody needs then any more, and
-- the task's envelope. What that flow ends as is no end of this task.
local function take_from_delegate(P, id, record, mode)
  local producer = call("HGET", P .. "gl", id)
  if not producer then
    return nil
  end
  local key, other = P .. "gd:" .. producer, te.flow(P, producer)
  local env = call("HGET", key, id)
  call("HDEL", key, id)
  if other then
    te.revoke_flow(other, record, mode)
  end
  return env
end

-- Ends a node that is in no queue and no worker's hands, or a task that waits
-- for the flow to which it delegated. False when it is none of these.
function te.revoke_held_back(P, id, record, mode)
  local env = take_from_delegate(P, id, record, mode)
  local f, i = te.flow_of_id(P, id)
  local is_node = f and te.is_held_back(f, i)
  if env and te.is_sound(env, id) then
    te.settle(P, env, record, te.moment or te.now())
  elseif env then
    te.give_up(P, id, env, record)
  elseif is_node then
    te.end_and_tell(f, i, record, "R")
  end
  call("HDEL", P .. "gl", id)
  return env and true or is_node or false
end

function te.is_of_revoked(P, env)
  return te.is_node(env)
    and call("SISMEMBER", P .. "gc", sub(env, 1, 12)) == 1
end

-- Who has been asked to end is to be killed if he goes on.
local function hasten(f, mode)
  if mode ~= "t" or f.mode == "t" then
    return false
  end
  f.mode = mode
  call("HSET", f.P .. "g:" .. f.producer, "mode", mode)
  te.add_flow_work(f.producer, "y", 0, 0)
  return true
end

-- From now on no node of it starts. What waits ends in portions.
function te.revoke_flow(f, record, mode)
  if f.state == "done" then
    return false
  elseif f.revoked then
    return hasten(f, mode)
  end
  te.send_released(f.P) -- is looked for where it goes
  te.seen = nil
  f.revoked, f.mode = record, mode or "c"
  call("HSET", f.P .. "g:" .. f.producer, "revoked", record, "mode", f.mode)
  call("SADD", f.P .. "gc", f.producer)
  te.add_revocation(f)
  return true
end

-- How the flow of a task was revoked, with which outcome and in which mode; nil
-- when it was not.
function te.revocation_of(P, env)
  local f = te.flow_of(P, env)
  if f then
    return f.revoked, f.mode
  end
end

-- Notes what a worker has in hand of a flow, and asks it to end that, unless
-- what runs is to go on.
local function ask_worker(f, wid)
  local all, fields = call("HKEYS", f.P .. "f:" .. wid), {}
  for k = 1, #all do
    if sub(all[k], 1, 12) == f.producer and #all[k] == te.FIELD_BYTES then
      local i = te.node_of(all[k])
      if i >= 1 and i <= f.n and te.node_state(f, i) == RELEASED then
        te.mark_in_hand(f, i)
        fields[#fields + 1] = all[k]
      end
    end
  end
  te.steps = te.steps - 1 - #all * LOOK_STEPS - #fields * ASK_STEPS
  if f.mode ~= "w" then
    te.request_ends(f.P, wid, fields, f.mode, f.revoked)
  end
end

-- The ids of workers in order, also of those who are not known to live.
local function all_workers(P)
  local wids, is_there = call("ZRANGE", P .. "w", "0", "-1"), {}
  for k = 1, #wids do
    is_there[wids[k]] = true
  end
  local serving = call("HKEYS", P .. "wq")
  for k = 1, #serving do
    if not is_there[serving[k]] then
      wids[#wids + 1] = serving[k]
    end
  end
  table.sort(wids)
  return wids
end

-- The same of one worker after the other, in the order of their ids, from the
-- one behind that whose two halves stand in the item. They get none of this
-- flow any more, so each is asked once.
function te.FLOW_WORK.y(f, item)
  if not f.revoked then
    return true -- the header was overwritten meanwhile
  end
  local wids = all_workers(f.P)
  local last = te.bytes_of(item.a, 6) .. te.bytes_of(item.b, 6)
  for k = 1, #wids do
    local wid = wids[k]
    if #wid == 12 and wid > last then
      if te.steps <= 0 then
        return false
      end
      ask_worker(f, wid)
      item.a, item.b = te.number_at(wid, 1, 6), te.number_at(wid, 7, 6)
    end
  end
  return true
end

-- A node that no worker has in hand and that is not kept by its id stands in a
-- ready list; or somebody has deleted it. Where so many are buried already that
-- others would come out of their graves, it ends when it comes out.
local function end_ready(f, i, id)
  te.seen = te.seen or {}
  if te.is_no_list(f.P, te.seen) or te.bury_if_room(f.P, id, te.seen) then
    te.steps = te.steps - BURY_STEPS
    te.end_and_tell(f, i, f.revoked, "R")
  end
end

function te.revoke_node(f, i)
  local state, id = te.node_state(f, i), te.node_id(f.producer, i)
  if state == WAITS then
    if not te.is_broken(f) or not te.take_ended(f, i) then
      te.end_and_tell(f, i, f.revoked, "R")
    end
  elseif state == DELEGATED then
    te.revoke_held_back(f.P, id, f.revoked, f.mode)
  elseif state == RELEASED then
    local env = te.take_waiting(f.P, id)
    if env and te.is_sound(env, id) then
      te.settle(f.P, env, f.revoked, te.moment or te.now())
    elseif env then
      te.give_up(f.P, id, env, f.revoked)
    elseif not te.is_in_hand(f, i) then
      end_ready(f, i, id)
    end
  end
end

-- Ends what waits, of a flow that was revoked, from node a on.
function te.FLOW_WORK.x(f, item)
  if not f.revoked then
    return true
  end
  for i = item.a, f.n do
    if te.steps <= 0 then
      item.a = i
      return false
    end
    te.steps = te.steps - 3
    te.revoke_node(f, i)
  end
  return true
end

-- One that is not sealed has not begun: it goes.
local function drop_unsealed(P, producer)
  return call("UNLINK", unpack(te.flow_keys(P, producer))) > 0
end

-- The same for one that may be unsealed, or gone: true, false when it has ended
-- or was revoked, nil when it is not there.
function te.revoke_whole(P, producer, record, mode)
  local f = te.flow(P, producer)
  if f then
    return te.revoke_flow(f, record, mode)
  end
  return drop_unsealed(P, producer) or nil
end

-- Of a flow that has ended: what failed, and what failed for it, is done
-- again. Three passes over its nodes, in portions: the first takes back the
-- failures, the second counts what has arrived, the third sets off. What ends
-- before the third, because somebody revokes it, has no effect until then.
--
-- `passes` is the node to which the first pass has come, from the last on, and
-- 0 from its end to that of the second. Failures from there down are told to
-- nobody any more.
function te.retry_flow(f)
  if f.state ~= "done" then
    return "running"
  elseif not f.root and not f.revoked then
    return "nothing"
  end
  local P, producer = f.P, f.producer
  local outcomes = P .. "v:" .. sub(te.node_id(producer, 0), 1, 19)
  call("HDEL", P .. "g:" .. producer, "state", "root", "revoked")
  call("HSET", P .. "g:" .. producer, "passes", texts[f.n])
  f.state, f.root, f.revoked, f.is_new_end = "", nil, nil, false
  f.passes = f.n
  te.persist_flow(f)
  call("HDEL", outcomes, "0")
  call("PERSIST", outcomes)
  -- Held open by one until the passes are through.
  f.left = 1
  call("RPUSH", P .. "gq", producer .. "a0 0")
  call("RPUSH", P .. "gq", producer .. "b1 1")
  call("RPUSH", P .. "gq", producer .. "p1 0")
  return "retried"
end

-- Calls visit(i) for nodes from item.a on, as long as there are steps.
local function each_node(f, item, visit)
  for i = item.a, f.n do
    if te.steps <= 0 then
      item.a = i
      return false
    end
    te.steps = te.steps - 1
    visit(i)
  end
  return true
end

local function take_back(f, i)
  local id = te.node_id(f.producer, i)
  if i % CHUNK == 0 then
    call("PERSIST", f.P .. "v:" .. sub(id, 1, 19))
  end
  if HAS_FAILED[te.node_state(f, i)]
    and call("HDEL", f.P .. "gw:" .. f.producer, "t" .. texts[i]) == 0 then
    te.steps = te.steps - 2
    te.reset_node(f, i)
    call("HDEL", f.P .. "v:" .. sub(id, 1, 19), sub(id, 20))
    te.take_dead(f.P, id)
  end
end

-- Takes a node back ahead of that, because it is to end now: what it ends as
-- stands. False when it is not to be taken back.
function te.take_back_early(P, id)
  local f, i = te.flow_of_id(P, id)
  if not f or not te.is_outdated(f, i) then
    return false
  end
  take_back(f, i)
  call("HSET", P .. "gw:" .. f.producer, "t" .. texts[i], "1")
  return true
end

function te.FLOW_WORK.a(f)
  if te.is_broken(f) then
    return true
  end
  f.passes = f.passes or f.n -- somebody has deleted it
  while f.passes > 0 and te.steps > 0 do
    te.steps = te.steps - 1
    take_back(f, f.passes)
    f.passes = f.passes - 1
  end
  call("HSET", f.P .. "g:" .. f.producer, "passes", texts[f.passes])
  return f.passes == 0
end

local function count_edges(f, i, item)
  local edges = te.out_edges(f, i)
  for at = item.b, #edges, EDGE_BYTES do
    if te.steps <= 0 then
      item.b = at
      return false
    end
    te.steps = te.steps - 1
    local target = te.node_named(byte(edges, at + 1),
      te.number_at(edges, at + 2, 4), i)
    if sub(edges, at, at) == "d" then
      te.note_delegate(f, i, target)
    elseif target >= 1 and target <= f.n
      and te.node_state(f, target) == WAITS then
      te.count_arrivals(f, target, 1)
    end
  end
  return true
end

function te.FLOW_WORK.b(f, item)
  if te.is_broken(f) then
    return true
  end
  for i = item.a, f.n do
    item.a = i
    if te.steps <= 0 or te.node_state(f, i) == DONE
      and not count_edges(f, i, item) then
      return false
    end
    te.steps, item.b = te.steps - 1, 1
  end
  call("HDEL", f.P .. "g:" .. f.producer, "passes")
  f.passes = nil
  return true
end

function te.FLOW_WORK.p(f, item)
  if te.is_broken(f) then
    return true
  end
  local is_over = each_node(f, item, function(i)
    if te.node_state(f, i) == WAITS then
      local record = te.node_record(f, i)
      if not record
        or te.arrivals(f, i) >= te.node_need(record) % ERRBACK then
        te.set_off(f, i, record)
      end
    end
  end)
  if is_over then
    f.left = f.left - 1
  end
  return is_over
end

te.register("flow_retry", function(keys, args)
  if not te.is_producer(args[1]) then
    return redis.error_reply("ERR te1_flow_retry: not a flow")
  end
  local f = te.flow(keys[1], args[1])
  local answer = f and te.retry_flow(f) or "missing"
  if answer == "retried" then
    te.go_on_with_flows(keys[1])
  end
  return answer
end, {})

local function number(text)
  return tonumber(text) or 0
end

local function header(P, producer)
  local v = call("HMGET", P .. "g:" .. producer, "made", "n", "left",
    "sealed", "state", "name", "ttl", "x", "revoked")
  return v[1] and {
    te.now(), number(v[1]), number(v[2]), number(v[3] or v[2]),
    v[4] and 1 or 0, v[9] and "R" or v[5] or "", v[6] or "", number(v[7]),
    v[8] or "",
  } or {}
end

local function cells(P, producer, from, count)
  local first = (from - 1) * CELL_BYTES
  local bytes = call("GETRANGE", P .. "gs:" .. producer, texts[first],
    texts[first + count * CELL_BYTES - 1])
  local f, i = te.flow(P, producer), from - 1
  if not f or not f.passes or f.passes < from then
    return bytes
  end
  return (string.gsub(bytes, string.rep(".", CELL_BYTES), function()
    i = i + 1
    return te.is_outdated(f, i) and NO_CELL or nil
  end))
end

-- Records, without their bodies.
local function heads(P, producer, from, count)
  local out = {}
  for i = from, from + count - 1 do
    local record = call("HGET", P .. "gn:" .. producer, texts[i])
    if not record then
      break
    end
    out[#out + 1] = sub(record, 1, te.NODE_HEAD_BYTES)
  end
  return out
end

-- Templates, edges, inputs: as many as are a reply; a single one may be
-- larger.
local function pieces(key, letter, from, count)
  local out, bytes = {}, 0
  for k = from, from + count - 1 do
    local value = call("HGET", key, letter .. texts[k])
    bytes = bytes + #(value or "")
    if not value or bytes > LOOKED_AT_BYTES_MAX and #out > 0 then
      break
    end
    out[#out + 1] = value
  end
  return out
end

-- args: producer, what, from, how many
te.register("flow_look", function(keys, args)
  local P, producer, what = keys[1], args[1], args[2]
  local from = math.max(te.natural(args[3], 2 ^ 32) or 0, 1)
  local count = math.min(te.natural(args[4], 2 ^ 32) or 0, LOOKED_AT_MAX)
  if not te.is_producer(producer) or not what then
    return redis.error_reply("ERR te1_flow_look: not a flow and a question")
  end
  if what == "h" then
    return header(P, producer)
  elseif what == "c" then
    return cells(P, producer, from, count)
  elseif what == "n" then
    return heads(P, producer, from, math.min(count, 1000))
  end
  return pieces(P .. "g:" .. producer, what, from, math.min(count, 1000))
end, { "no-writes" })
