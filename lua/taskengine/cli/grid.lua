--- Tables for people: columns side by side on stdout.
-- @module taskengine.cli.grid

local say = require("taskengine.cli.say")

local grid = {}

--- What stands in a cell.
-- @param value nil when there is none
-- @treturn string on one line, harmless for a terminal
function grid.text(value)
  local text = value == nil and "-" or tostring(value)
  return (say.clean(text):gsub("[\n\t]", " "))
end

local function widths_of(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, text in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, utf8.len(text) or #text)
    end
  end
  return widths
end

--- Writes rows of texts, the heads first.
-- @tparam {table,...} rows
-- @tparam table is_number the set of columns that stand on the right
-- @tparam[opt=io.stdout] file file
function grid.write(rows, is_number, file)
  local widths = widths_of(rows)
  for _, row in ipairs(rows) do
    local line = {}
    for i, text in ipairs(row) do
      local gap = (" "):rep(widths[i] - (utf8.len(text) or #text))
      line[i] = is_number[i] and gap .. text or text .. gap
    end
    local shown = table.concat(line, "  "):gsub(" +$", "");
    (file or io.stdout):write(shown, "\n")
  end
end

return grid
