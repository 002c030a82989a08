--- Lists of arguments: `n` of them, else as many as they are long.
-- @module taskengine.arguments

local arguments = {}

--- One list in front of another.
-- @tparam ?table front
-- @tparam ?table args
-- @treturn ?table that of them which is there, where one is missing
function arguments.join(front, args)
  if not (front and args) then
    return front or args
  end
  local n, m = front.n or #front, args.n or #args
  local all = table.move(front, 1, n, 1, { n = n + m })
  return table.move(args, 1, m, n + 1, all)
end

return arguments
