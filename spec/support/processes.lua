--- Processes, whoever started them.
-- @module spec.support.processes

local files = require("spec.support.files")

local processes = {}

--- Whether a process runs. One that has ended and was not reaped does not.
-- @tparam int pid
-- @treturn boolean
function processes.is_alive(pid)
  local stat = files.read(("/proc/%d/stat"):format(pid))
  return stat ~= nil and not stat:find("%) [ZX]")
end

--- Sends a signal to a process, which may be gone.
-- @tparam int pid
-- @tparam[opt="KILL"] string signal
function processes.kill(pid, signal)
  os.execute(("kill -%s %d 2>/dev/null"):format(signal or "KILL", pid))
end

--- The processes whose parent is this one.
-- @tparam int pid
-- @treturn {int,...}
function processes.children(pid)
  local list = {}
  local path = ("/proc/%d/task/%d/children"):format(pid, pid)
  for number in (files.read(path) or ""):gmatch("%d+") do
    list[#list + 1] = tonumber(number)
  end
  return list
end

return processes
