--- Gives back the memory that tasks took, when none runs.
--
-- Lua collects garbage as more is made. A process with nothing to do makes
-- none, and would keep what a large argument or result has left.
-- @module taskengine.thrift

local core = require("taskengine.core")

local thrift = {}

-- So much more than after the last time is worth the look.
local SPARE_KIB <const> = 4096
-- Without a task for so long it may be idle for longer.
local IDLE_MS <const> = 100

--- What looks after the memory of this Lua state.
-- @type Thrift
local Thrift = {}
Thrift.__index = Thrift

--- Makes one.
-- @tparam function is_idle whether nothing runs
-- @treturn Thrift
function thrift.new(is_idle)
  local self = setmetatable({ is_idle = is_idle }, Thrift)
  self.most_kib = collectgarbage("count") + SPARE_KIB
  return self
end

--- A task has ended.
function Thrift:look()
  if self.timer or collectgarbage("count") <= self.most_kib then
    return
  end
  self.timer = core.loop.timer(IDLE_MS, function()
    self.timer = nil
    if self.is_idle() then
      collectgarbage()
      self.most_kib = collectgarbage("count") + SPARE_KIB
    else
      self:look()
    end
  end)
end

return thrift
