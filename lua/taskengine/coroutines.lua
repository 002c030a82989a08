--- Lets a wait of ours pass through the user's own coroutines.
--
-- A task is a coroutine, and waits by yielding to the scheduler. When it
-- waits inside a coroutine that the user made (an iterator, say), that yield
-- arrives at the user's coroutine.resume, which must not see it. So resume
-- and wrap are replaced by functions that know our yield, hand it on outward,
-- and go back in when the wait is over. For everything else they do what the
-- ones of Lua do.
-- @module taskengine.coroutines

local coroutines = {}

local raw = {}
for name, fn in pairs(coroutine) do
  raw[name] = fn
end

-- What a wait yields; nobody else has it.
local SUSPEND <const> = {}
-- What a wait gets back from where it cannot be handed on.
local REFUSED <const> = {}

-- The coroutine that runs, as far as our resume functions started it.
local inner

-- The user's coroutines that a wait has passed through: for everyone else
-- they are not suspended.
local passed = setmetatable({}, { __mode = "k" })

local IN_C <const> = "cannot wait inside a C call (the function of"
  .. " table.sort or string.gsub, a metamethod, require, ...)"
local FOREIGN <const> = "cannot wait in a coroutine that was not started"
  .. " through coroutine.resume or coroutine.wrap"

local resume

-- Hands a wait on to the coroutine outside, and comes back after it.
local function pass_on(co)
  local verdict = REFUSED
  if raw.isyieldable() then
    passed[co] = true
    verdict = raw.yield(SUSPEND)
    passed[co] = nil
  end
  inner = co
  return verdict
end

local function arrive(co, outer, ok, first, ...)
  if first == SUSPEND then
    local verdict = pass_on(co)
    return arrive(co, outer, raw.resume(co, verdict))
  end
  inner = outer
  return ok, first, ...
end

function resume(co, ...)
  if passed[co] then
    return false, "cannot resume non-suspended coroutine"
  end
  local outer = inner
  inner = co
  return arrive(co, outer, raw.resume(co, ...))
end

-- What coroutine.wrap makes of a resume: errors go on, with the position of
-- the one who called.
local function unwrap(co, ok, ...)
  if ok then
    return ...
  end
  local problem = ...
  if raw.status(co) == "dead" then
    local closed, in_close = raw.close(co)
    problem = not closed and in_close or problem
  end
  error(problem, 2)
end

local function wrap(fn)
  local co = raw.create(fn)
  return function(...)
    return unwrap(co, resume(co, ...))
  end
end

local function status(co)
  return passed[co] and "normal" or raw.status(co)
end

local function close(co)
  if passed[co] then
    error("cannot close a normal coroutine", 2)
  end
  return raw.close(co)
end

--- Replaces Lua's functions for the whole state. Twice does nothing.
function coroutines.install()
  local library = package.loaded.coroutine
  library.resume, library.wrap = resume, wrap
  library.status, library.close = status, close
end

--- Sets what resumes coroutines in place of Lua's `coroutine.resume`.
-- @tparam function fn does the same, and something besides
function coroutines.resume_with(fn)
  raw.resume = fn
end

--- Makes an outermost coroutine, for @{coroutines.run}.
-- @tparam function body
-- @treturn thread
function coroutines.create(body)
  return raw.create(body)
end

--- Runs an outermost coroutine until it waits, yields or ends.
-- @tparam thread co
-- @param ... for its body; nothing when it has waited
-- @treturn boolean false when it ended with an error
-- @return what it yielded or returned first, or the error
function coroutines.run(co, ...)
  local outer = inner
  inner = co
  local ok, first = raw.resume(co, ...)
  inner = outer
  return ok, first
end

--- Whether what @{coroutines.run} brought is a wait.
-- @param first its second value
-- @treturn boolean
function coroutines.is_wait(first)
  return first == SUSPEND
end

--- Why the running coroutine cannot wait, as far as can be told beforehand.
-- @treturn ?string the end of a sentence
function coroutines.obstacle()
  if raw.running() ~= inner then
    return FOREIGN
  elseif not raw.isyieldable() then
    return IN_C
  end
end

--- Waits until the scheduler runs the outermost coroutine again.
-- @treturn ?string why it could not: the end of a sentence
function coroutines.suspend()
  if raw.yield(SUSPEND) == REFUSED then
    return IN_C
  end
end

--- Closes an outermost coroutine that waits: its to-be-closed variables are
-- closed and it never goes on.
-- @tparam thread co
function coroutines.close(co)
  raw.close(co)
end

--- Gives the coroutine out of the scheduler's hand, until it is run again.
-- @return what @{coroutines.run} is called with then
coroutines.give_way = raw.yield

--- Lua's own status.
-- @tparam thread co
-- @treturn string
function coroutines.status(co)
  return raw.status(co)
end

return coroutines
