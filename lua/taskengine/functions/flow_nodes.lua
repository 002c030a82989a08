-- What becomes of a node: it is released, delegates, ends. What its end sets
-- off, in the same step as the end itself, once, whatever is repeated, stands
-- in flow_edges.lua.

local cell, set_cell = te.cell, te.set_cell -- of flow_cells.lua
local RELEASED, DELEGATED = "r", "g"
local DONE, FAILED, REVOKED = "d", "f", "R"
local IS_OPEN = te.IS_OPEN
local STATE_OF = {
  S = DONE, J = DONE, G = DONE, F = FAILED, R = REVOKED, D = "n",
}
local NIL, NO_CELL = te.NIL, te.NO_CELL

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
    te.add_flow_work(f.producer, "ends", 0, 1)
  end
end

local function add_behind_passes(f, what, a)
  if f.passes then
    te.put_behind(f, what, a, 0)
  else
    te.add_flow_work(f.producer, what, a, 0)
  end
end

-- The same for what asks all that runs to end, and then ends all that waits.
function te.add_revocation(f)
  if f.mode ~= "w" then
    add_behind_passes(f, "y", 0)
  end
  add_behind_passes(f, "x", 1)
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

-- A node has ended, or is about to. While the nodes of a damaged flow are
-- counted one that was not come to is not among these yet.
local function count_end(f, i, before)
  if not f.counted or i <= f.counted then
    f.left, f.out = f.left - 1, f.out - outside(f, i, before)
  end
end

-- What the cell of a node that has succeeded says, and the number of its
-- out-edges, by what its cell has said. All that were released at once have the
-- same one.
local function ending_of(f, before)
  local ending = {
    cell = DONE .. sub(before, 2, 7) .. f.stamp,
    edges = byte(before, 8) == 1 and sub(before, 9, 12) or nil,
  }
  f.endings[before] = ending
  return ending
end

-- An outcome of this call, until it is written.
local function add_to_chunk(chunk, id, record)
  local n = #chunk
  chunk[n + 1], chunk[n + 2] = sub(id, 20), record
  if #record > te.SMALL_BYTES_MAX then
    chunk[n + 3], chunk[n + 4] = te.SOME_LARGE, "1"
  end
  te.pending[id] = record
end

-- Ends a released node with its value; chunk is where that is kept. False when
-- there is more to it.
function te.end_released(f, i, record, id, chunk)
  local before, letter = cell(f, i), byte(record)
  if f.counted or byte(before) ~= 114 or (letter ~= 83 and letter ~= 74) then
    return false
  end
  local ending = f.endings[before] or ending_of(f, before)
  set_cell(f, i, ending.cell)
  add_to_chunk(chunk, id, record)
  f.out, f.left = f.out - 1, f.left - 1
  f.leads[i] = ending.edges
  note_end(f, i)
  return true
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
  count_end(f, i, sub(before, 1, 1))
  state = state or STATE_OF[sub(record, 1, 1)] or DONE
  set_cell(f, i, attempt and state .. attempt .. sub(before, 3, 7) .. f.stamp
    or state .. sub(before, 2, 7) .. f.stamp)
  te.keep_outcome(id, record)
  if state == FAILED or state == REVOKED then
    te.note_root(f, id)
  elseif state == DONE and byte(before, 8) == 1 then
    f.leads[i] = sub(before, 9, 12)
  end
  note_end(f, i)
  return true
end

-- The same for one that no envelope is needed for.
function te.end_and_tell(f, i, record, state)
  te.steps = te.steps - 1
  if te.end_node(f, i, record, state) then
    te.tell(f.P, te.node_id(f.producer, i), te.expanded(f.P, record))
  end
end

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

-- Outcomes of this call's nodes, until they are written; by what the ids of
-- those have in common that are kept in one hash.
function te.chunk(key)
  local chunk = te.chunks[key]
  if not chunk then
    chunk = {}
    te.chunks[key] = chunk
  end
  return chunk
end

function te.keep_outcome(id, record)
  add_to_chunk(te.chunk(sub(id, 1, 19)), id, record)
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

-- The end of a node, of which everybody knows.
function te.put_end(f, i, state)
  local before = cell(f, i)
  count_end(f, i, sub(before, 1, 1))
  set_cell(f, i, state .. sub(before, 2, 7) .. f.stamp)
end

-- Nodes from first to last, with the same out-edges: their number stands where
-- the time of the end will.
function te.mark_released(f, first, last, record)
  f.out = f.out + last - first + 1
  te.set_cells(f, first, last, f.released .. te.edges_of(record))
end

-- To a node of its own flow, or to another, whose end is to come.
function te.mark_delegated(f, i, is_away)
  f.out = f.out - (is_away and 0 or 1)
  set_cell(f, i, DELEGATED .. sub(cell(f, i), 2))
end

-- As if nothing had come to it.
function te.reset_node(f, i)
  set_cell(f, i, NO_CELL)
  f.arrived[i], f.left = 0, f.left + 1
end
