--- Runs Lua in a process of its own.
-- @module spec.support.alone

local alone = {}

--- Runs a script to its end.
-- @tparam string script without single quotes
-- @tparam[opt="2>&1"] string redirections of the shell
-- @treturn string what it wrote
-- @treturn int how it ended: 0, its code, or the number of a signal
function alone.run(script, redirections)
  local process = assert(io.popen(("lua5.4 -e '%s' %s"):format(script,
    redirections or "2>&1")))
  local output = process:read("a")
  local ok, _, code = process:close()
  return output, ok and 0 or code
end

return alone
