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
    window = call("GETRANGE", f.P .. "gs:" .. f.producer, te.text(from),
      te.text(from + width * CELL_BYTES - 1))
  end
  f.first, f.width, f.window = first, width, window
  if width == WIDE_WINDOW then
    f.windows[first] = window
  end
end

-- Of a new flow no cell says anything yet.
function te.begin_cells(f)
  f.first, f.width = 1, WINDOW
  f.window = string.rep("\0", WINDOW * CELL_BYTES)
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

function te.node_state(f, i)
  local bytes = f.cells[i]
  if bytes then
    return sub(bytes, 1, 1)
  end
  local at = find_cell(f, i)
  return sub(f.window, at, at)
end

-- Up to where nodes from i on wait, as far as the window says; i itself does.
function te.waiting_to(f, i, last)
  local at, cells = find_cell(f, i), f.cells
  local other = string.find(f.window, "%Z", at) or #f.window + 1
  last = math.min(last, i - 1 + math.floor((other - at) / CELL_BYTES))
  if i > f.last_changed then
    return last
  end
  local k = i + 1
  while k <= last and not cells[k] do
    k = k + 1
  end
  return k - 1
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
  while first <= last do
    local to = first - (first - 1) % WIDE_WINDOW + WIDE_WINDOW - 1
    note_change(f, first, math.min(to, last))
    first = to + 1
  end
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
  local at = (low - f.first) * CELL_BYTES
  local between = sub(f.window, at + 1, at + (high - low + 1) * CELL_BYTES)
  return #between == (high - low + 1) * CELL_BYTES and between or nil
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
    te.text((first - 1) * CELL_BYTES), table.concat(parts))
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
