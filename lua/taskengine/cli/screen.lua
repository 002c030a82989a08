--- Keeps a script's output and the progress bar apart on one terminal.
--
-- What the script writes takes the bar off the screen first; the bar stays
-- away until the script's line has ended.
-- @module taskengine.cli.screen

local screen = {}

local function ends_line(...)
  local count = select("#", ...)
  local last = count > 0 and tostring((select(count, ...)))
  return not last or last == "" or last:sub(-1) == "\n"
end

--- Watches the functions that write: `print`, `io.write`, `file:write`.
-- @tparam function clear takes the bar off the screen
-- @tparam boolean is_shared whether stdout leads to that terminal, too
-- @treturn table with the field `is_midline`, and two functions: `write(text)`
-- writes to stderr unwatched, `release()` puts the functions back
function screen.guard(clear, is_shared)
  local self = { is_midline = false }
  local methods = getmetatable(io.stdout).__index
  local print_before, write_before = _G.print, _G.io.write
  local method_before = methods.write

  local function prepare(...)
    clear()
    self.is_midline = not ends_line(...)
  end
  if is_shared then
    function _G.print(...)
      clear()
      self.is_midline = false
      return print_before(...)
    end
    rawset(_G.io, "write", function(...)
      if io.output() == io.stdout then
        prepare(...)
      end
      return write_before(...)
    end)
  end
  function methods.write(file, ...)
    if file == io.stderr or is_shared and file == io.stdout then
      prepare(...)
    end
    return method_before(file, ...)
  end

  function self.write(text)
    method_before(io.stderr, text)
  end
  function self.release()
    _G.print, methods.write = print_before, method_before
    rawset(_G.io, "write", write_before)
  end
  return self
end

return screen
