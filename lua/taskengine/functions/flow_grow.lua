-- How a running task makes its flow grow: te1_flow_add. Members are added to
-- the groups of which it is one. What gathers them waits for that task, so it
-- cannot have run.

local EDGE_BYTES, INPUT_BYTES = te.EDGE_BYTES, te.INPUT_BYTES
local HEAD_BYTES = 14 -- of a record, what names its pieces
local RELATIVE, MEMBER = 1, 2 -- flags of edges and inputs
-- Nodes in one call, which takes a few milliseconds; groups of which one task
-- is a member; inputs of a join, in which nodes that stand side by side are one
-- entry.
local ADDED_MAX, JOINS_MAX, JOINED_BYTES_MAX = 1024, 100, 262144
-- Pieces up to this size are not added twice.
local KNOWN_BYTES_MAX = 256
local TEMPLATES_MAX = 65535
local ADDED, NO_MEMBER, IS_OVER, TOO_FAR = 0, 1, 2, 3
-- Of a join: it waits, or would again if the flow were retried.
local CAN_GROW = { ["\0"] = true, n = true, R = true, s = true }

local function is_open_join(f, node)
  local record = node >= 1 and node <= f.n and te.node_record(f, node)
  return record and te.node_need(record) < te.ERRBACK
    and CAN_GROW[te.node_state(f, node)]
end

-- What gathers the groups of which a node is a member, and by which edges: one
-- more than may be at most.
local function joins_of(f, i)
  local edges, joins, seen = te.out_edges(f, i), {}, {}
  for at = 1, #edges, EDGE_BYTES do
    local flags = byte(edges, at + 1)
    local node = te.node_named(flags, te.number_at(edges, at + 2, 4), i)
    if te.is_set(flags, MEMBER) and not seen[node] and #joins <= JOINS_MAX
      and is_open_join(f, node) then
      seen[node] = true
      joins[#joins + 1] = { kind = sub(edges, at, at), node = node }
    end
  end
  return joins
end

-- The pieces as they came: by number, records by node.
local READ = {
  n = function(draft, args, at)
    local first = tonumber(args[at + 1])
    for k = 0, tonumber(args[at + 2]) - 1 do
      draft.records[first + k] = args[at + 3 + k]
    end
  end,
  s = function(draft, args, at)
    draft.sources[#draft.sources + 1] = {
      low = tonumber(args[at + 1]), high = tonumber(args[at + 2]),
    }
  end,
}

local function read_shared(draft, args, at)
  draft[args[at]][tonumber(args[at + 1])] = args[at + 2]
end

READ.t, READ.o, READ.i = read_shared, read_shared, read_shared

local function is_number(numbers, k)
  return k == 0 or numbers[k] ~= nil
end

-- What is ahead of a record's delay, mostly the same in many, names pieces
-- that are there.
local function is_head(draft, head)
  return is_number(draft.t, te.number_at(head, 1, 2))
    and is_number(draft.o, te.number_at(head, 3, 4))
    and is_number(draft.i, te.number_at(head, 11, 4))
end

local function is_whole(draft, count)
  local good = {}
  for i = 1, count do
    local record = draft.records[i]
    local head = record and sub(record, 1, HEAD_BYTES)
    if not head or not good[head] and not is_head(draft, head) then
      return false
    end
    good[head] = true
  end
  return true
end

-- Nil when a piece is not as it must be, or a node, or what it names, missing.
local function read_draft(args, at, count)
  local draft = { t = {}, o = {}, i = {}, records = {}, sources = {} }
  local starts = te.parse_pieces(args, at, count)
  for k = 1, starts and #starts or 0 do
    local read = READ[args[starts[k]]]
    if not read then
      return nil
    end
    read(draft, args, starts[k])
  end
  return starts and is_whole(draft, count) and draft or nil
end

-- Edges of new nodes. Where there is one of kind `m`, it leads to the joins:
-- then the second result is true.
local function moved_edges(f, bytes, joins)
  local parts, is_member = {}, false
  for at = 1, #bytes, EDGE_BYTES do
    local kind, flags = sub(bytes, at, at), byte(bytes, at + 1)
    if kind == "m" and not is_member then
      is_member = true
      for k = 1, #joins do
        parts[#parts + 1] = joins[k].kind .. char(MEMBER)
          .. te.bytes4(joins[k].node)
      end
    elseif te.is_set(flags, RELATIVE) then
      parts[#parts + 1] = sub(bytes, at, at + EDGE_BYTES - 1)
    elseif kind ~= "m" then
      parts[#parts + 1] = sub(bytes, at, at + 1)
        .. te.bytes4(te.number_at(bytes, at + 2, 4) + f.n)
    end
  end
  return table.concat(parts), is_member
end

local function moved_inputs(f, bytes)
  local parts = {}
  for at = 1, #bytes, INPUT_BYTES do
    if te.is_set(byte(bytes, at + 1), RELATIVE) then
      parts[#parts + 1] = sub(bytes, at, at + INPUT_BYTES - 1)
    else
      parts[#parts + 1] = sub(bytes, at, at + 1)
        .. te.bytes4(te.number_at(bytes, at + 2, 4) + f.n)
        .. te.bytes4(te.number_at(bytes, at + 6, 4) + f.n)
    end
  end
  return table.concat(parts)
end

-- What is to be written, before anything is: the numbers from which shared
-- pieces are counted, these, records, and what `gw` is to know.
local function new_growth(f)
  local last = call("HMGET", f.P .. "g:" .. f.producer, "nt", "no", "ni")
  return {
    f = f, base = f.n,
    last = {
      t = tonumber(last[1] or 0), o = tonumber(last[2] or 0),
      i = tonumber(last[3] or 0),
    },
    shared = {}, nodes = {}, notes = {}, noted = {},
  }
end

local function note(growth, name, value)
  local notes = growth.notes
  notes[#notes + 1], notes[#notes + 2] = name, value
  growth.noted[name] = value
end

local function noted(growth, name)
  return growth.noted[name]
    or call("HGET", growth.f.P .. "gw:" .. growth.f.producer, name)
end

local function put_piece(growth, letter, k, bytes)
  local shared, name = growth.shared, letter .. texts[k]
  shared[#shared + 1], shared[#shared + 2] = name, bytes
end

local function new_piece(growth, letter, bytes)
  local k = growth.last[letter] + 1
  growth.last[letter] = k
  put_piece(growth, letter, k, bytes)
  return k
end

-- The number of a piece that nodes may share; one that was added before is not
-- added again.
local function piece_number(growth, letter, bytes)
  local name = "=" .. letter .. bytes
  local is_short = #bytes <= KNOWN_BYTES_MAX
  local k = is_short and noted(growth, name)
  if not k then
    k = new_piece(growth, letter, bytes)
    if is_short then
      note(growth, name, texts[k])
    end
  end
  return tonumber(k)
end

-- The numbers that the pieces of a draft get; and of which edges lead to the
-- joins.
local function place_pieces(growth, draft, joins)
  local numbers, is_member = { t = {}, o = {}, i = {} }, {}
  for k, bytes in pairs(draft.t) do
    numbers.t[k] = piece_number(growth, "t", bytes)
  end
  for k, bytes in pairs(draft.o) do
    local edges
    edges, is_member[k] = moved_edges(growth.f, bytes, joins)
    numbers.o[k] = piece_number(growth, "o", edges)
  end
  for k, bytes in pairs(draft.i) do
    numbers.i[k] = piece_number(growth, "i", moved_inputs(growth.f, bytes))
  end
  return numbers, is_member
end

local function add_to_ranges(ranges, i)
  local last = ranges[#ranges]
  if last and last.high == i - 1 then
    last.high = i
  else
    ranges[#ranges + 1] = { low = i, high = i }
  end
  ranges.count = ranges.count + 1
end

local function moved_head(numbers, head)
  return te.bytes_of(numbers.t[te.number_at(head, 1, 2)] or 0, 2)
    .. te.bytes4(numbers.o[te.number_at(head, 3, 4)] or 0)
    .. sub(head, 7, 10)
    .. te.bytes4(numbers.i[te.number_at(head, 11, 4)] or 0)
end

-- The records of the new nodes. Returns which of them are members.
local function place_nodes(growth, draft, joins)
  local numbers, is_member = place_pieces(growth, draft, joins)
  local members, heads = { count = 0 }, {}
  for i = 1, #draft.records do
    local record = draft.records[i]
    local head = sub(record, 1, HEAD_BYTES)
    heads[head] = heads[head] or moved_head(numbers, head)
    growth.nodes[growth.base + i] = heads[head]
      .. sub(record, HEAD_BYTES + 1)
    if is_member[te.number_at(head, 3, 4)] then
      add_to_ranges(members, growth.base + i)
    end
  end
  return members
end

-- Inputs with more nodes behind those that they name.
local function extended(bytes, kind, ranges)
  local parts, from = { bytes }, 1
  local last = sub(bytes, -INPUT_BYTES)
  if sub(last, 1, 2) == kind .. "\0"
    and te.number_at(last, 7, 4) == ranges[1].low - 1 then
    parts[1] = sub(bytes, 1, -5) .. te.bytes4(ranges[1].high)
    from = 2
  end
  for k = from, #ranges do
    parts[#parts + 1] = kind .. "\0" .. te.bytes4(ranges[k].low)
      .. te.bytes4(ranges[k].high)
  end
  return table.concat(parts)
end

-- A join that has grown has inputs of its own. The number of these; false when
-- they are too many.
local function grown_inputs(growth, join, k, members)
  if join.kind == "s" then
    return k
  end
  local bytes = k > 0 and te.flow_piece(growth.f, "i" .. texts[k]) or ""
  bytes = extended(bytes, join.kind, members)
  if #bytes > JOINED_BYTES_MAX then
    return false
  end
  local name = "j" .. texts[join.node]
  if noted(growth, name) == texts[k] then
    put_piece(growth, "i", k, bytes)
    return k
  end
  k = new_piece(growth, "i", bytes)
  note(growth, name, texts[k])
  return k
end

-- False when one of them has grown as far as it may.
local function grow_joins(growth, joins, members)
  for k = 1, #joins do
    local join = joins[k]
    local record = te.node_record(growth.f, join.node)
    local inputs = grown_inputs(growth, join, te.number_at(record, 11, 4),
      members)
    if not inputs then
      return false
    end
    growth.nodes[join.node] = sub(record, 1, 6)
      .. te.bytes4(te.node_need(record) + members.count)
      .. te.bytes4(inputs) .. sub(record, 15)
  end
  return true
end

local function write_pieces(growth)
  te.forget_pieces(growth.f.P, growth.f.producer)
  local f, shared, nodes = growth.f, growth.shared, {}
  local key = f.P .. "g:" .. f.producer
  for k = 1, #shared, 2 do
    f.pieces[shared[k]] = shared[k + 1]
  end
  for i, record in pairs(growth.nodes) do
    f.records[i] = record
    nodes[#nodes + 1], nodes[#nodes + 2] = texts[i], record
  end
  te.put_pairs(key, shared)
  te.put_pairs(f.P .. "gn:" .. f.producer, nodes)
  te.put_pairs(f.P .. "gw:" .. f.producer, growth.notes)
  call("HSET", key, "n", texts[f.n], "nt", texts[growth.last.t], "no",
    texts[growth.last.o], "ni", texts[growth.last.i])
end

local function carry_out(growth, count, sources)
  local f = growth.f
  f.n, f.left = f.n + count, f.left + count
  write_pieces(growth)
  call("SETRANGE", f.P .. "gs:" .. f.producer,
    texts[f.n * te.CELL_BYTES - 1], "\0")
  te.forget_cells(f)
  call("SET", f.P .. "i:" .. f.producer, texts[f.n])
  for k = 1, #sources do
    te.add_flow_work(f.producer, "r", growth.base + sources[k].low,
      growth.base + sources[k].high)
  end
end

-- The ids of the new nodes that are tasks.
local function tasks_of(growth, count)
  local ids = {}
  for i = growth.base + 1, growth.base + count do
    if te.number_at(growth.nodes[i], 1, 2) > 0 then
      ids[#ids + 1] = te.node_id(growth.f.producer, i)
    end
  end
  return ids
end

-- Returns a verdict; the last node that was there before; nil when the draft
-- adds no member.
local function add(f, i, draft, name)
  local joins, count = joins_of(f, i), #draft.records
  if #joins == 0 then
    return NO_MEMBER
  elseif #joins > JOINS_MAX or f.n + count > te.NODES_MAX then
    return TOO_FAR
  end
  local growth = new_growth(f)
  local members = place_nodes(growth, draft, joins)
  if members.count == 0 then
    return nil
  elseif growth.last.t > TEMPLATES_MAX
    or not grow_joins(growth, joins, members) then
    return TOO_FAR
  end
  note(growth, name, texts[growth.base])
  carry_out(growth, count, draft.sources)
  te.add_kin(f.P, te.node_id(f.producer, i), tasks_of(growth, count),
    f.ttl_s * 1000)
  return ADDED, growth.base
end

local function runs(f, i)
  return i >= 1 and i <= f.n and not f.revoked
    and te.node_state(f, i) == "r"
end

-- The same, unless it was done before, or it is too late.
local function add_once(P, producer, i, draft, name)
  local f = te.flow(P, producer)
  if not f then
    return IS_OVER
  end
  name = "+" .. name
  local base = call("HGET", P .. "gw:" .. producer, name)
  if base then
    return ADDED, tonumber(base)
  elseif not runs(f, i) then
    return IS_OVER
  end
  return add(f, i, draft, name)
end

-- args: producer, node of the task that adds, name of this addition, how many
-- nodes, pieces
te.register("flow_add", function(keys, args)
  local now = te.now()
  local i, count = te.natural(args[2], 2 ^ 32), te.natural(args[4], ADDED_MAX)
  local draft = te.is_producer(args[1]) and i and count and count > 0
    and string.find(args[3], "^%w+$") and read_draft(args, 5, count)
  local verdict, base
  if draft then
    verdict, base = add_once(keys[1], args[1], i, draft, args[3])
  end
  if not verdict then
    return redis.error_reply("ERR te1_flow_add: a piece is not well-formed")
  end
  return { now, verdict, base or 0 }
end, {})
