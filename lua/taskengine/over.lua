--- One task that calls its function for each element of a list.
-- @module taskengine.over

local core = require("taskengine.core")

local over = {}

local NULL <const> = core.codec.null

-- The list is the last argument: in front of it a bound task has itself.
local function split(...)
  local args = table.pack(...)
  local list = args[args.n]
  if type(list) ~= "table" then
    error("a list expected, got " .. type(list), 0)
  end
  return list, args, args.n - 1
end

local function unpack_nulls(item)
  local args = table.move(item, 1, #item, 1, { n = item.n or #item })
  for i = 1, args.n do
    if args[i] == NULL then
      args[i] = nil
    end
  end
  return table.unpack(args, 1, args.n)
end

-- What stands for an element among the arguments.
local SPREAD <const> = {
  map = function(item)
    return item ~= NULL and item or nil
  end,
  starmap = unpack_nulls,
}

--- The function that runs in place of a task's own.
-- @tparam function run the task's
-- @tparam string kind `map`: each element is an argument; `starmap`: each is a
-- list of arguments
-- @treturn function
function over.each(run, kind)
  local spread = SPREAD[kind]
  return function(...)
    local list, args, before = split(...)
    local out = {}
    for i = 1, list.n or #list do
      local value
      if before == 0 then
        value = run(spread(list[i]))
      else
        value = run(args[1], spread(list[i]))
      end
      out[i] = value == nil and NULL or value
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
