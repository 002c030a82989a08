-- What sets nodes off: that others end, along the edges from these; and, when a
-- flow starts, that they need nothing.

local NONE, ERRBACK, EDGE_BYTES = te.NO_PIECE, te.ERRBACK, te.EDGE_BYTES
local WAITS, DONE, NEEDS, REVOKED, SKIPPED = "\0", "d", "n", "R", "s"
local IS_OPEN = te.IS_OPEN
local CONTINUES = { c = true, i = true }
local WORK = te.FLOW_WORK

-- The outcome of a node that was there for a failure: { kind = , message = }
-- in MessagePack.
local UNNEEDED = "R\130\164kind\167Skipped\167message"
  .. "\217\036nothing failed that it was there for"

-- What those that need a failed node fail with.
local function passed_on(f, i)
  local id = te.node_id(f.producer, i)
  local record = te.raw_outcome(f.P, id)
  return record and byte(record) == 68 and record or "D" .. id
end

-- A node has all that it needs.
function te.set_off(f, i, record)
  if record and te.node_need(record) >= ERRBACK then
    te.end_and_tell(f, i, UNNEEDED, SKIPPED)
  else
    te.release_node(f, i)
  end
end

-- How many of the edges to a node have arrived; for those with several.
function te.arrivals(f, i)
  return f.arrived[i] or tonumber(
    call("HGET", f.P .. "gw:" .. f.producer, texts[i]) or 0) or 0
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
      te.end_and_tell(f, target, f.revoked, REVOKED)
    elseif is_failure then
      te.end_and_tell(f, target, passed_on(f, from), NEEDS)
    else
      te.end_and_tell(f, target, UNNEEDED, SKIPPED)
    end
  end
end

-- What the end of a node sets off, from a byte of its out-edges on. Returns the
-- byte where it stopped; nil when that is all.
local function follow_edges(f, i, from)
  local edges, state = te.out_edges(f, i), te.node_state(f, i)
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
  local edges = te.flow_piece(f, "o" .. texts[te.number_at(o, 1, 4)],
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
  local ends, leads = f.ends, f.leads
  local n, first, most = 1, f.followed + 1, te.steps
  while n < most and leads[ends[first + n]] == o do
    n = n + 1
  end
  return n
end

-- The number of the out-edges of one that has succeeded in this call, if there
-- are any.
local function edges_of_ended(f, i)
  local o = f.leads[i]
  if not o then
    if f.records[i] == nil and f.followed >= f.ends_read then
      te.read_ended(f)
    end
    o = te.node_state(f, i) == DONE and te.edges_of(te.node_record(f, i))
  end
  return o ~= NONE and o
end

-- The next of those that end in this call, with others like it. True when all
-- that they set off was done.
local function follow_next(f, item)
  local i = f.ends[f.followed + 1]
  local o = edges_of_ended(f, i)
  local target = item.b == 1 and o and common_target(f, o)
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
        te.read_run(f, i, last)
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
      call("ZADD", key, texts[part.a],
        texts[part.a] .. " " .. texts[part.b])
    end
  end
  return false
end
