-- te1_state: what is known of tasks that have not ended; te1_kin: who sent
-- them, and what they sent.

-- Of an entry of `st`: wid, delivery and time stand in front of the record.
local WID_BYTES, HEAD_BYTES = 12, 24
-- Ids in one call, and noted of what one task sent.
local ASKED_MAX, KIN_MAX = 1000, 1000
local ID_BYTES = 20

-- The envelope with the flag that says that something is noted of its task:
-- such a task never ends without its envelope being read.
function te.with_past(env)
  return te.has_past(env) and env
    or te.patch(env, 22, char(byte(env, 22) + te.HAS_PAST))
end

-- Whether the task is in flight under this field. Its envelope gets the flag.
local function mark(f, field)
  local env = call("HGET", f, field)
  if not env or not te.is_sound(env, sub(field, 1, ID_BYTES)) then
    return false
  elseif not te.has_past(env) then
    call("HSET", f, field, te.with_past(env))
  end
  return true
end

function te.SIZES.p()
  return 3
end

-- field, record: what the task says of itself while it runs. It counts for
-- this delivery alone, so nobody need take it back when the task goes back to
-- its queue.
function te.OPERATIONS.p(state, args, i)
  local P, field, record = state.P, args[i + 1], args[i + 2]
  local id, f = sub(field, 1, ID_BYTES), state.P .. "f:" .. state.wid
  local whose = state.wid .. sub(field, ID_BYTES + 1)
  local before = call("HGET", P .. "st", id)
  local is_there
  if before and sub(before, 1, #whose) == whose then
    is_there = call("HEXISTS", f, field) == 1
  else
    is_there = mark(f, field)
  end
  if is_there then
    call("HSET", P .. "st", id, whose .. te.bytes_of(state.now, 8) .. record)
  end
  return 0
end

-- What a task has said of itself: who runs it, when it said so, the record;
-- nil when it does not run any more where it said that.
local function said_by(P, id)
  local entry = call("HGET", P .. "st", id)
  if not entry or #entry <= HEAD_BYTES then
    return nil
  end
  local wid = sub(entry, 1, WID_BYTES)
  local field = id .. sub(entry, WID_BYTES + 1, WID_BYTES + 4)
  if call("HEXISTS", P .. "f:" .. wid, field) == 1 then
    return wid, te.number_at(entry, WID_BYTES + 5, 8),
      sub(entry, HEAD_BYTES + 1)
  end
end

-- Where a task is that is not due and has not said that it runs, and at which
-- worker; an empty place when nobody can tell, nil when it is nowhere.
function te.place_of(P, id, seen)
  if te.has_ended_in_flow(P, id) then
    return nil
  elseif te.is_prioritised(P, id) then
    return "prioritised"
  elseif te.waits_in_flow(P, id) then
    return "flow"
  elseif not te.is_few_in_flight(P, seen) then
    return ""
  end
  local at = te.place_in_flight(P, id, seen)
  if at then
    return "in flight", at.wid
  end
  return te.any_ready(P) and "ready" or nil
end

-- Where a task is that has said nothing, at which worker, and when it is due.
local function find(P, id, seen)
  local due = tonumber(call("ZSCORE", P .. "z", id) or 0) or 0
  if due > 0 then
    return "due", nil, due
  elseif seen.looks_everywhere then
    return te.place_of(P, id, seen)
  end
  return ""
end

-- A task that has not ended, see docs/protocol.md.
local function describe(P, id, seen)
  if seen.looks_everywhere and te.is_hopeless(P, id, seen) then
    return te.FLOW_DAMAGED
  end
  local wid, at, record = said_by(P, id)
  local place, due = "in flight", 0
  if not wid then
    place, wid, due = find(P, id, seen)
  end
  if not place then
    return "-"
  end
  local about = wid and seen.looks_everywhere and te.about(P, wid)
  return {
    "=" .. id, place, due or 0, at or 0, record or "",
    call("LINDEX", P .. "h:" .. id, -1) or "", about or "",
  }
end

te.register("state", function(keys, args)
  local P, out, seen = keys[1], {}, { looks_everywhere = args[1] == "1" }
  if #args - 1 > ASKED_MAX then
    return redis.error_reply("ERR te1_state: too many at once")
  end
  for i = 2, #args do
    local id = te.original(P, te.resolve(P, args[i]))
    local known = te.known_outcome(P, id)
    out[i - 1] = sub(known, 1, 1) == "=" and describe(P, id, seen) or known
  end
  return out
end, { "no-writes" })

-- Notes what a task has sent. Returns how many of these ids had room.
local function add_children(P, parent, ids, ttl_ms)
  local key, field = P .. "v:" .. sub(parent, 1, 19), sub(parent, 20) .. "k"
  local room = KIN_MAX - math.floor(call("HSTRLEN", key, field) / ID_BYTES)
  local n = math.min(#ids, room)
  if n <= 0 then
    return 0
  end
  local all = (call("HGET", key, field) or "") .. table.concat(ids, "", 1, n)
  if te.is_in_live_flow(P, parent) then
    call("HSET", key, field, all) -- beside outcomes that are needed
  else
    te.put_outcomes(key, { field, all }, ttl_ms)
  end
  return n
end

-- Notes which tasks a task has sent, and of each of them that it has. Both
-- stand beside the outcomes and go with them.
local function add_kin(P, parent, ids, ttl_ms)
  local chunks = {}
  for i = 1, add_children(P, parent, ids, ttl_ms) do
    local prefix = sub(ids[i], 1, 19)
    local chunk = chunks[prefix] or {}
    chunk[#chunk + 1], chunk[#chunk + 2] = sub(ids[i], 20) .. "p", parent
    chunks[prefix] = chunk
  end
  for prefix, chunk in pairs(chunks) do
    if te.is_in_live_flow(P, prefix .. sub(chunk[1], 1, 1)) then
      call("HSET", P .. "v:" .. prefix, unpack(chunk))
    else
      te.put_outcomes(P .. "v:" .. prefix, chunk, ttl_ms)
    end
  end
end

-- A task has added nodes to its flow.
te.add_kin = add_kin

-- A task has sent a flow, which knows by whom.
function te.note_flow_kin(P, producer, parent, ttl_ms)
  add_children(P, parent, { te.node_id(producer, 0) }, ttl_ms)
end

-- Of the groups of a te1_enqueue that was carried out, and its reply.
function te.note_kin(P, args, starts, reply)
  local parent, ttl_ms, ids, general = "", 0, {}, 2
  local function flush()
    if parent ~= "" then
      add_kin(P, parent, ids, ttl_ms)
    end
    ids = {}
  end
  for k = 1, #starts do
    local i = starts[k]
    if args[i] == "c" then
      flush()
      parent, ttl_ms = args[i + 1], args[i + 2] * 1000
    elseif args[i] == "r" then
      for at = i + 3, i + 2 + args[i + 2] do
        ids[#ids + 1] = te.id(args[at])
      end
    elseif args[i] == "g" then
      general = general + 1
      ids[#ids + 1] = reply[general]
    end
  end
  flush()
end

-- What was noted goes where the outcome goes before its time.
function te.forget_kin(P, id)
  local last = sub(id, 20)
  call("HDEL", P .. "v:" .. sub(id, 1, 19), last .. "k", last .. "p")
end

te.register("kin", function(keys, args)
  local P = keys[1]
  local id = te.original(P, te.resolve(P, args[1]))
  local last = sub(id, 20)
  local kin = call("HMGET", P .. "v:" .. sub(id, 1, 19), last .. "p",
    last .. "k")
  local parent = kin[1] or te.sequence(id)
    and call("HGET", P .. "g:" .. sub(id, 1, 12), "parent")
  local out, seen = { parent or "" }, {}
  for at = 1, #(kin[2] or ""), ID_BYTES do
    local child = sub(kin[2], at, at + ID_BYTES - 1)
    if not seen[child] then
      seen[child] = true
      out[#out + 1] = child
    end
  end
  return out
end, { "no-writes" })
