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
  return te.pending[id] or call("HGET", P .. "v:" .. sub(id, 1, 19),
    sub(id, 20))
end

-- The inputs of a node as ranges: kind, first, last. Returns also how many
-- they are. All of those of an errback are one: what failed.
local function ranges_of(f, i, record)
  local k = te.number_at(record, 11, 4)
  local bytes = k > 0 and te.flow_piece(f, "i" .. te.text(k), INPUT_BYTES)
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

-- Outcomes of nodes from first to last; those of one chunk, which are small.
local function read_small(key, first, last)
  local fields, n = {}, 0
  for digit = first % CHUNK, math.min(first % CHUNK + last - first, CHUNK - 1)
  do
    n = n + 1
    fields[n] = sub(DIGITS, digit + 1, digit + 1)
  end
  return call("HMGET", key, unpack(fields))
end

-- The outcome as a node gets it that takes it.
local function as_input(P, id, record)
  if record and record ~= GONE then
    return te.expanded(P, record)
  end
  return GONE .. id
end

-- Gives outcomes of nodes, one after the other; nil for one that is larger than
-- there is room for. Small ones are read together; where there are others, the
-- size is asked for first.
local function reader(f)
  local read, base, large_key = {}, 0, nil -- read[1] is of the node behind base
  local pending = next(te.pending) and te.pending
  local function read_from(i, last, room)
    local id = te.node_id(f.producer, i)
    local key = f.P .. "v:" .. sub(id, 1, 19)
    base = i - 1
    if key ~= large_key and call("HEXISTS", key, te.SOME_LARGE) == 0 then
      read = read_small(key, i, last)
      return true
    end
    large_key = key
    local is_fitting = call("HSTRLEN", key, sub(id, 20)) <= room
    read = { is_fitting and call("HGET", key, sub(id, 20)) }
    return is_fitting
  end
  return function(i, last, room)
    local record = read[i - base]
    if pending then
      record = pending[te.node_id(f.producer, i)] or record
    end
    if record == nil then
      if not read_from(i, last, room) then
        return nil
      end
      record = read[1]
    end
    if record and record ~= GONE and byte(record) ~= 68 then
      return record -- as most are
    end
    return as_input(f.P, te.node_id(f.producer, i), record)
  end
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

-- Inputs from the first-th to the last-th of all, by visit(outcome, kind,
-- node), until that returns true. Once they are larger than `room` together
-- there is no outcome.
local function each_input(f, ranges, first, last, room, visit)
  local before, outcome_of = 0, reader(f)
  for k = 1, #ranges do
    local kind = ranges[k].kind
    local from, to, size = part_of(f, ranges[k], before, first, last)
    for i = from, to do
      local outcome = outcome_of(i, to, room)
      if outcome then
        room = room - #outcome
      end
      if visit(outcome, kind, i) then
        return
      end
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
  if not te.pending[id] and call("HSTRLEN", P .. "v:" .. sub(id, 1, 19),
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
  local parts, bytes, missing = { te.bytes4(total) }, 0, nil
  each_input(f, ranges, 1, total, INPUTS_BYTES_MAX, function(outcome, kind)
    if not outcome then
      bytes = math.huge
      return true
    end
    missing = missing or missing_one(outcome, kind)
    bytes = bytes + #outcome
    parts[#parts + 1] = te.bytes4(#outcome)
    parts[#parts + 1] = outcome
    return missing or bytes > INPUTS_BYTES_MAX
  end)
  if missing then
    return nil, missing
  end
  return bytes <= INPUTS_BYTES_MAX and table.concat(parts) or FAR
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
  local out, n, bytes = { total }, 1, 0
  count, first = math.min(count, GATHERED_MAX), math.max(first, 1)
  each_input(f, ranges, first, first + count - 1, GATHERED_BYTES_MAX,
    function(outcome, _, node)
      if not outcome then
        if n > 1 then
          return true
        end
        local id = te.node_id(f.producer, node)
        outcome = as_input(P, id, te.raw_outcome(P, id))
      end
      bytes = bytes + #outcome
      if bytes <= GATHERED_BYTES_MAX or n == 1 then
        n = n + 1
        out[n] = outcome
      end
      return bytes > GATHERED_BYTES_MAX
    end)
  return out
end, { "no-writes" })
