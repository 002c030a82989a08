-- Cells: what state each node of a flow is in, 12 bytes a node. They are read
-- in windows, and written when a function has done its work.

local CELL_BYTES, NO_CELL = te.CELL_BYTES, te.NO_CELL
local IS_STATE = te.IS_STATE
-- Nodes in a window: few will do for a step, more are wanted by what looks at
-- many.
local WINDOW, WIDE_WINDOW = 32, 256

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
  if not IS_STATE[byte(f.window, at)]
    or #f.window < at + CELL_BYTES - 1 then
    f.is_torn = true
    f.window = sub(f.window, 1, at - 1)
      .. string.rep("\0", at - 1 - #f.window) .. NO_CELL
      .. sub(f.window, at + CELL_BYTES)
  end
  return at
end

function te.cell(f, i)
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

function te.set_cell(f, i, bytes)
  if not f.cells[i] then
    local changed = f.changed
    local n = #changed
    f.is_unsorted = f.is_unsorted or n > 0 and changed[n] > i
    changed[n + 1] = i
  end
  f.cells[i] = bytes
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
