-- Records of nodes, and what nodes share: templates, out-edges, inputs. As they
-- are read, with others that will be wanted, and kept at hand.

local NONE, EDGE_BYTES = te.NO_PIECE, te.EDGE_BYTES
local LOT = 64 -- records that are read together

-- Small pieces of the flows that were last worked on: most calls are about one
-- of those. They change when something is added to the flow, or
-- when it was deleted and is sent again, both by way of this Redis. One that
-- was a replica meanwhile, and has missed that, was so for longer than they
-- are kept.
local known, known_count, known_until = {}, 0, 0
local KNOWN_FLOWS_MAX, KNOWN_PIECES_MAX, KNOWN_BYTES_MAX = 64, 16, 512
local KNOWN_MS = 1000

local function known_piece(f, name)
  local pieces = known[f.P .. f.producer]
  if pieces and (te.moment or te.now()) < known_until then
    return pieces[name]
  end
end

local function begin_known(now)
  known, known_count, known_until = {}, 0, now + KNOWN_MS
end

local function know(f, name, bytes)
  if not bytes or #bytes > KNOWN_BYTES_MAX then
    return
  end
  local key, now = f.P .. f.producer, te.moment or te.now()
  if now >= known_until or now < known_until - KNOWN_MS then
    begin_known(now)
  end
  local pieces = known[key]
  if not pieces then
    if known_count == KNOWN_FLOWS_MAX then
      begin_known(now)
    end
    pieces = { count = 0 }
    known[key], known_count = pieces, known_count + 1
  end
  if pieces.count < KNOWN_PIECES_MAX then
    pieces[name], pieces.count = bytes, pieces.count + 1
  end
end

-- What was sent of it is asked for by the next calls.
function te.know_pieces(f)
  for name, bytes in pairs(f.pieces) do
    know(f, name, bytes)
  end
end

function te.node_record(f, i)
  local record = f.records[i]
  if record == nil then
    record = call("HGET", f.P .. "gn:" .. f.producer, texts[i])
    f.records[i] = record
  end
  if record and #record >= te.NODE_HEAD_BYTES then
    return record
  end
  f.is_damaged = true -- each node of a sealed flow has one
end

-- Before they may change.
function te.forget_pieces(P, producer)
  if known[P .. producer] then
    known[P .. producer], known_count = nil, known_count - 1
  end
end

-- Templates, out-edges and inputs, which nodes share: by letter and number.
-- Of edges and inputs, a whole number of entries.
function te.flow_piece(f, name, entry_bytes)
  local bytes = f.pieces[name] or known_piece(f, name)
  if bytes == nil then
    bytes = call("HGET", f.P .. "g:" .. f.producer, name)
    f.pieces[name] = bytes
    know(f, name, bytes)
  end
  if bytes and #bytes % (entry_bytes or 1) == 0 then
    return bytes
  end
  f.is_damaged = true
  return ""
end

-- Records of nodes that are about to be asked for, read together.
local function read_records(f, nodes)
  local fields = {}
  for k = 1, #nodes do
    fields[k] = texts[nodes[k]]
  end
  local found = call("HMGET", f.P .. "gn:" .. f.producer, unpack(fields))
  local records = f.records
  for k = 1, #nodes do
    records[nodes[k]] = found[k]
  end
end

-- Those of nodes from first on, to last at the most, from the first that is
-- not there yet.
function te.read_run(f, first, last)
  local nodes, n, records = {}, 0, f.records
  for i = first, math.min(last, first + LOT - 1) do
    if records[i] == nil then
      n = n + 1
      nodes[n] = i
    end
  end
  read_records(f, nodes)
end

-- The number of a record's out-edges, as it stands there.
function te.edges_of(record)
  return record and #record >= te.NODE_HEAD_BYTES and sub(record, 3, 6) or NONE
end

-- The records of the next nodes that have ended, and their edges, where there
-- are several.
function te.read_ended(f)
  local nodes, names, pieces = {}, {}, f.pieces
  f.ends_read = math.max(f.ends_read, f.followed)
  for k = f.ends_read + 1, math.min(f.ends_read + LOT, #f.ends) do
    nodes[#nodes + 1] = f.ends[k]
  end
  f.ends_read = f.ends_read + #nodes
  if #nodes == 1 and nodes[1] < f.n then
    nodes[2] = nodes[1] + 1 -- in a chain, what it sets off
  end
  read_records(f, nodes)
  local before = NONE
  for k = 1, #nodes do
    local o = te.edges_of(f.records[nodes[k]])
    if o ~= NONE and o ~= before then
      local name = "o" .. texts[te.number_at(o, 1, 4)]
      if pieces[name] == nil and not known_piece(f, name) then
        pieces[name] = false
        names[#names + 1] = name
      end
      before = o
    end
  end
  if names[1] then
    local found = call("HMGET", f.P .. "g:" .. f.producer, unpack(names))
    for k = 1, #names do
      pieces[names[k]] = found[k]
      know(f, names[k], found[k])
    end
  end
end

-- All out-edges of a node.
function te.out_edges(f, i)
  local o = f.leads[i] or te.edges_of(te.node_record(f, i))
  return o ~= NONE
    and te.flow_piece(f, "o" .. texts[te.number_at(o, 1, 4)], EDGE_BYTES)
    or ""
end
