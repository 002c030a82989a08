-- te1_flow: accepts a flow, in as many calls as it takes; it starts when it is
-- sealed, and not before.

local PIECES_MAX = 4000
local WORDS_BYTES_MAX = 65536
local NUMBER_MAX = { t = 65535, o = 4294967295, i = 4294967295 }
local UNSEALED_MS = "86400000"
local SEAL, FIRST = 1, 2
-- What the call that seals a flow does of it: enough to set workers going. The
-- rest they have straight from their fetches.
local FIRST_STEPS = 300
-- Ranges of nodes that need nothing, which that call holds at once.
local RANGES_MAX = 16

local function is_template(bytes)
  local env = te.from_template(bytes)
  return te.read_header(env) > 0 and te.priority(env) <= te.PRIORITY_MAX
    and te.alias(env) == nil and sub(env, 83, 98) == te.NO_DIGEST
    and string.find(te.queue(env), "^[%w_.:-]+$") ~= nil
end

-- Whether no entry of kind `e` spans too many nodes to look for the one that
-- failed. Where numbers are counted from the node both are.
local function are_inputs(bytes)
  local size = te.INPUT_BYTES
  if #bytes == 0 or #bytes % size ~= 0 then
    return false
  elseif not string.find(bytes, "e", 1, true) then
    return true -- as most are
  end
  for at = 1, #bytes, size do
    local first = te.number_at(bytes, at + 2, 4)
    local count = (te.number_at(bytes, at + 6, 4) - first) % 2 ^ 32 + 1
    if sub(bytes, at, at) == "e" and count > te.ERRBACK_NODES_MAX then
      return false
    end
  end
  return true
end

local IS_SHARED = {
  t = is_template,
  o = function(bytes) return #bytes > 0 and #bytes % te.EDGE_BYTES == 0 end,
  i = are_inputs,
}

local function is_range(low, high, nodes)
  return low and high and low >= 1 and low <= high and high <= nodes
end

local function are_records(args, first, last)
  for k = first, last do
    if #(args[k] or "") < te.NODE_HEAD_BYTES then
      return false
    end
  end
  return true
end

-- How many arguments a piece has, its letter among them; nil when it is not as
-- it must be.
local function shared_size(args, at)
  local letter, bytes = args[at], args[at + 2]
  local k = te.natural(args[at + 1], NUMBER_MAX[letter])
  return k and k > 0 and bytes and IS_SHARED[letter](bytes) and 3 or nil
end

local function one_id(args, at)
  return te.sequence(args[at + 1] or "") and 2 or nil
end

local SIZES = {
  t = shared_size, o = shared_size, i = shared_size,
  n = function(args, at, nodes)
    local first = te.natural(args[at + 1], nodes)
    local count = te.natural(args[at + 2], PIECES_MAX)
    return first and count
      and is_range(first, first + count - 1, nodes)
      and are_records(args, at + 3, at + 2 + count) and 3 + count or nil
  end,
  s = function(args, at, nodes)
    return is_range(te.natural(args[at + 1], nodes),
      te.natural(args[at + 2], nodes), nodes) and 3 or nil
  end,
  c = one_id,
  d = one_id,
  x = function(args, at)
    return args[at + 1] and #args[at + 1] <= WORDS_BYTES_MAX and 2 or nil
  end,
}

-- Where each piece from an argument on starts; nil when one is not as it must
-- be, in which case nothing is done at all.
function te.parse_pieces(args, at, nodes)
  local starts = {}
  while args[at] do
    local size = SIZES[args[at]] and SIZES[args[at]](args, at, nodes)
    if not size then
      return nil
    end
    starts[#starts + 1] = at
    at = at + size
  end
  return starts
end

function te.put_pairs(key, pairs)
  for from = 1, #pairs, te.BATCH_MAX do
    call("HSET", key,
      unpack(pairs, from, math.min(from + te.BATCH_MAX - 1, #pairs)))
  end
end

-- Where a piece is written. Written twice it is the same.
local function add_shared(to, args, at)
  local shared, letter, k = to.shared, args[at], tonumber(args[at + 1])
  shared[#shared + 1] = letter .. texts[k]
  shared[#shared + 1] = args[at + 2]
  to.last[letter] = math.max(to.last[letter] or 0, k)
end

local function add_word(field)
  return function(to, args, at)
    local shared = to.shared
    shared[#shared + 1], shared[#shared + 2] = field, args[at + 1]
  end
end

local ADD = {
  t = add_shared, o = add_shared, i = add_shared,
  c = add_word("parent"), d = add_word("delegate"), x = add_word("x"),
  n = function(to, args, at)
    local nodes, records, first = to.nodes, to.records, tonumber(args[at + 1])
    local n, count = #nodes, to.count
    for k = 0, tonumber(args[at + 2]) - 1 do
      local i, record = first + k, args[at + 3 + k]
      if not records[i] then
        count = count + 1
      end
      nodes[n + 1], nodes[n + 2] = texts[i], record
      records[i], n = record, n + 2
    end
    to.count = count
  end,
  s = function(to, args, at)
    local ranges = to.ranges
    ranges[#ranges + 1] =
      { a = tonumber(args[at + 1]), b = tonumber(args[at + 2]) }
  end,
}

-- What is added to the flow while it runs is numbered from there on.
local function note_last(to)
  for letter, k in pairs(to.last) do
    local there = not to.is_new
      and call("HGET", to.P .. "g:" .. to.producer, "n" .. letter)
    if k > tonumber(there or 0) then
      to.shared[#to.shared + 1] = "n" .. letter
      to.shared[#to.shared + 1] = texts[k]
    end
  end
end

-- A hash begins as a list, in which each new field is looked for from its front
-- (up to 512 of them, as Redis is set by default). One that is to have more
-- than so many is made a table first: by a value that is too long for a list.
local LISTED_MAX, LONG = 128, "----------------------------------------"
  .. "----------------------------------------"

local function put_records(to)
  local key = to.P .. "gn:" .. to.producer
  local is_large = to.is_new and #to.nodes > 2 * LISTED_MAX
  if is_large then
    call("HSET", key, "-", LONG)
  end
  te.put_pairs(key, to.nodes)
  if is_large then
    call("HDEL", key, "-")
  end
end

-- What a call brings.
local function read_pieces(P, args, starts, is_new)
  local to = {
    P = P, producer = args[1], shared = {}, nodes = {}, records = {},
    ranges = {}, last = {}, count = 0, is_new = is_new,
  }
  for k = 1, #starts do
    ADD[args[starts[k]]](to, args, starts[k])
  end
  note_last(to)
  return to
end

local function put_ranges(to)
  local pairs, ranges = {}, to.ranges
  for k = 1, #ranges do
    local low = texts[ranges[k].a]
    pairs[2 * k - 1], pairs[2 * k] = low, low .. " " .. texts[ranges[k].b]
  end
  for from = 1, #pairs, te.BATCH_MAX do
    call("ZADD", to.P .. "gr:" .. to.producer,
      unpack(pairs, from, math.min(from + te.BATCH_MAX - 1, #pairs)))
  end
end

-- Writes a flow that comes whole, in one call. Few ranges are in nobody's way:
-- they are released at once, and need not be written.
local function write_whole(to, header, nodes)
  local all, shared, n = header, to.shared, #header
  all[n + 1], all[n + 2] = "sealed", "1"
  all[n + 3], all[n + 4] = "left", texts[nodes]
  for k = 1, #shared do
    all[n + 4 + k] = shared[k]
  end
  te.put_pairs(to.P .. "g:" .. to.producer, all)
  put_records(to)
  if #to.ranges > RANGES_MAX then
    put_ranges(to)
    to.ranges = nil
  end
end

-- Writes what was brought. Returns how many nodes there are now.
local function write_part(to, header)
  local g = to.P .. "g:" .. to.producer
  if call("HSETNX", g, header[1], header[2]) == 1 then
    call("HSET", g, unpack(header, 3))
  end
  te.put_pairs(g, to.shared)
  put_records(to)
  put_ranges(to)
  to.ranges = nil
  return call("HLEN", to.P .. "gn:" .. to.producer)
end

-- Whether there is nothing of it yet, so nothing that is to expire either.
local function is_new_flow(P, producer)
  local keys = te.flow_keys(P, producer)
  keys[#keys + 1] = P .. "i:" .. producer
  return call("EXISTS", unpack(keys)) == 0
end

-- 0: it can be added to; 1: it was sealed before; 2: it is not there.
local function judge(P, producer, is_first)
  local g = P .. "g:" .. producer
  local is_there = call("EXISTS", g) == 1
  if is_there and call("HEXISTS", g, "sealed") == 1
    or call("EXISTS", P .. "i:" .. producer) == 1 then
    return 1
  end
  return (is_there or is_first) and 0 or 2
end

-- Until it is sealed nobody may come to do so.
local function expire(P, producer)
  local keys = te.flow_keys(P, producer)
  for k = 1, #keys do
    call("PEXPIRE", keys[k], UNSEALED_MS)
  end
end

-- It is kept until it has ended.
local function persist(P, producer, nodes)
  call("HSET", P .. "g:" .. producer, "sealed", "1", "left", nodes)
  local keys = te.flow_keys(P, producer)
  for k = 1, #keys do
    call("PERSIST", keys[k])
  end
end

-- What this call has brought need not be read again to release it.
local function remember(f, to)
  f.records = to.records
  for k = 1, #to.shared, 2 do
    f.pieces[to.shared[k]] = to.shared[k + 1]
  end
  if to.is_new then
    te.know_pieces(f)
  end
end

local function release_first(producer, ranges)
  te.steps = math.min(te.steps, FIRST_STEPS)
  if not ranges then
    return te.add_flow_work(producer, "s", 0, 0)
  end
  for k = 1, #ranges do
    te.add_flow_work(producer, "r", ranges[k].a, ranges[k].b)
  end
end

-- All its nodes are there: it starts.
local function seal(to, nodes, now, ttl)
  local P, producer, n = to.P, to.producer, texts[nodes]
  call("SET", P .. "i:" .. producer, n)
  if not to.is_new then
    te.make_cells(P, producer, nodes)
    persist(P, producer, n)
  end
  local f = to.is_new and te.open_new_flow(P, producer, nodes, now, ttl)
    or te.flow(P, producer)
  remember(f, to)
  local parent = f.pieces.parent
    or not to.is_new and call("HGET", P .. "g:" .. producer, "parent")
  if parent then
    te.note_flow_kin(P, producer, parent, ttl * 1000)
  end
  release_first(producer, to.ranges)
end

-- args: producer, flags, nodes in all, seconds that outcomes are kept, name,
-- an inbox and the node that it awaits or two empty ones, pieces.
local function is_well_formed(args, flags, nodes, node)
  return flags and nodes and nodes > 0
    and te.is_producer(args[1]) and args[5] and te.natural(args[4], 2 ^ 32)
    and (args[6] == "" or string.find(args[6], "^a:%w+$") and node)
end

-- Takes what a call brings: how many nodes there are now, and it, when that is
-- sealed; nil before there are all.
local function take(P, args, starts, nodes, is_sealed, is_new)
  local header = {
    "made", texts[te.moment], "n", texts[nodes], "ttl", args[4],
    "name", args[5],
  }
  local to = read_pieces(P, args, starts, is_new)
  if is_new and is_sealed and to.count == nodes then
    write_whole(to, header, nodes)
    return nodes, to
  end
  local there = write_part(to, header)
  if is_sealed and there == nodes then
    return there, to
  end
  expire(P, args[1])
  return there
end

te.register("flow", function(keys, args)
  local P, producer, now = keys[1], args[1], te.now()
  local flags, nodes = te.natural(args[2], 3), te.natural(args[3], te.NODES_MAX)
  local node = te.natural(args[7], nodes or 0)
  local starts = is_well_formed(args, flags, nodes, node)
    and te.parse_pieces(args, 8, nodes)
  if not starts then
    return redis.error_reply("ERR te1_flow: a piece is not well-formed")
  end
  local is_new, is_first = is_new_flow(P, producer), te.is_set(flags, FIRST)
  local verdict = is_new and is_first and 0 or judge(P, producer, is_first)
  if verdict ~= 0 then
    return { now, verdict, call("HLEN", P .. "gn:" .. producer) }
  end
  te.forget_pieces(P, producer)
  local is_sealed = te.is_set(flags, SEAL)
  local there, brought = take(P, args, starts, nodes, is_sealed, is_new)
  if brought then
    if args[6] ~= "" then
      te.add_inbox(P, te.node_id(producer, node), args[6], now)
    end
    seal(brought, nodes, now, tonumber(args[4]))
  elseif is_sealed then
    return redis.error_reply(string.format(
      "ERR te1_flow: it has %.0f nodes of %.0f", there, nodes))
  end
  return { now, 0, there }
end, {})
