--- What ran, as the tasks themselves wrote it, outside of Redis.
--
-- Each start of a task appends a line `number pid` to a file, with one write.
-- The checker compares that with what was sent: a number that is missing is
-- lost, one that is there twice was started twice, one that nobody sent is
-- unexpected.
-- @module spec.support.ledger

local ledger = {}

--- A ledger.
-- @type Ledger
-- @tfield string path
local Ledger = {}
Ledger.__index = Ledger

--- Opens a ledger; the file need not be there yet.
-- @tparam string path
-- @treturn Ledger
function ledger.new(path)
  return setmetatable({ path = path }, Ledger)
end

--- How many bytes have been written.
-- @treturn int
function Ledger:size()
  local file <close> = io.open(self.path, "rb")
  return file and file:seek("end") or 0
end

--- All starts.
-- @treturn {[int]={int,...},...} for each number, in which processes
-- @treturn int how many
function Ledger:starts()
  local starts, count = {}, 0
  local file <close> = io.open(self.path, "rb")
  for line in (file and file:read("a") or ""):gmatch("([^\n]*)\n") do
    local number, pid = line:match("^(%d+) (%d+)$")
    assert(number, "a line that no task wrote: " .. line)
    number = math.tointeger(tonumber(number))
    starts[number] = starts[number] or {}
    table.insert(starts[number], math.tointeger(tonumber(pid)))
    count = count + 1
  end
  return starts, count
end

--- Compares with what was sent: the numbers from 1 on.
-- @tparam int sent the last of them
-- @treturn table `lost`, `twice` (starts beyond the first of each),
-- `unexpected`; each a number
function Ledger:check(sent)
  local starts = self:starts()
  local found = { lost = 0, twice = 0, unexpected = 0 }
  for number, pids in pairs(starts) do
    found.twice = found.twice + #pids - 1
    if number < 1 or number > sent then
      found.unexpected = found.unexpected + 1
    end
  end
  for number = 1, sent do
    found.lost = found.lost + (starts[number] and 0 or 1)
  end
  return found
end

return ledger
