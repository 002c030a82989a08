--- Replies as a script sees them, and how a command refuses.
--
-- Integers are Lua integers, bulk strings are strings, null is `false`, a
-- status is `{ ok = text }`, an error `{ err = text }`, an array a table.
-- A command refuses by raising its error reply, which ends it at once.
-- @module spec.support.fake_redis.reply

local reply = {}

reply.SYNTAX = "ERR syntax error"
reply.WRONG_TYPE = "WRONGTYPE Operation against a key holding"
  .. " the wrong kind of value"
reply.NOT_POSITIVE = "ERR value is out of range, must be positive"
reply.OVERFLOW = "ERR increment or decrement would overflow"

--- A status reply.
-- @tparam string text such as `"OK"`
-- @treturn table
function reply.status(text)
  return { ok = text }
end

--- Ends the command with an error reply.
-- @tparam string text with its code in front
-- @raise always
function reply.fail(text)
  error({ err = text }, 0)
end

--- Ends the command because its arguments do not come in pairs.
-- @tparam string command in lower case
-- @raise always
function reply.fail_arity(command)
  reply.fail(("ERR wrong number of arguments for '%s' command"):format(command))
end

return reply
