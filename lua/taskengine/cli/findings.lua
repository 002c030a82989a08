--- What a doctor finds: each is good, doubtful or bad, a sentence, and what to
-- do about it.
-- @module taskengine.cli.findings

local findings = {}

--- A list of findings, in the order in which they were made.
-- @type Findings
local Findings = {}
Findings.__index = Findings

--- An empty list.
-- @treturn Findings
function findings.new()
  return setmetatable({}, Findings)
end

local function add(self, level, name, text, advice)
  self[#self + 1] = {
    name = name, level = level, text = text, advice = advice,
  }
end

--- Something is as it should be.
-- @tparam string name what was looked at
-- @tparam string text
function Findings:ok(name, text)
  add(self, "ok", name, text)
end

--- Something works, and may lead to trouble.
-- @tparam string name
-- @tparam string text
-- @tparam ?string advice
function Findings:warn(name, text, advice)
  add(self, "warn", name, text, advice)
end

--- Something does not work.
-- @tparam string name
-- @tparam string text
-- @tparam ?string advice
function Findings:fail(name, text, advice)
  add(self, "fail", name, text, advice)
end

--- How many there are of a level.
-- @tparam string level
-- @treturn int
function Findings:count(level)
  local count = 0
  for _, finding in ipairs(self) do
    count = count + (finding.level == level and 1 or 0)
  end
  return count
end

return findings
