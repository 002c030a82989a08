--- The way to Redis from a process of its own: two connections.
--
-- One is for calls. The other is made when the first outcome is waited for;
-- it blocks on the client's inbox. See @{taskengine.requests} for what a
-- transport is.
-- @module taskengine.transport_redis

local core = require("taskengine.core")
local errors = require("taskengine.errors")
local library = require("taskengine.library")

local transport_redis = {}

local BLOCK_S <const> = 1
local ITEMS_MAX <const> = 100
local ENSURE_MS <const> = 15000
-- Redis drops an inbox that nobody has read for an hour.
local UNREAD_MS_MAX <const> = 600 * 1000

--- Two connections to a Redis.
-- @type RedisTransport
-- @tfield string url
-- @tfield ?boolean is_closed for good
local RedisTransport = {}
RedisTransport.__index = RedisTransport

--- An enqueue may say where the outcome is to come to.
RedisTransport.asks_ahead = true

-- An embedded Redis is started before each attempt to connect.
local function embedded_prepare(self)
  local embedded = core.embedded.new(self.embedded_name)
  self.embedded = embedded
  return function(ready)
    embedded:ensure(ENSURE_MS, function(answers, why, code)
      if answers then
        ready(embedded:socket())
      else
        ready(nil, why, code)
      end
    end)
  end
end

local function connect(self, name, on_up, on_down)
  return assert(core.redis.connect(self.url, {
    name = name,
    library = library.text(),
    probe = library.PREFIX .. "build",
    build = library.BUILD,
    prepare = self.prepare,
    on_up = on_up,
    on_down = on_down,
  }))
end

--- Connects.
-- @tparam string url checked before
-- @tparam string namespace
-- @treturn RedisTransport
function transport_redis.new(url, namespace)
  local self = setmetatable({
    url = url,
    prefix = ("te:{%s.0}:"):format(namespace),
    inbox_key = "a:" .. core.envelope.new_producer(),
  }, RedisTransport)
  local parsed = core.url.parse(url)
  if parsed.scheme == "embedded" then
    self.embedded_name = parsed.name
    self.prepare = embedded_prepare(self)
  end
  self.calls = connect(self, "taskengine-client", function()
    self.on_up()
  end, function(why, _, is_fatal)
    self.on_down(errors.sentence(why), is_fatal)
  end)
  return self
end

--- Calls a function in Redis.
-- @tparam string name
-- @tparam {string|number,...} args
-- @tparam function callback gets the reply; or nil, a sentence, a code
function RedisTransport:fcall(name, args, callback)
  if self.is_closed then
    core.loop.defer(function()
      callback(nil, self:why(), "EDOWN")
    end)
    return
  end
  self.calls:call_list(function(reply, why, code)
    if code then
      callback(nil, errors.sentence(why), code)
    else
      callback(reply)
    end
  end, args, "FCALL", name, 1, self.prefix)
end

--- Where outcomes arrive.
-- @treturn string the key behind the prefix
function RedisTransport:inbox()
  return self.inbox_key
end

local receive

local function on_items(self, reply, code)
  self.is_receiving = false
  if code then
    -- Items may have been on their way. Begun again when it is up.
    self.has_gap = true
    return
  end
  if reply then
    for _, item in ipairs(reply[2]) do
      self.on_item(item)
    end
  end
  if core.loop.now() - self.received_ms > UNREAD_MS_MAX then
    self.on_gap() -- this program was busy with other things
  end
  receive(self)
end

function receive(self)
  if self.is_receiving or not self.is_listening
    or not self.items:is_up() then
    return
  end
  self.is_receiving, self.received_ms = true, core.loop.now()
  self.items:call_blocking(BLOCK_S * 1000, function(reply, _, code)
    on_items(self, reply, code)
  end, "BLMPOP", BLOCK_S, 1, self.prefix .. self.inbox_key, "LEFT", "COUNT",
    ITEMS_MAX)
end

--- Begins or ends to receive outcomes.
-- @tparam boolean on
function RedisTransport:listen(on)
  self.is_listening = on and not self.is_closed
  if not self.is_listening then
    return
  elseif not self.items then
    self.items = connect(self, "taskengine-inbox", function()
      receive(self)
      if self.has_gap then
        self.has_gap = false
        self.on_gap()
      end
    end)
  else
    receive(self)
  end
end

--- Why Redis cannot be reached.
-- @treturn ?string a sentence; nil when it can
function RedisTransport:why()
  if self.is_closed then
    return "the app was closed"
  end
  local why = self.calls:why()
  return why and errors.sentence(why)
end

--- Ends the connections.
function RedisTransport:close()
  self.is_closed, self.is_listening = true, false
  self.calls:close()
  if self.items then
    self.items:close()
  end
  if self.embedded then
    self.embedded:close()
  end
end

-- At the end of the program there may still be finalizers that use it.
RedisTransport.__gc = RedisTransport.close

return transport_redis
