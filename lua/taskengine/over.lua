--- One task that calls its function for each element of a list.
-- @module taskengine.over

local core = require("taskengine.core")

local over = {}

local NULL <const> = core.codec.null

local function fail(text, ...)
  error(text:format(...), 0)
end

local function count_of(list)
  return math.tointeger(list.n) or #list
end

local function unpack_nulls(item, i)
  if type(item) ~= "table" then
    fail("element %d: a list of arguments expected, got %s", i,
      type(item))
  end
  local n = count_of(item)
  local args = table.move(item, 1, n, 1, {})
  for at = 1, n do
    if args[at] == NULL then
      args[at] = nil
    end
  end
  return table.unpack(args, 1, n)
end

-- What stands for an element among the arguments.
local SPREAD <const> = {
  map = function(item)
    if item == NULL then
      return nil
    end
    return item
  end,
  starmap = unpack_nulls,
}

-- Calls with the first n of `front` ahead of the other arguments.
local function call_behind(front, n, run, ...)
  if n == 0 then
    return run(...)
  end
  return call_behind(front, n - 1, run, front[n], ...)
end

-- The one value that a call may return, as it stands in a list.
local function only(i, ...)
  local count, value = select("#", ...), (...)
  if count > 1 then
    fail("element %d: the task returned %d values, it may return one; put them"
      .. " into a table", i, count)
  elseif value == nil then
    return NULL
  end
  return value
end

--- The function that runs in place of a task's own. The list is its last
-- argument; those ahead of it go in front of each element.
-- @tparam function run the task's
-- @tparam string kind `map`: each element is an argument; `starmap`: each is a
-- list of arguments
-- @treturn function
function over.each(run, kind)
  local spread = SPREAD[kind]
  return function(...)
    local args = table.pack(...)
    local list, before = args[args.n], args.n - 1
    if type(list) ~= "table" then
      fail("%s: a list expected, got %s", kind, type(list))
    end
    local out = {}
    for i = 1, count_of(list) do
      out[i] = only(i, call_behind(args, before, run, spread(list[i], i)))
    end
    return out
  end
end

--- Whether this is one of the kinds.
-- @param kind anything
-- @treturn boolean
function over.is(kind)
  return SPREAD[kind] ~= nil
end

return over
