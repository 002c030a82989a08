-- Flows: graphs of tasks. What a node's end sets off, in the same step as the
-- end itself, once, whatever is repeated.
--
-- A function sees each flow that it touches as a table, which is loaded once
-- and written back when the function has done its work (te.close_flows): the
-- ends of a thousand members cost few commands. What is more than one call
-- should do goes into the list `gq` and is done by those that follow.

-- Cells are read in windows: one will do for a step, more are wanted by what
-- looks at many.
local CELL_BYTES, WINDOW, WIDE_WINDOW = 12, 32, 256
-- Records that are read together.
local LOT = 64
local WAITS, RELEASED, DELEGATED = "\0", "r", "g"
local DONE, FAILED, NEEDS, REVOKED, SKIPPED = "d", "f", "n", "R", "s"
local IS_OPEN = { [WAITS] = true, [RELEASED] = true, [DELEGATED] = true }
-- By byte: 0 and the letters r g d f n R s.
te.IS_STATE = {
  [0] = true, [114] = true, [103] = true, [100] = true, [102] = true,
  [110] = true, [82] = true, [115] = true,
}
local STATE_OF = {
  S = DONE, J = DONE, G = DONE, F = FAILED, R = REVOKED, D = NEEDS,
}
-- What one call does beside its own work: a release counts for three.
local STEPS_MAX = 1000
local NONE = "\0\0\0\0" -- no piece has this number
local NIL, ERRBACK = "S\192", 2 ^ 31
local CONTINUES = { c = true, i = true }

-- The outcome of a node that was there for a failure: { kind = , message = }
-- in MessagePack.
local UNNEEDED = "R\130\164kind\167Skipped\167message"
  .. "\217\036nothing failed that it was there for"

te.NODE_HEAD_BYTES = 18

-- Numbers of 4 and 5 bytes, which every release and every end writes.
function te.bytes4(v)
  local d = v % 256
  v = (v - d) / 256
  local c = v % 256
  v = (v - c) / 256
  local b = v % 256
  return char((v - b) / 256 % 256, b, c, d)
end

local function bytes5(v)
  return char(math.floor(v / 4294967296) % 256) .. te.bytes4(v % 4294967296)
end

-- All pairs of digits, made when they are first asked for: an id is needed
-- several times in each step.
local pairs_of_digits, PAIRS = {}, 62 * 62

local function make_pairs()
  for k = 0, PAIRS - 1 do
    local low = k % 62
    local high = (k - low) / 62
    pairs_of_digits[k] = sub(DIGITS, high + 1, high + 1)
      .. sub(DIGITS, low + 1, low + 1)
  end
end

-- What the ids of neighbours have in common, of the last ones asked for.
local front = { producer = "", block = 0, bytes = "" }

-- Of a flow's nodes, which are fewer than 62^6.
function te.node_id(producer, i)
  local low = i % PAIRS
  local block = (i - low) / PAIRS
  if front.producer ~= producer or front.block ~= block then
    if not pairs_of_digits[0] then
      make_pairs()
    end
    local middle = block % PAIRS
    front.producer, front.block = producer, block
    front.bytes = producer .. "00"
      .. pairs_of_digits[(block - middle) / PAIRS] .. pairs_of_digits[middle]
  end
  return front.bytes .. pairs_of_digits[low]
end

-- The flow of a producer, when it is sealed and still there; or nil.
function te.flow(P, producer)
  local f = te.flows[producer]
  if f == nil then
    local v = call("HMGET", P .. "g:" .. producer, "n", "left", "made", "ttl",
      "state", "sealed", "root", "revoked", "mode", "held", "holds",
      "passes", "out", "delegates")
    f = false
    if v[6] then
      f = {
        P = P, producer = producer, made = tonumber(v[3]),
        n = tonumber(v[1]), left = tonumber(v[2]), ttl_s = tonumber(v[4]),
        state = v[5] or "", root = v[7], revoked = v[8], mode = v[9],
        written = v[2], held = v[10], holds = v[11], passes = v[12],
        out = tonumber(v[13] or 0), written_out = v[13] or "0",
        delegates = v[14],
        cells = {}, changed = {}, records = {}, pieces = {}, arrived = {},
        templates = {}, ends = {}, ends_read = 0, followed = 0,
      }
      te.check_header(f)
      f.stamp = bytes5(math.max((te.moment or te.now()) - f.made, 1))
      f.released = RELEASED .. "\0" .. f.stamp .. "\0\0\0\0\0"
      te.opened[#te.opened + 1] = f
    end
    te.flows[producer] = f
  end
  return f or nil
end

-- The flow and the node of a task, when it has one.
function te.flow_of_id(P, id)
  local i = te.sequence(id)
  local f = i and i > 0 and te.flow(P, sub(id, 1, 12))
  if f and i <= f.n then
    return f, i
  end
end

function te.flow_of(P, env)
  if byte(env, 59) ~= 0 then
    local id = sub(env, 1, 20)
    te.live_flow(P, sub(id, 1, 12), te.ttl_ms(env) / 1000)
    return te.flow_of_id(P, id)
  end
end

local NO_CELL = "\0\0\0\0\0\0\0\0\0\0\0\0"

-- Where in the window a cell begins; it may have to be read. What is none is
-- that of a node that waits.
local function find_cell(f, i)
  if not f.window or i < f.first or i >= f.first + f.width then
    f.width = f.width and WIDE_WINDOW or WINDOW
    f.first = i - (i - 1) % f.width
    local from = (f.first - 1) * CELL_BYTES
    f.window = call("GETRANGE", f.P .. "gs:" .. f.producer, te.text(from),
      te.text(from + f.width * CELL_BYTES - 1))
  end
  local at = (i - f.first) * CELL_BYTES + 1
  if not te.IS_STATE[byte(f.window, at)]
    or #f.window < at + CELL_BYTES - 1 then
    f.is_torn = true
    f.window = sub(f.window, 1, at - 1)
      .. string.rep("\0", at - 1 - #f.window) .. NO_CELL
      .. sub(f.window, at + CELL_BYTES)
  end
  return at
end

local function cell(f, i)
  local bytes = f.cells[i]
  if not bytes then
    local at = find_cell(f, i)
    bytes = sub(f.window, at, at + CELL_BYTES - 1)
  end
  return bytes
end

function te.node_state(f, i)
  local bytes = f.cells[i]
  if bytes then
    return sub(bytes, 1, 1)
  end
  local at = find_cell(f, i)
  return sub(f.window, at, at)
end

local function set_cell(f, i, bytes)
  if not f.cells[i] then
    local changed = f.changed
    local n = #changed
    f.is_unsorted = f.is_unsorted or n > 0 and changed[n] > i
    changed[n + 1] = i
  end
  f.cells[i] = bytes
end

function te.node_record(f, i)
  local record = f.records[i]
  if record == nil then
    record = call("HGET", f.P .. "gn:" .. f.producer, te.text(i))
    f.records[i] = record
  end
  if record and #record >= te.NODE_HEAD_BYTES then
    return record
  end
  f.is_damaged = true -- each node of a sealed flow has one
end

-- Small pieces of the flows that were last worked on: most calls are about one
-- of those. They change when something is added to the flow, or when it was
-- deleted and is sent again.
local known, known_count = {}, 0
local KNOWN_FLOWS_MAX, KNOWN_PIECES_MAX, KNOWN_BYTES_MAX = 64, 16, 512

local function known_piece(f, name)
  local pieces = known[f.P .. f.producer]
  return pieces and pieces[name]
end

local function know_piece(f, name, bytes)
  f.pieces[name] = bytes
  if not bytes or #bytes > KNOWN_BYTES_MAX then
    return
  end
  local key = f.P .. f.producer
  local pieces = known[key]
  if not pieces then
    if known_count == KNOWN_FLOWS_MAX then
      known, known_count = {}, 0
    end
    pieces = { count = 0 }
    known[key], known_count = pieces, known_count + 1
  end
  if pieces.count < KNOWN_PIECES_MAX then
    pieces[name], pieces.count = bytes, pieces.count + 1
  end
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
    know_piece(f, name, bytes)
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
    fields[k] = te.text(nodes[k])
  end
  local records = call("HMGET", f.P .. "gn:" .. f.producer, unpack(fields))
  for k = 1, #nodes do
    f.records[nodes[k]] = records[k]
  end
end

-- Those of nodes from first on, to last at the most, from the first that is
-- not there yet.
local function read_run(f, first, last)
  local nodes = {}
  for i = first, math.min(last, first + LOT - 1) do
    nodes[#nodes + 1] = f.records[i] == nil and i or nil
  end
  read_records(f, nodes)
end

-- The number of a record's out-edges, as it stands there.
local function edges_of(record)
  return record and #record >= te.NODE_HEAD_BYTES and sub(record, 3, 6) or NONE
end

-- The records of the next nodes that have ended, and their edges, where there
-- are several.
local function read_ended(f)
  local nodes, names, pieces = {}, {}, f.pieces
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
    local o = edges_of(f.records[nodes[k]])
    if o ~= NONE and o ~= before then
      local name = "o" .. te.text(te.number_at(o, 1, 4))
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
      know_piece(f, names[k], found[k])
    end
  end
end

-- More to be done for a flow: what, and two numbers.
local function add_work(producer, what, a, b)
  local work = te.work
  work[#work + 1] = { what = what, producer = producer, a = a, b = b }
end

te.add_flow_work = add_work

-- To be done by a later call, behind all else.
function te.put_behind(f, what, a, b)
  call("RPUSH", f.P .. "gq",
    f.producer .. what .. string.format("%.0f %.0f", a, b))
end

-- The end of a node is to be followed to those behind it; while a flow is set
-- up to be done again not before that is through: until then some of these may
-- not be ready for it.
local function note_end(f, i)
  if f.passes then
    return te.put_behind(f, "e", i, 1)
  end
  f.ends[#f.ends + 1] = i
  if not f.is_following then
    f.is_following = true
    add_work(f.producer, "ends", 0, 1)
  end
end

-- The same for what ends all that waits.
function te.add_revocation(f)
  if f.passes then
    te.put_behind(f, "x", 1, 0)
  else
    add_work(f.producer, "x", 1, 0)
  end
end

-- What the flow fails with is its first failure.
function te.note_root(f, id)
  if not f.root then
    f.root = id
    call("HSET", f.P .. "g:" .. f.producer, "root", id)
  end
end

-- 1 for a node that is released, or waits for another flow.
local function outside(f, i, state)
  return (state == RELEASED or state == DELEGATED and te.is_away(f, i)) and 1
    or 0
end

-- Ends a node, whose state is what its outcome says, or `state`. What comes
-- after the first end changes nothing: false. The node's id may be given, where
-- it is at hand.
function te.end_node(f, i, record, state, attempt, id)
  local before = cell(f, i)
  if not IS_OPEN[sub(before, 1, 1)] then
    return false
  end
  id = id or te.node_id(f.producer, i)
  f.out = f.out - outside(f, i, sub(before, 1, 1))
  state = state or STATE_OF[sub(record, 1, 1)] or DONE
  set_cell(f, i, attempt and state .. attempt .. sub(before, 3, 7) .. f.stamp
    or state .. sub(before, 2, 7) .. f.stamp)
  te.keep_outcome(id, record)
  f.left = f.left - 1
  if state == FAILED or state == REVOKED then
    te.note_root(f, id)
  end
  note_end(f, i)
  return true
end

-- The same for one that no envelope is needed for.
local function end_and_tell(f, i, record, state)
  te.steps = te.steps - 1
  if te.end_node(f, i, record, state) then
    te.tell(f.P, te.node_id(f.producer, i), te.expanded(f.P, record))
  end
end

te.end_node_alone = end_and_tell

-- Ends a task of a flow, with its envelope. A result that is not to be kept
-- is nil for those that need it. False when the node has ended before.
function te.end_member(f, i, env, record)
  if not te.keeps_result(env) and STATE_OF[sub(record, 1, 1)] == DONE then
    record = NIL
  end
  return te.end_node(f, i, record, nil, sub(env, 23, 23))
end

-- How a task ends whose envelope is not at hand.
function te.end_or_put(P, id, record, ttl_ms)
  local f, i = te.flow_of_id(P, id)
  if f then
    te.end_node(f, i, record)
  else
    te.put_outcome(P, id, record, ttl_ms)
  end
end

-- Outcomes of this call's nodes, until they are written.
function te.keep_outcome(id, record)
  local key = sub(id, 1, 19)
  local chunk = te.chunks[key]
  if not chunk then
    chunk = {}
    te.chunks[key] = chunk
  end
  local n = #chunk
  chunk[n + 1], chunk[n + 2] = sub(id, 20), record
  te.pending[id] = record
end

-- What a failure is to those that need what failed: the id of the cause alone
-- is kept, "D" in front, so that 100,000 dependents of one failure do not keep
-- it 100,000 times. Here it becomes an outcome like any other.
function te.expanded(P, record)
  if byte(record) ~= 68 then
    return record
  end
  local id = sub(record, 2)
  if #id ~= 20 then
    return te.FLOW_DAMAGED
  end
  local cause = te.raw_outcome(P, id) or ""
  local letter = sub(cause, 1, 1)
  local has_error = letter == "F" or letter == "R"
  return "F\131\164kind\176DependencyFailed\167message\217\063"
    .. "it needs the outcome of task " .. id .. ", which failed\165value"
    .. (has_error and "\130" or "\129") .. "\162id\180" .. id
    .. (has_error and "\165error" .. sub(cause, 2) or "")
end

-- What those that need a failed node fail with.
local function passed_on(f, i)
  local id = te.node_id(f.producer, i)
  local record = te.raw_outcome(f.P, id)
  return record and byte(record) == 68 and record or "D" .. id
end

function te.node_need(record)
  return te.number_at(record, 7, 4)
end

-- A node has all that it needs.
function te.set_off(f, i, record)
  if record and te.node_need(record) >= ERRBACK then
    end_and_tell(f, i, UNNEEDED, SKIPPED)
  else
    te.release_node(f, i)
  end
end

-- The end of a node, of which everybody knows.
function te.put_end(f, i, state)
  set_cell(f, i, state .. sub(cell(f, i), 2, 7) .. f.stamp)
  f.left = f.left - 1
end

function te.mark_released(f, i)
  f.out = f.out + 1
  set_cell(f, i, f.released)
end

-- To a node of its own flow, or to another, whose end is to come.
function te.mark_delegated(f, i, is_away)
  f.out = f.out - (is_away and 0 or 1)
  set_cell(f, i, DELEGATED .. sub(cell(f, i), 2))
end

-- As if nothing had come to it.
function te.reset_node(f, i)
  set_cell(f, i, string.rep("\0", CELL_BYTES))
  f.arrived[i], f.left = 0, f.left + 1
end

-- How many of the edges to a node have arrived; for those with several.
function te.arrivals(f, i)
  return f.arrived[i] or tonumber(
    call("HGET", f.P .. "gw:" .. f.producer, te.text(i)) or 0) or 0
end

function te.count_arrivals(f, i, n)
  f.arrived[i] = te.arrivals(f, i) + n
  return f.arrived[i]
end

-- So many edges arrive at a node.
local function arrive(f, i, n)
  local record = te.node_state(f, i) == WAITS and te.node_record(f, i)
  if record then
    local need = te.node_need(record) % ERRBACK
    if need <= 1 or te.count_arrivals(f, i, n) >= need then
      te.set_off(f, i, record)
    end
  end
end

-- The end of `from`, in this state, at the other end of an edge. An errback is
-- for a failure, all others for what is not one; a node that was skipped skips
-- those behind it.
local function follow(f, from, state, kind, target)
  local is_failure = state ~= DONE and state ~= SKIPPED
  if kind == "d" then
    te.end_delegated(f, from, target)
  elseif kind == "e" then
    if not is_failure then
      arrive(f, target, 1)
    elseif te.node_state(f, target) == WAITS then
      te.release_node(f, target)
    end
  elseif state == DONE or CONTINUES[kind] then
    arrive(f, target, 1)
  elseif te.node_state(f, target) == WAITS then
    if is_failure and f.revoked then
      end_and_tell(f, target, f.revoked, REVOKED)
    elseif is_failure then
      end_and_tell(f, target, passed_on(f, from), NEEDS)
    else
      end_and_tell(f, target, UNNEEDED, SKIPPED)
    end
  end
end

-- A node's number as an edge or an input names it.
function te.node_named(flags, number, i)
  if flags % 2 == 0 then
    return number
  end
  return number < 2147483648 and i + number or i + number - 4294967296
end

local EDGE_BYTES = 6
-- Kinds of work. Each does what is left of an item, and notes in it how far it
-- came; true when that is all.
local WORK = {}
te.FLOW_WORK = WORK

-- What the end of a node sets off, from a byte of its out-edges on. Returns the
-- byte where it stopped; nil when that is all.
local function follow_edges(f, i, from)
  local record = te.node_record(f, i)
  local k = record and te.number_at(record, 3, 4) or 0
  if k == 0 then
    return nil
  end
  local edges = te.flow_piece(f, "o" .. te.text(k), EDGE_BYTES)
  local state = te.node_state(f, i)
  for at = from, #edges, EDGE_BYTES do
    if te.steps <= 0 then
      return at
    end
    te.steps = te.steps - 1
    local target = te.node_named(byte(edges, at + 1),
      te.number_at(edges, at + 2, 4), i)
    local kind = sub(edges, at, at)
    if target >= (kind == "d" and 0 or 1) and target <= f.n then
      follow(f, i, state, kind, target)
    end
  end
end

-- The out-edges of node a, from byte b on.
function WORK.e(f, item)
  if item.a > f.n or IS_OPEN[te.node_state(f, item.a)] then
    return true -- the cells were deleted meanwhile
  end
  local stopped_at = follow_edges(f, item.a, item.b)
  item.b = stopped_at or item.b
  return stopped_at == nil
end

-- Where the only edge of a node goes that is as most are: it names its target,
-- to which a success brings its value. Or false.
local function common_target(f, o)
  local edges = te.flow_piece(f, "o" .. te.text(te.number_at(o, 1, 4)),
    EDGE_BYTES)
  if #edges ~= EDGE_BYTES or sub(edges, 1, 1) ~= "f"
    or byte(edges, 2) % 2 == 1 then
    return false
  end
  local target = te.number_at(edges, 3, 4)
  return target >= 1 and target <= f.n and target
end

-- How many of the ends from here on have such an edge and the same one, for
-- which they are as one step.
local function count_alike(f, o)
  local ends, records, cells = f.ends, f.records, f.cells
  local n, first = 0, f.followed + 1
  repeat
    n = n + 1
    local i = ends[first + n]
    local record = i and records[i]
  until not record or sub(record, 3, 6) ~= o
    or sub(cells[i] or "", 1, 1) ~= DONE or n >= te.steps
  return n
end

-- The next of those that end in this call, with others like it. True when all
-- that they set off was done.
local function follow_next(f, item)
  local i = f.ends[f.followed + 1]
  if f.records[i] == nil and f.followed >= f.ends_read then
    read_ended(f)
  end
  local o = edges_of(te.node_record(f, i))
  local target = item.b == 1 and o ~= NONE
    and te.node_state(f, i) == DONE and common_target(f, o)
  local n, stopped_at = 1, nil
  if target then
    n = count_alike(f, o)
    te.steps = te.steps - n
    arrive(f, target, n)
  else
    stopped_at = follow_edges(f, i, item.b)
  end
  if stopped_at then
    item.b = stopped_at
  else
    f.followed, item.b = f.followed + n, 1
  end
  return not stopped_at
end

-- What the nodes that end in this call set off, the first of them from byte b
-- of its out-edges on.
function WORK.ends(f, item)
  while f.ends[f.followed + 1] do
    if te.steps <= 0 or not follow_next(f, item) then
      return false
    end
  end
  f.is_following = false
  return true
end

-- Nodes a to b, which need nothing.
function WORK.r(f, item)
  local i, last = math.max(item.a, 1), math.min(item.b, f.n)
  while i <= last do
    if te.steps <= 0 then
      item.a = i
      return false
    elseif te.node_state(f, i) ~= WAITS then
      i = i + 1
    else
      if f.records[i] == nil then
        read_run(f, i, last)
      end
      i = te.release_from(f, i, last)
    end
  end
  return true
end

-- The ranges of nodes that need nothing, the first in front.
function WORK.s(f)
  local key = f.P .. "gr:" .. f.producer
  while te.steps > 0 do
    te.steps = te.steps - 1
    local range = call("ZPOPMIN", key)[1]
    if not range then
      return true
    end
    local low, high = string.match(range, "^(%d+) (%d+)$")
    local part = { a = tonumber(low), b = tonumber(high) }
    if high and not WORK.r(f, part) then
      call("ZADD", key, te.text(part.a),
        te.text(part.a) .. " " .. te.text(part.b))
    end
  end
  return false
end

-- Outcomes of the nodes from a on are kept as long as the flow's; if that has
-- not come to have no end again.
function WORK.c(f, item)
  if f.held or f.state ~= "done" then
    return true
  end
  local ttl_ms = te.text(f.ttl_s * 1000)
  for i = item.a, f.n, 62 do
    if te.steps <= 0 then
      item.a = i
      return false
    end
    te.steps = te.steps - 1
    local key = f.P .. "v:" .. sub(te.node_id(f.producer, i), 1, 19)
    call("PEXPIRE", key, ttl_ms)
  end
  return true
end

-- Ends what waits, of a flow that was revoked, from node a on.
function WORK.x(f, item)
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

local function carry_out(P, item)
  local f = te.flow(P, item.producer)
  return not f or not WORK[item.what] or WORK[item.what](f, item)
end

local function text_of(producer, what, a, b)
  return producer .. what .. string.format("%.0f %.0f", a, b)
end

-- Node by node, because the ends of a call are known in it alone.
local function put_off_ends(f, item)
  local texts, ends = {}, f.ends
  for k = f.followed + 1, #ends do
    texts[#texts + 1] = text_of(f.producer, "e", ends[k], item.b)
    item.b = 1
  end
  f.followed, f.ends_read, f.is_following = #ends, #ends, false
  for from = 1, #texts, te.BATCH_MAX do
    call("RPUSH", f.P .. "gq",
      unpack(texts, from, math.min(from + te.BATCH_MAX - 1, #texts)))
  end
end

local function put_off(P, item, command)
  if item.what == "ends" then
    put_off_ends(te.flow(P, item.producer), item)
  else
    call(command, P .. "gq",
      text_of(item.producer, item.what, item.a, item.b))
  end
end

-- Does what is to be done now. What is too much for this call is left for
-- others, of whom one is woken.
local function run(P)
  local work, at = te.work, 1
  while work[at] and te.steps > 0 and carry_out(P, work[at]) do
    at = at + 1
  end
  local is_left = work[at]
  while work[at] do
    put_off(P, work[at], "RPUSH")
    at = at + 1
  end
  te.work = {}
  return is_left
end

-- Somebody is to go on with what is left.
local function wake_one(P)
  local wid = call("ZRANGE", P .. "w", "-1", "-1")[1] -- the last heard of
  if wid then
    call("RPUSH", P .. "b:" .. wid, "")
  end
end

function te.advance_flows(P)
  if te.work[1] and run(P) then
    wake_one(P)
  end
  te.send_released(P)
end

-- Goes on with what was left. True when there is more.
function te.continue_flows(P)
  local gq = P .. "gq"
  local text = call("LPOP", gq)
  while text do
    local a, b = string.match(text, "^(%d+) (%d+)$", 14)
    local item = {
      producer = sub(text, 1, 12), what = sub(text, 13, 13),
      a = tonumber(a), b = tonumber(b),
    }
    local is_over = not b or carry_out(P, item)
    te.steps = te.steps - 2 -- for finding out what it is
    if te.work[1] then
      run(P)
    end
    if not is_over then
      put_off(P, item, "LPUSH")
    end
    text = te.steps > 0 and call("LPOP", gq)
  end
  te.send_released(P)
  return call("EXISTS", gq) == 1
end

-- The same for what a client has set off: at once, where that is enough.
function te.go_on_with_flows(P)
  if te.continue_flows(P) then
    wake_one(P)
  end
end

-- How long what belongs to a flow stays behind its outcomes, for somebody to
-- take it away.
local SLACK_MS = 3600 * 1000
te.FLOW_KEYS = { "g:", "gn:", "gw:", "gs:", "gd:", "gr:" }
-- More go than come, however many do.
local DROPPED_WITH_EACH = 2

-- All nodes have ended: from now on, and not before, the flow expires; or when
-- the one that holds it has ended, too.
function te.set_flow_end(f)
  local P, ttl_ms = f.P, math.max(f.ttl_s * 1000, 1)
  call("SREM", P .. "gc", f.producer)
  if f.held then
    return
  end
  for k = 1, #te.FLOW_KEYS do
    call("PEXPIRE", P .. te.FLOW_KEYS[k] .. f.producer,
      te.text(ttl_ms + SLACK_MS))
  end
  call("PEXPIRE", P .. "i:" .. f.producer,
    te.text(math.max(ttl_ms, te.KEPT_MS)))
  call("ZADD", P .. "gx", te.text((te.moment or te.now()) + ttl_ms),
    f.producer)
  te.drop_flows(P, te.moment or te.now(), DROPPED_WITH_EACH)
  add_work(f.producer, "c", 0, 0)
  if f.holds then
    call("PEXPIRE", P .. "gh:" .. f.producer, te.text(ttl_ms + SLACK_MS))
    add_work(f.producer, "h", 0, 0)
  end
end

-- It has no end again.
function te.persist_flow(f)
  local P, producer = f.P, f.producer
  for k = 1, #te.FLOW_KEYS do
    call("PERSIST", P .. te.FLOW_KEYS[k] .. producer)
  end
  call("PERSIST", P .. "i:" .. producer)
  call("ZREM", P .. "gx", producer)
  if f.holds then
    call("PERSIST", P .. "gh:" .. producer)
    add_work(producer, "u", 0, 0)
  end
end

-- What stands between two cells that have changed is written with them, as it
-- is, where it is at hand.
local GAP_MAX = 32

local function fill_gap(f, bytes, low, high)
  if high - low > GAP_MAX or low < f.first or high > f.first + f.width - 1
  then
    return false
  end
  local at = (low - f.first) * CELL_BYTES
  local between = sub(f.window, at + 1, at + (high - low + 1) * CELL_BYTES)
  if #between ~= (high - low + 1) * CELL_BYTES then
    return false
  end
  bytes[#bytes + 1] = between
  return true
end

function te.write_cells(f)
  local changed, cells, k = f.changed, f.cells, 1
  if f.is_unsorted then
    table.sort(changed)
  end
  while changed[k] do
    local first, last = changed[k], changed[k]
    local bytes = { cells[first] }
    k = k + 1
    while changed[k] == last + 1 or changed[k]
      and fill_gap(f, bytes, last + 1, changed[k] - 1) do
      last = changed[k]
      bytes[#bytes + 1] = cells[last]
      k = k + 1
    end
    call("SETRANGE", f.P .. "gs:" .. f.producer,
      string.format("%.0f", (first - 1) * CELL_BYTES), table.concat(bytes))
  end
  f.changed, f.cells, f.window, f.is_unsorted = {}, {}, nil, false
end

local function write(f)
  te.write_cells(f)
  local arrived = {}
  for i, n in pairs(f.arrived) do
    arrived[#arrived + 1], arrived[#arrived + 2] = te.text(i), te.text(n)
  end
  for from = 1, #arrived, te.BATCH_MAX do
    call("HSET", f.P .. "gw:" .. f.producer,
      unpack(arrived, from, math.min(from + te.BATCH_MAX - 1, #arrived)))
  end
  f.arrived = {}
  local left, out = te.text(f.left), te.text(f.out)
  if left ~= f.written or out ~= f.written_out then
    call("HSET", f.P .. "g:" .. f.producer, "left", left, "out", out)
    f.written, f.written_out = left, out
  end
end

-- A flow ends with the outcome nil, or as its first failure.
local function end_flow(f)
  local id = te.node_id(f.producer, 0)
  local record = f.revoked or f.root and "D" .. f.root or NIL
  f.state = "done"
  call("HSET", f.P .. "g:" .. f.producer, "state", "done")
  te.keep_outcome(id, record)
  te.tell(f.P, id, te.expanded(f.P, record))
end

local function write_all(P)
  for k = 1, #te.opened do
    local f = te.opened[k]
    if f.left == 0 and f.state ~= "done" then
      f.is_new_end = true
      end_flow(f)
    end
    write(f)
  end
  for key, outcomes in pairs(te.chunks) do
    call("HSET", P .. "v:" .. key, unpack(outcomes))
  end
  te.chunks, te.pending = {}, {}
  for k = 1, #te.opened do
    if te.opened[k].is_new_end then
      te.opened[k].is_new_end = false
      te.set_flow_end(te.opened[k])
    end
  end
end

-- At the end of every function.
function te.close_flows(P)
  if te.opened[1] and te.may_write then
    te.advance_flows(P)
    te.mend_flows(P)
    write_all(P)
    te.advance_flows(P) -- times to live
  end
end

-- At the beginning of every function.
function te.begin_flows()
  if not te.opened or te.opened[1] then -- the last one had to do with flows
    te.opened, te.chunks, te.pending = {}, {}, {}
    te.work, te.released = {}, {}
  end
  te.flows, te.steps = {}, STEPS_MAX
  te.moment, te.takes, te.seen = nil, nil, nil
end

-- Takes away what flows have left behind.
function te.drop_flows(P, now, limit)
  local old = call("ZRANGE", P .. "gx", "-inf", string.format("%.0f", now),
    "BYSCORE", "LIMIT", "0", te.text(limit))
  for i = 1, #old do
    local keys = { P .. "gh:" .. old[i] }
    for k = 1, #te.FLOW_KEYS do
      keys[k + 1] = P .. te.FLOW_KEYS[k] .. old[i]
    end
    call("UNLINK", unpack(keys))
    call("ZREM", P .. "gx", old[i])
  end
end
