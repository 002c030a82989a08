--- A loop that each spec leaves as it found it: idle, and without an error in
-- a callback that the spec did not look at.
-- @module spec.support.idle_loop

local busted = require("busted")
local loop = require("taskengine.core").loop

local idle_loop = {}

--- Looks at the loop behind a spec.
-- @raise when something still waits in it
function idle_loop.check()
  loop.run("nowait") -- what was closed goes in the next turn
  busted.assert.is_false(loop.alive())
end

--- Looks at the loop behind each spec of a block.
-- @treturn function returns the errors of callbacks so far, which count as
-- looked at then
function idle_loop.for_each_spec()
  local errors
  busted.before_each(function()
    errors = {}
    loop.on_error(function(err)
      errors[#errors + 1] = err
    end)
  end)
  busted.after_each(function()
    loop.on_error(nil)
    busted.assert.same({}, errors)
    idle_loop.check()
  end)
  return function()
    local heard = errors
    errors = {}
    return heard
  end
end

return idle_loop
