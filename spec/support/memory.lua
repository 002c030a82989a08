--- How much memory processes take.
-- @module spec.support.memory

local files = require("spec.support.files")
local processes = require("spec.support.processes")
local wait_until = require("spec.support.wait").wait_until

local memory = {}

local IS_ASAN <const> = (os.getenv("TE_BUILD") or ""):find("asan") ~= nil

--- What a sanitizer keeps of what was freed, beside what a process has; 0 in
-- other builds.
memory.KEPT_MB = IS_ASAN and 256 or 0

local function look(pid, most)
  for _, child in ipairs(processes.children(pid)) do
    look(child, most)
  end
  local status = files.read(("/proc/%d/status"):format(pid)) or ""
  local kb = tonumber(status:match("VmHWM:%s+(%d+) kB"))
  most[pid] = kb or most[pid]
end

--- Waits until a program ends.
-- @tparam Process process of `spec.support.program`
-- @tparam number limit_s
-- @treturn {number,...} the most that it, and each process below it, has had
-- in memory, in MB
function memory.most(process, limit_s)
  local most, list = {}, {}
  wait_until(function()
    look(process.pid, most)
    return process.ended
  end, limit_s, process.what)
  for _, kb in pairs(most) do
    list[#list + 1] = kb / 1024
  end
  return list
end

return memory
