--- What a call raises at the line of its caller.
--
--     assert.equal("te.sleep: ...", misuse(te.sleep, -1))
-- @module spec.support.misuse

local function call(fn, ...)
  fn(...)
  return nil -- a tail call would hide this line
end

local HERE <const> = debug.getinfo(call, "S").short_src .. ":"
  .. debug.getinfo(call, "S").linedefined + 1 .. ": "

--- Calls a function with wrong arguments.
-- @tparam function fn
-- @param ... its arguments
-- @treturn string the message, without the position in front
-- @raise when nothing is raised, or not at the line of the call
return function(fn, ...)
  local ok, problem = pcall(call, fn, ...)
  if ok then
    error("nothing was raised", 2)
  end
  problem = tostring(problem)
  if problem:sub(1, #HERE) ~= HERE then
    error("not raised at the caller's line: " .. problem, 2)
  end
  return problem:sub(#HERE + 1)
end
