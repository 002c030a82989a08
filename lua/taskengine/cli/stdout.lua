--- Whether what goes to stdout gets there.
--
-- Few look at what a write returns, scripts and commands alike, and what could
-- not be written is forgotten with the failure: the flush at the end finds
-- nothing wrong. So each write is looked at.
-- @module taskengine.cli.stdout

local exit = require("taskengine.cli.exit")
local say = require("taskengine.cli.say")

local stdout = {}

local EPIPE <const> = 32

-- The first failure: `why` and `code`, as Lua has them. The same for all who
-- watch.
local failure
local is_watched = false

local function note(file, ...)
  local ok, why, code = ...
  if not ok and file == io.stdout and not failure then
    failure = { why = why, code = code }
  end
  return ...
end

local function watch_library(library)
  for _, name in ipairs { "write", "flush" } do
    local before = library[name]
    rawset(library, name, function(...)
      return note(io.output(), before(...))
    end)
  end
end

local function watch_methods(methods)
  for _, name in ipairs { "write", "flush" } do
    local before = methods[name]
    methods[name] = function(file, ...)
      return note(file, before(file, ...))
    end
  end
end

--- Watches the functions that write, from now on: those that commands have,
-- and those that scripts have.
function stdout.watch()
  if is_watched then
    return
  end
  is_watched = true
  watch_library(io)
  if _G.io ~= io then
    watch_library(_G.io)
  end
  watch_methods(getmetatable(io.stdout).__index)
  -- The one of Lua tells nobody.
  function _G.print(...)
    local texts = table.pack(...)
    for i = 1, texts.n do
      texts[i] = tostring(texts[i])
    end
    io.stdout:write(table.concat(texts, "\t"), "\n")
    io.stdout:flush()
  end
end

--- Writes what is still in the buffer, and says when anything was lost. Who
-- does not want to read more (`| head`) knows that already.
-- @tparam int code the exit code if all was written
-- @treturn int the exit code
function stdout.conclude(code)
  note(io.stdout, io.stdout:flush())
  if not failure or code ~= exit.OK then
    return code
  elseif failure.code == EPIPE then
    return exit.UNREAD
  end
  say.problem("stdout cannot be written to: " .. tostring(failure.why))
  return exit.FAILED
end

return stdout
