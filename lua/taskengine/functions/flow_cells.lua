-- Cells: what state each node of a flow is in, 12 bytes a node. They are read
-- in windows, and written when a function has done its work.

local CELL_BYTES, NO_CELL = te.CELL_BYTES, te.NO_CELL
local IS_STATE = te.IS_STATE
-- Nodes in a window: few will do for a step, more are wanted by what looks at
-- many.
local WINDOW, WIDE_WINDOW = 32, 256

-- Lets f.window be one in which a cell is. Wide ones stay at hand.
local function open_window(f, i)
  local width = f.width and WIDE_WINDOW or WINDOW
  local first = i - (i - 1) % width
  local window = f.windows[first]
  if not window then
    local from = (first - 1) * CELL_BYTES
    window = call("GETRANGE", f.P .. "gs:" .. f.producer, texts[from],
      texts[from + width * CELL_BYTES - 1])
  end
  f.first, f.width, f.window = first, width, window
  if width == WIDE_WINDOW then
    f.windows[first] = window
  end
end

-- Where in the window a cell begins; it may have to be read. What is none is
-- that of a node that waits.
local function find_cell(f, i)
  local window = f.window
  if not window or i < f.first or i >= f.first + f.width then
    open_window(f, i)
    window = f.window
  end
  local at = (i - f.first) * CELL_BYTES + 1
  if not IS_STATE[byte(window, at)] or #window < at + CELL_BYTES - 1 then
    f.is_torn = true
    f.window = sub(window, 1, at - 1)
      .. string.rep("\0", at - 1 - #window) .. NO_CELL
      .. sub(window, at + CELL_BYTES)
    if f.width == WIDE_WINDOW then
      f.windows[f.first] = f.window
    end
  end
  return at
end

-- Most stand in the window that was read last, as they are to be.
function te.cell(f, i)
  local bytes, window = f.cells[i], f.window
  if bytes then
    return bytes
  elseif window and i >= f.first then
    local from = (i - f.first) * CELL_BYTES
    bytes = sub(window, from + 1, from + CELL_BYTES)
    if #bytes == CELL_BYTES and IS_STATE[byte(bytes)] then
      return bytes
    end
  end
  local at = find_cell(f, i)
  return sub(f.window, at, at + CELL_BYTES - 1)
end

-- Whether the window that was read last says so of a node.
function te.has_in_window(f, i, bytes)
  local at = f.window and (i - f.first) * CELL_BYTES or -1
  return at >= 0 and sub(f.window, at + 1, at + CELL_BYTES) == bytes
end

function te.node_state(f, i)
  local bytes = f.cells[i]
  if bytes then
    return sub(bytes, 1, 1)
  end
  local at = find_cell(f, i)
  return sub(f.window, at, at)
end

-- Up to where the cells of n nodes from i on, which are all in the window, are
-- these bytes; those of i are taken for them.
local function alike_to(f, i, n, bytes)
  local at, window, to = (i - f.first) * CELL_BYTES, f.window, i - 1 + n
  if sub(window, at + 1, at + n * CELL_BYTES) == string.rep(bytes, n) then
    return to -- as mostly all are
  end
  to = i
  while sub(window, at + CELL_BYTES + 1, at + 2 * CELL_BYTES) == bytes do
    to, at = to + 1, at + CELL_BYTES
  end
  return to
end

-- Up to which of the nodes from i to last all have the cell that i has, these
-- bytes, as far as the window says.
function te.same_cells_to(f, i, last, bytes)
  local cells = f.cells
  if i == last or cells[i] then
    return i
  end
  find_cell(f, i)
  last = alike_to(f, i, math.min(last - i + 1, f.first + f.width - i), bytes)
  for k = i + 1, math.min(last, f.last_changed) do
    if cells[k] then
      return k - 1
    end
  end
  return last
end

-- By window: the first and the last that has changed in it.
local function note_change(f, first, last)
  local window = first - (first - 1) % WIDE_WINDOW
  local span = f.changed[window]
  if not span then
    f.changed[window] = { first = first, last = last }
  elseif last > span.last then
    span.last = last
  end
  if span and first < span.first then
    span.first = first
  end
  if last > f.last_changed then
    f.last_changed = last
  end
end

-- The same where others that have not may be between them.
function te.note_changes(f, first, last)
  while first <= last do
    local to = first - (first - 1) % WIDE_WINDOW + WIDE_WINDOW - 1
    note_change(f, first, math.min(to, last))
    first = to + 1
  end
end

function te.set_cell(f, i, bytes)
  local cells = f.cells
  if not cells[i] then
    note_change(f, i, i)
  end
  cells[i] = bytes
end

-- The same for several side by side.
function te.set_cells(f, first, last, bytes)
  local cells = f.cells
  for i = first, last do
    cells[i] = bytes
  end
  te.note_changes(f, first, last)
end

-- Cells that say nothing yet, of all nodes.
function te.make_cells(P, producer, nodes)
  call("SETRANGE", P .. "gs:" .. producer,
    texts[nodes * CELL_BYTES - 1], "\0")
end

-- Those of a new flow: of a small one they are written with what becomes of it
-- in this call.
function te.begin_cells(f)
  if f.n > WINDOW then
    te.make_cells(f.P, f.producer, f.n)
  else
    te.set_cell(f, f.n, NO_CELL)
  end
  f.first, f.width = 1, WINDOW
  f.window = string.rep("\0", WINDOW * CELL_BYTES)
end

-- What stands between two cells that have changed is written with them, as it
-- is, when it is little.
local GAP_MAX = 32

-- The cells from low to high, none of which has changed; nil where that is not
-- to be.
local function gap_between(f, low, high)
  if high - low >= GAP_MAX then
    return nil
  elseif not f.window or low < f.first or high >= f.first + f.width then
    f.width = WIDE_WINDOW
    open_window(f, low)
  end
  local from, to = (low - f.first) * CELL_BYTES, (high + 1 - f.first)
    * CELL_BYTES
  return to <= #f.window and sub(f.window, from + 1, to) or nil
end

-- Those from a changed one on, up to where too many have not. Returns the next
-- one that has changed.
local function write_run(f, first, last)
  local cells, parts, n, i = f.cells, {}, 0, first
  while i <= last do
    local bytes, behind = cells[i], i + 1
    if not bytes then
      while not cells[behind] do
        behind = behind + 1
      end
      bytes = gap_between(f, i, behind - 1)
      if not bytes then
        i = behind
        break
      end
    end
    n = n + 1
    parts[n], i = bytes, behind
  end
  call("SETRANGE", f.P .. "gs:" .. f.producer,
    texts[(first - 1) * CELL_BYTES], table.concat(parts))
  return i
end

function te.write_cells(f)
  for _, span in pairs(f.changed) do
    local i = span.first
    while i <= span.last do
      i = write_run(f, i, span.last)
    end
  end
  f.changed, f.cells, f.last_changed = {}, {}, 0
  te.forget_cells(f)
end

-- What was read may not be so any more.
function te.forget_cells(f)
  f.window, f.windows = nil, {}
end
