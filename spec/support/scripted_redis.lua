--- A server that answers as the spec wants: for versions and failures that no
-- real Redis shows on demand.
--
--     local server <close> = scripted_redis.listen(function(words, client)
--       return words[1] == "PING" and "+PONG\r\n" or nil
--     end)
--     redis.connect(server.url)
-- @module spec.support.scripted_redis

local peer = require("taskengine.core").testing.peer

local scripted_redis = {}

local Server = {}
Server.__index = Server

-- Takes one command off the front: its words, and what is behind it.
local function take_command(bytes)
  local count, at = bytes:match("^%*(%d+)\r\n()")
  if not count then
    return nil, bytes
  end
  local words = {}
  for i = 1, tonumber(count) do
    local size, start = bytes:match("^%$(%d+)\r\n()", at)
    if not size or #bytes < start + tonumber(size) + 1 then
      return nil, bytes
    end
    words[i] = bytes:sub(start, start + tonumber(size) - 1)
    at = start + tonumber(size) + 2
  end
  return words, bytes:sub(at)
end

--- A bulk string.
-- @tparam string text
-- @treturn string its bytes
function scripted_redis.bulk(text)
  return ("$%d\r\n%s\r\n"):format(#text, text)
end

--- What INFO answers: that of a server that can be used, but for `changes`.
-- @tparam[opt] table changes fields and values, false to leave one out
-- @treturn string a reply's bytes
function scripted_redis.info(changes)
  local fields = {
    redis_version = "7.0.15",
    loading = "0",
    role = "master",
    maxmemory_policy = "noeviction",
  }
  for name, value in pairs(changes or {}) do
    fields[name] = value or nil
  end
  local lines = { "# Server" }
  for name, value in pairs(fields) do
    lines[#lines + 1] = name .. ":" .. value
  end
  return scripted_redis.bulk(table.concat(lines, "\r\n") .. "\r\n")
end

--- Listens on a Unix socket of its own.
-- @tparam function answer called with the words of each command and the
-- client (see `core.testing.peer`); returns the bytes of the reply, or nil to
-- stay silent. INFO that it leaves unanswered gets @{info}.
-- @treturn Server with `url`, `socket`, `clients` and `arrivals` (what came
-- from the clients, in the pieces in which it came)
function scripted_redis.listen(answer)
  local self = setmetatable({
    socket = os.tmpname(),
    clients = {},
    arrivals = {},
  }, Server)
  os.remove(self.socket)
  self.url = "redis+unix://" .. self.socket
  self.peer = assert(peer.listen(self.socket, function(client)
    table.insert(self.clients, client)
    local rest = ""
    client:on_data(function(_, bytes)
      if not bytes then
        client:close()
        return
      end
      table.insert(self.arrivals, bytes)
      local words
      words, rest = take_command(rest .. bytes)
      while words do
        local reply = answer(words, client)
        if not reply and words[1] == "INFO" then
          reply = scripted_redis.info()
        end
        if reply then
          client:send(reply)
        end
        words, rest = take_command(rest)
      end
    end)
  end))
  return self
end

--- Ends it and its connections.
function Server:close()
  self.peer:close()
  for _, client in ipairs(self.clients) do
    client:close()
  end
  os.remove(self.socket)
end

Server.__close = Server.close

return scripted_redis
