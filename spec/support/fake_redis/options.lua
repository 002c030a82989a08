--- The words after a command's fixed arguments.
-- @module spec.support.fake_redis.options

local reply = require("spec.support.fake_redis.reply")

local options = {}

--- Reads options until a word that is none.
-- @tparam {string,...} argv
-- @tparam int from the first place
-- @tparam {[string]=int} known how many values follow each name
-- @treturn table name to true, to its value, or to the list of its values
-- @treturn int the place of the first word that is no option
-- @raise the error reply when a value is missing
function options.read(argv, from, known)
  local found, at = {}, from
  while at <= #argv do
    local name = argv[at]:upper()
    local count = known[name]
    if not count then
      break
    end
    if at + count > #argv then
      reply.fail(reply.SYNTAX)
    end
    found[name] = count == 0 or count == 1 and argv[at + 1]
      or table.move(argv, at + 1, at + count, 1, {})
    at = at + count + 1
  end
  return found, at
end

--- Reads options to the end.
-- @tparam {string,...} argv
-- @tparam int from
-- @tparam {[string]=int} known
-- @treturn table as @{read}
-- @raise the error reply for anything else
function options.read_all(argv, from, known)
  local found, at = options.read(argv, from, known)
  if at <= #argv then
    reply.fail(reply.SYNTAX)
  end
  return found
end

return options
