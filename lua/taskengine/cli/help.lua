--- Help, made of what a command takes.
-- @module taskengine.cli.help

local args = require("taskengine.cli.args")

local help = {}

local WIDTH <const> = 78
local INDENT <const> = 26

-- Lines of at most `width` columns.
local function wrap(text, width)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    if line == "" then
      line = word
    elseif #line + 1 + #word <= width then
      line = line .. " " .. word
    else
      lines[#lines + 1], line = line, word
    end
  end
  lines[#lines + 1] = line
  return lines
end

--- Puts a text beside a name: `  name     text`, on as many lines as needed.
-- @tparam string name
-- @tparam string text
-- @tparam int indent where the text begins
-- @treturn string
function help.entry(name, text, indent)
  local lines = wrap(text, WIDTH - indent)
  local first = "  " .. name
  local margin = (" "):rep(indent)
  if #first + 2 > indent then
    first = first .. "\n" .. margin
  else
    first = first .. (" "):rep(indent - #first)
  end
  return first .. table.concat(lines, "\n" .. margin) .. "\n"
end

local function option_name(option)
  local name = "--" .. option.long
  if option.value then
    name = name .. " " .. option.value
  end
  return option.short and ("-%s, %s"):format(option.short, name)
    or "    " .. name
end

--- The help of one command.
-- @tparam table spec see @{taskengine.cli.args}; besides `usage`, `about`,
-- `examples`, and where it prints a table what is in its `columns`: lists of a
-- name and a text
-- @treturn string
function help.of(spec)
  local out = {
    ("usage: taskengine %s\n\n"):format(spec.usage),
    table.concat(wrap(spec.about, WIDTH), "\n"), "\n\noptions:\n",
  }
  for _, option in ipairs(spec.options or {}) do
    if not option.is_hidden then
      out[#out + 1] = help.entry(option_name(option), option.help, INDENT)
    end
  end
  out[#out + 1] = help.entry(option_name(args.HELP), args.HELP.help, INDENT)
  for i, column in ipairs(spec.columns or {}) do
    out[#out + 1] = (i == 1 and "\ncolumns:\n" or "")
      .. help.entry(column[1], column[2], INDENT)
  end
  out[#out + 1] = "\nexamples:\n"
  for _, example in ipairs(spec.examples) do
    out[#out + 1] = "  " .. example .. "\n"
  end
  return table.concat(out)
end

return help
