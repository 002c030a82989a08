-- What a node takes from others: how that stands ahead of the body of its
-- envelope; te1_gather: what is too much to travel.

-- What travels with a task; a node that takes more reads it.
local INPUTS_MAX, INPUTS_BYTES_MAX = 128, 32768
local FAR, NONE, ONE = te.FAR_INPUTS, te.NO_INPUTS, "\0\0\0\1"
local INPUT_BYTES = te.INPUT_BYTES
local GATHERED_MAX, GATHERED_BYTES_MAX = 1000, 1024 * 1024
local CHUNK = te.CHUNK_NODES
-- In place of an outcome that is gone: this and the node's id. One that was
-- forgotten is kept as this alone.
local GONE = "-"
-- Inputs of these kinds may be failures, so it is one of them.
local MAY_FAIL = { c = true, i = true, e = true }

-- The outcome of a node as it is kept; false when it has none.
function te.raw_outcome(P, id)
  return te.new_outcome(id) or call("HGET", P .. "v:" .. sub(id, 1, 19),
    sub(id, 20))
end

-- The inputs of a node as ranges: kind, first, last. Returns also how many
-- they are. All of those of an errback are one: what failed.
local function ranges_of(f, i, record)
  local k = te.number_at(record, 11, 4)
  local bytes = k > 0 and te.flow_piece(f, "i" .. texts[k], INPUT_BYTES)
    or ""
  local ranges, total = {}, 0
  for at = 1, #bytes, INPUT_BYTES do
    local flags = byte(bytes, at + 1)
    local first = te.node_named(flags, te.number_at(bytes, at + 2, 4), i)
    local last = te.node_named(flags, te.number_at(bytes, at + 6, 4), i)
    last = math.min(last, f.n)
    if first >= 1 and first <= last then
      local range = { kind = sub(bytes, at, at), first = first, last = last }
      ranges[#ranges + 1] = range
      total = total + (range.kind == "e" and 1 or last - first + 1)
    end
  end
  return ranges, total
end

-- Nodes that are looked at in a step.
local LOOKED_AT = 64

-- The first of a range that has failed: what an errback is for. te1_flow lets
-- none be longer.
local function failed_one(f, range)
  local last = math.min(range.last, range.first + te.ERRBACK_NODES_MAX - 1)
  te.steps = te.steps - math.floor((last - range.first) / LOOKED_AT)
  for i = range.first, last do
    local state = te.node_state(f, i)
    if state == "f" or state == "n" or state == "R" then
      return i
    end
  end
  return range.first
end

-- The outcome as a node gets it that takes it.
local function as_input(P, id, record)
  if record and record ~= GONE then
    return te.expanded(P, record)
  end
  return GONE .. id
end

-- What is kept of nodes from i on: of all to `last` that are of one chunk, when
-- that has small ones only; else of i alone; of none, when that is larger than
-- there is room for.
local function read_kept(lots, id, i, last, room)
  local key = lots.f.P .. "v:" .. sub(id, 1, 19)
  if key ~= lots.large_key and call("HEXISTS", key, te.SOME_LARGE) == 0 then
    local low = i % CHUNK
    return call("HMGET", key,
      unpack(digit_text, low, math.min(low + last - i, CHUNK - 1)))
  end
  lots.large_key = key
  return call("HSTRLEN", key, sub(id, 20)) <= room
    and { call("HGET", key, sub(id, 20)) } or {}
end

-- The same as those get them that take them, up to the first that there is no
-- room for.
local function read_lot(lots, i, last, room)
  local f, id = lots.f, te.node_id(lots.f.producer, i)
  local kept = read_kept(lots, id, i, last, room)
  local some_new, outcomes = te.chunks[sub(id, 1, 19)] ~= nil, {}
  for k = 1, #kept do
    local record = kept[k]
    if some_new or not record or record == GONE or byte(record) == 68 then
      id = te.node_id(f.producer, i + k - 1)
      record = as_input(f.P, id, te.new_outcome(id) or record)
    end
    outcomes[k], room = record, room - #record
    if room < 0 then
      break
    end
  end
  return outcomes
end

-- Which nodes of a range are among the inputs from the first-th to the last-th,
-- where so many stand before it: none, when the first of them is behind the
-- last. And how many inputs it is.
local function part_of(f, range, before, first, last)
  if range.kind ~= "e" then
    local size = range.last - range.first + 1
    return range.first - 1 + math.max(first - before, 1),
      range.first - 1 + math.min(last - before, size), size
  elseif before + 1 < first or before + 1 > last then
    return 1, 0, 1
  end
  local failed = failed_one(f, range)
  return failed, failed, 1
end

-- Inputs from the first-th to the last-th of all, some at a time, by
-- visit(outcomes, kind, node), until that returns true. Once `taken` says that
-- they are larger than its max together there are no outcomes.
local function each_lot(f, ranges, first, last, taken, visit)
  local lots, before = { f = f }, 0
  for k = 1, #ranges do
    local i, to, size = part_of(f, ranges[k], before, first, last)
    while i <= to do
      local outcomes = read_lot(lots, i, to, taken.max - taken.bytes)
      if visit(outcomes, ranges[k].kind, i) then
        return
      end
      i = i + math.max(#outcomes, 1)
    end
    before = before + size
  end
end

-- The node whose outcome is missing, where that is needed.
local function missing_one(outcome, kind)
  return byte(outcome) == 45 and not MAY_FAIL[kind] and sub(outcome, 2) or nil
end

local function segment_of_one(f, i, kind)
  local P, id = f.P, te.node_id(f.producer, i)
  if not te.new_outcome(id) and call("HSTRLEN", P .. "v:" .. sub(id, 1, 19),
    sub(id, 20)) > INPUTS_BYTES_MAX then
    return FAR
  end
  local outcome = as_input(P, id, te.raw_outcome(P, id))
  if missing_one(outcome, kind) then
    return nil, id
  end
  return #outcome <= INPUTS_BYTES_MAX
    and ONE .. te.bytes4(#outcome) .. outcome or FAR
end

-- Ahead of a body: how many inputs, and each with its size; or that they are
-- too many, or too large. Nil and the id of a node whose outcome it needs and
-- somebody has deleted.
function te.inputs_segment(f, i, record)
  if sub(record, 11, 14) == NONE then
    return NONE
  end
  local ranges, total = ranges_of(f, i, record)
  if total == 0 then
    return NONE
  elseif total > INPUTS_MAX then
    return FAR
  end
  if total == 1 and ranges[1].kind ~= "e" then -- all steps of a chain
    return segment_of_one(f, ranges[1].first, ranges[1].kind)
  end
  local parts, n, missing = { te.bytes4(total) }, 1, nil
  local taken = { bytes = 0, max = INPUTS_BYTES_MAX }
  each_lot(f, ranges, 1, total, taken, function(outcomes, kind)
    for k = 1, #outcomes do
      local outcome = outcomes[k]
      missing = missing or missing_one(outcome, kind)
      parts[n + 1], parts[n + 2] = te.bytes4(#outcome), outcome
      n, taken.bytes = n + 2, taken.bytes + #outcome
    end
    if not outcomes[1] then
      taken.bytes = math.huge
    end
    return missing or taken.bytes > taken.max
  end)
  if missing then
    return nil, missing
  end
  return taken.bytes <= taken.max and table.concat(parts) or FAR
end

-- Of up to a thousand inputs of a node, from the first-th on: how many there
-- are in all, and the outcomes of as many as are a reply, but for one larger.
te.register("gather", function(keys, args)
  local P, i = keys[1], te.natural(args[2], te.NODES_MAX)
  local first = te.natural(args[3], te.NODES_MAX)
  local count = te.natural(args[4], 2 ^ 32)
  if not (te.is_producer(args[1]) and i and first and count) then
    return redis.error_reply("ERR te1_gather: not a node and a range")
  end
  local f = te.flow(P, args[1])
  local record = f and i >= 1 and i <= f.n and te.node_record(f, i)
  if not record then
    return { 0 }
  end
  local ranges, total = ranges_of(f, i, record)
  local out, n = { total }, 1
  local taken = { bytes = 0, max = GATHERED_BYTES_MAX }
  count, first = math.min(count, GATHERED_MAX), math.max(first, 1)
  each_lot(f, ranges, first, first + count - 1, taken,
    function(outcomes, _, node)
      if not outcomes[1] and n == 1 then -- one is given, however large it is
        local id = te.node_id(f.producer, node)
        outcomes = { as_input(P, id, te.raw_outcome(P, id)) }
      end
      for k = 1, #outcomes do
        local bytes = taken.bytes + #outcomes[k]
        if bytes > taken.max and n > 1 then
          return true
        end
        n, taken.bytes = n + 1, bytes
        out[n] = outcomes[k]
      end
      return not outcomes[1] or taken.bytes > taken.max
    end)
  return out
end, { "no-writes" })
