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
local SMALL_BYTES_MAX = te.SMALL_BYTES_MAX

-- The ends of this call are to be followed to those behind them.
local function begin_following(f)
  if not f.is_following then
    f.is_following = true
    te.add_flow_work(f.producer, "ends", 0, 1)
  end
end

-- The end of a node is; while a flow is set up to be done again not before that
-- is through: until then some of those may not be ready for it.
local function note_end(f, i)
  if f.passes then
    return te.put_behind(f, "e", i, 1)
  end
  f.ends[#f.ends + 1] = i
  begin_following(f)
end

local function add_behind_passes(f, what, a)
  if f.passes then
    te.put_behind(f, what, a, 0)
  else
    te.add_flow_work(f.producer, what, a, 0)
  end
end

-- The same for what looks for all that workers have in hand, and then ends all
-- that they have not.
function te.add_revocation(f)
  add_behind_passes(f, "y", 0)
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

-- Outcomes of this call's nodes, until they are written; by what the ids of
-- those have in common that are kept in one hash.
local function chunk_of(front)
  local chunk = te.chunks[front]
  if not chunk then
    chunk = { by_digit = {}, known = 0 }
    te.chunks[front] = chunk
  end
  return chunk
end

function te.keep_outcome(id, record)
  local chunk = chunk_of(sub(id, 1, 19))
  local n = #chunk
  chunk[n + 1], chunk[n + 2] = sub(id, 20), record
  if #record > SMALL_BYTES_MAX then
    chunk[n + 3], chunk[n + 4] = te.SOME_LARGE, "1"
  end
end

-- The outcome that a node has got in this call; nil when it has got none.
function te.new_outcome(id)
  local chunk = te.chunks[sub(id, 1, 19)]
  if not chunk then
    return nil
  end
  local by_digit = chunk.by_digit
  for k = chunk.known + 1, #chunk, 2 do
    by_digit[chunk[k]] = chunk[k + 1]
  end
  chunk.known = #chunk
  return by_digit[sub(id, 20)]
end

-- Whether a task that ended so and whose id begins so is as most are: it has
-- ended with a value that is small.
local function is_plain_end(field, outcome, front)
  local letter = byte(outcome)
  return (letter == 83 or letter == 74) and #outcome <= SMALL_BYTES_MAX
    and sub(field, 1, 19) == front
end

-- The cell of a node that is released, and how that ends; nil of any other.
local function ending_at(f, i)
  local before = i >= 1 and i <= f.n and cell(f, i)
  if before and byte(before) == 114 then
    return before, f.endings[before] or ending_of(f, before)
  end
end

-- What is to be done for the ends of this call from the first-th on, whose
-- cells say so.
local function count_ends(f, first)
  local ends = f.ends
  local low, high = ends[first], ends[first]
  for k = first + 1, #ends do
    local i = ends[k]
    if i < low then
      low = i
    elseif i > high then
      high = i
    end
  end
  te.note_changes(f, low, high)
  f.out, f.left = f.out - #ends + first - 1, f.left - #ends + first - 1
  begin_following(f)
end

-- Ends tasks of one chunk, whose first node is base, from args[k] on: up to one
-- that is not released, or has not ended as most do. Returns where that is.
function te.end_released(f, base, args, k, last, front)
  local cells, ends, leads, chunk = f.cells, f.ends, f.leads, chunk_of(front)
  local n, size, before, ending = #ends, #chunk, nil, nil
  local first = n + 1
  while k <= last and is_plain_end(args[k], args[k + 1], front) do
    local digit = digit_value[byte(args[k], 20)]
    local i = base + digit
    if not before or cells[i] or i > f.n
      or not te.has_in_window(f, i, before) then
      before, ending = ending_at(f, i)
      if not before then
        break
      end
    end
    n = n + 1
    cells[i], ends[n], leads[i] = ending.cell, i, ending.edges
    chunk[size + 1], chunk[size + 2] = digit_text[digit], args[k + 1]
    size, k = size + 2, k + 2
  end
  if n >= first then
    count_ends(f, first)
  end
  return k
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
  end
  if state == DONE and byte(before, 8) == 1 then
    f.leads[i] = sub(before, 9, 12)
  end
  note_end(f, i)
  return true
end

-- The same for one that no envelope is needed for.
function te.end_and_tell(f, i, record, state)
  te.steps = te.steps - 1
  if te.end_node(f, i, record, state) then
    te.tell(f.P, te.node_id(f.producer, i), record)
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

-- The flow was revoked while a worker had the node in hand: from then on it is
-- in no ready list any more.
local IN_HAND = 2

function te.mark_in_hand(f, i)
  local before = cell(f, i)
  set_cell(f, i, sub(before, 1, 7) .. char(IN_HAND) .. sub(before, 9))
end

function te.is_in_hand(f, i)
  return byte(cell(f, i), 8) == IN_HAND
end

-- As if nothing had come to it.
function te.reset_node(f, i)
  set_cell(f, i, NO_CELL)
  f.arrived[i], f.left = 0, f.left + 1
end
