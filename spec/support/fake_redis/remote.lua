--- Commands to a real server, many through one `redis-cli`.
-- @module spec.support.fake_redis.remote

local remote = {}

-- redis-cli reads "\xHH" inside double quotes.
local function quote(argument)
  local text = tostring(argument):gsub("[^%w_:.*-]", function(byte)
    return ("\\x%02x"):format(byte:byte())
  end)
  return '"' .. text .. '"'
end

-- Stands between the replies, which may have several lines.
local MARK <const> = "=end-of-reply="

local function write_commands(path, commands)
  local file <close> = assert(io.open(path, "w"))
  for _, command in ipairs(commands) do
    local words = {}
    for i, argument in ipairs(command) do
      words[i] = quote(argument)
    end
    file:write(table.concat(words, " "), "\nECHO ", MARK, "\n")
  end
end

local function read_replies(output)
  local replies, lines = {}, {}
  for line in output:lines() do
    if line == MARK or line == '"' .. MARK .. '"' then
      replies[#replies + 1] = table.concat(lines, "\n"):gsub("\n+$", "")
      lines = {}
    else
      lines[#lines + 1] = line
    end
  end
  return replies, table.concat(lines, "\n")
end

--- Runs commands and returns what redis-cli prints for each.
-- @tparam string socket the server's
-- @tparam {table,...} commands lists of words
-- @tparam[opt=""] string flags for redis-cli
-- @treturn {string,...} a text for each, without line ends behind it
-- @raise when the server does not answer all of them
function remote.run(socket, commands, flags)
  local path = os.tmpname()
  write_commands(path, commands)
  local shell = "exec redis-cli %s -s '%s' <'%s' 2>&1"
  local output = assert(io.popen(shell:format(flags or "", socket, path)))
  local replies, rest = read_replies(output)
  output:close()
  os.remove(path)
  if #replies ~= #commands then
    local text = "%d replies to %d commands: %s"
    error(text:format(#replies, #commands, rest), 2)
  end
  return replies
end

--- Declares a function library, in the place of one of its name.
-- @tparam string socket the server's
-- @tparam string text
-- @treturn string its name, or the error as redis-cli prints it
function remote.load_library(socket, text)
  return remote.run(socket, { { "FUNCTION", "LOAD", "REPLACE", text } })[1]
end

--- The bytes that a server wrote in hexadecimal.
-- @tparam string text
-- @treturn string
-- @raise when it is something else, such as an error reply
function remote.from_hex(text)
  if #text % 2 == 1 or text:find("[^%da-f]") then
    error(text, 2)
  end
  return (text:gsub("%x%x", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

return remote
