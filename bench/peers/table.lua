--- The report: Markdown of what `make bench-peers` has measured.
--
--    lua5.4 bench/peers/table.lua build/bench-peers.json
-- @module bench.peers.table

package.path = "./?.lua;" .. package.path

local aims = require("bench.aim")
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
    if median then
      found = (row.more and math.max or math.min)(median, found or median)
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
-- @treturn ?boolean whether it is met; nil when there is no aim, or no peer to
-- compare with
function report.verdict(row, samples, names)
  local ours = samples[names[1]] and report.median(samples[names[1]])
  if row.of_best then
    local peer = best(row, samples, names)
    if not peer then
      return "", ""
    end
    local text, met = aims.judge(row, row.of_best, ours / peer)
    return text .. " x the best",
      ("%s: %.2f x"):format(met and "met" or "short", ours / peer), met
  elseif row.aim then
    local text, met = aims.judge(row, row.aim, ours)
    return text, met and "met" or "short", met
  end
  return "", ""
end

local function line(cells)
  return "| " .. table.concat(cells, " | ") .. " |"
end

local function title_of(row, sizes)
  return (row.title:gsub("{(%w+)}", function(size)
    return number("%d", sizes[size])
  end))
end

local function head_of(systems, names)
  local head, rule = { "measure" }, { "---" }
  for i, system in ipairs(systems) do
    names[i] = system.name
    table.insert(head, system.name .. " " .. system.version)
  end
  table.insert(head, "to reach")
  table.insert(head, "verdict")
  for i = 2, #head do
    rule[i] = "---"
  end
  return { line(head), line(rule) }
end

--- The table.
-- @tparam table measured `systems`, ours first, each with name and version;
-- `samples` by row and system
-- @treturn string
-- @treturn {table,...} the aims, see @{bench.aim}
function report.markdown(measured)
  local names, judged = {}, {}
  local lines = head_of(measured.systems, names)
  local above -- what "the same" is of
  for _, row in ipairs(rows) do
    local samples = measured.samples[row.key] or {}
    if samples[names[1]] then
      local title = title_of(row, measured.sizes)
      local cells = { title }
      for _, name in ipairs(names) do
        table.insert(cells, cell(row, samples[name]))
      end
      local aim, verdict, met = report.verdict(row, samples, names)
      table.insert(cells, aim)
      table.insert(cells, verdict)
      table.insert(lines, line(cells))
      local rest = title:match("^the same(.*)")
      above = rest and above or title
      if met ~= nil then
        table.insert(judged, { title = rest and above .. rest or title,
          aim = aim, found = verdict:match("[%d.]+ x") or cells[2], met = met })
      end
    end
  end
  return table.concat(lines, "\n"), judged
end

if arg and arg[0]:find("peers/table%.lua$") then
  local json = require("taskengine.core").json
  local path = arg[1] or "build/bench-peers.json"
  local file <close> = assert(io.open(path))
  print((report.markdown(assert(json.decode(file:read("a"))))))
end

return report
