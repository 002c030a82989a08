--- The report: Markdown of what `make bench-peers` has measured.
--
--    lua5.4 bench/peers/table.lua build/bench-peers.json
-- @module bench.peers.table

package.path = "./?.lua;" .. package.path

local rows = require("bench.peers.rows")

local report = {}

local function sorted(list)
  local copy = table.move(list, 1, #list, 1, {})
  table.sort(copy)
  return copy
end

--- The middle one; the mean of the middle two of an even number.
-- @tparam {number,...} list
-- @treturn number
function report.median(list)
  local copy = sorted(list)
  local middle = #copy // 2
  if #copy % 2 == 1 then
    return copy[middle + 1]
  end
  return (copy[middle] + copy[middle + 1]) / 2
end

local function number(format, value)
  if format ~= "%d" then
    return format:format(value)
  end
  local text = ("%.0f"):format(value)
  return text:reverse():gsub("(%d%d%d)", "%1,"):gsub(",$", ""):reverse()
end

local function cell(row, samples)
  if not samples then
    return ""
  end
  local list = sorted(samples)
  local median = number(row.format, report.median(list))
  if #list == 1 then
    return median
  end
  return ("%s (%s to %s)"):format(median, number(row.format, list[1]),
    number(row.format, list[#list]))
end

-- The best median of the peers.
local function best(row, samples, names)
  local found
  for i = 2, #names do
    local list = samples[names[i]]
    local median = list and report.median(list)
    if median and (not found or row.more == (median > found)) then
      found = median
    end
  end
  return found
end

--- What a row must reach, and whether it does.
-- @tparam table row of bench.peers.rows
-- @tparam {[string]={number,...},...} samples by system
-- @tparam {string,...} names of the systems, ours first
-- @treturn string the aim
-- @treturn string the verdict; both empty when there is none
function report.verdict(row, samples, names)
  local ours = samples[names[1]] and report.median(samples[names[1]])
  local sign = row.more and ">=" or "<="
  local reached, aim, text
  if row.of_best then
    local peer = best(row, samples, names)
    if not peer then
      return "", ""
    end
    reached, aim = ours / peer, row.of_best
    text = ("%s %g x the best"):format(sign, aim)
  elseif row.aim then
    reached, aim = ours, row.aim
    text = ("%s %g"):format(sign, aim)
  else
    return "", ""
  end
  local met
  if row.more then
    met = reached >= aim
  else
    met = reached <= aim
  end
  local word = met and "met" or "short"
  return text, row.of_best and ("%s: %.2f x"):format(word, reached) or word
end

local function line(cells)
  return "| " .. table.concat(cells, " | ") .. " |"
end

--- The table.
-- @tparam table measured `systems`, ours first, each with name and version;
-- `samples` by row and system
-- @treturn string
function report.markdown(measured)
  local names, head, rule = {}, { "measure" }, { "---" }
  for i, system in ipairs(measured.systems) do
    names[i] = system.name
    table.insert(head, system.name .. " " .. system.version)
    table.insert(rule, "---")
  end
  for _, title in ipairs({ "to reach", "verdict" }) do
    table.insert(head, title)
    table.insert(rule, "---")
  end
  local lines = { line(head), line(rule) }
  for _, row in ipairs(rows) do
    local samples = measured.samples[row.key] or {}
    if samples[names[1]] then
      local cells = { (row.title:gsub("{(%w+)}", function(size)
        return number("%d", measured.sizes[size])
      end)) }
      for _, name in ipairs(names) do
        table.insert(cells, cell(row, samples[name]))
      end
      local aim, verdict = report.verdict(row, samples, names)
      table.insert(cells, aim)
      table.insert(cells, verdict)
      table.insert(lines, line(cells))
    end
  end
  return table.concat(lines, "\n")
end

if arg and arg[0]:find("peers/table%.lua$") then
  local json = require("taskengine.core").json
  local path = arg[1] or "build/bench-peers.json"
  local file <close> = assert(io.open(path))
  print(report.markdown(assert(json.decode(file:read("a")))))
end

return report
