--- Whether what a script writes to stdout gets there.
--
-- Few scripts look at what a write returns, and what could not be written is
-- forgotten with the failure: the flush at the end finds nothing wrong. So
-- each write is looked at.
-- @module taskengine.cli.stdout

local stdout = {}

--- Watches the functions that write, from now on.
-- @treturn table with the method `is_lost()`
function stdout.watch()
  local self = { has_failed = false }
  local file = io.stdout
  local methods = getmetatable(file).__index

  local function note(written, ok, ...)
    if not ok and written == file then
      self.has_failed = true
    end
    return ok, ...
  end
  for _, name in ipairs { "write", "flush" } do
    local of_io, of_file = io[name], methods[name]
    rawset(_G.io, name, function(...)
      return note(io.output(), of_io(...))
    end)
    methods[name] = function(any, ...)
      return note(any, of_file(any, ...))
    end
  end
  -- The one of Lua tells nobody.
  function _G.print(...)
    local texts = table.pack(...)
    for i = 1, texts.n do
      texts[i] = tostring(texts[i])
    end
    file:write(table.concat(texts, "\t"), "\n")
    file:flush()
  end

  --- Whether anything was lost, with what is still in the buffer.
  function self.is_lost()
    file:flush()
    return self.has_failed
  end
  return self
end

return stdout
