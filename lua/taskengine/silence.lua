--- A look at what is waited for, when nothing has come for a while: after a
-- silence, and the more rarely the longer it lasts.
-- @module taskengine.silence

local core = require("taskengine.core")

local silence = {}

--- What notices silences.
-- @type Silence
local Silence = {}
Silence.__index = Silence

--- Makes one that is at rest.
-- @tparam int min_ms after how long it looks for the first time
-- @tparam int max_ms the longest time between two looks
-- @tparam function look called for each; false from it ends the watch
-- @treturn Silence
function silence.new(min_ms, max_ms, look)
  return setmetatable({
    min_ms = min_ms,
    max_ms = max_ms,
    look = look,
    was_heard = false,
  }, Silence)
end

local function arm(self, ms)
  self.was_heard = false
  self.timer = core.loop.timer(ms, function()
    self.timer = nil
    if self.was_heard then
      arm(self, self.min_ms)
    elseif self.look() ~= false then
      arm(self, math.min(2 * ms, self.max_ms))
    end
  end)
end

--- Begins to watch, unless it does.
function Silence:watch()
  if not self.timer then
    arm(self, self.min_ms)
  end
end

--- Notes that something has come.
function Silence:heard()
  self.was_heard = true
end

--- Watches no more.
function Silence:stop()
  if self.timer then
    self.timer:close()
    self.timer = nil
  end
end

return silence
