--- The way to Redis from a worker's child: through its master.
--
-- See @{taskengine.requests} for what a transport is.
-- @module taskengine.transport_child

local core = require("taskengine.core")

local transport_child = {}

--- The channel to the master.
-- @type ChildTransport
local ChildTransport = {}
ChildTransport.__index = ChildTransport

local function on_link(self, is_up)
  self.is_down = not is_up
  if is_up then
    self.on_up()
    self.on_gap()
  else
    self.on_down(self:why(), false)
  end
end

--- Makes the transport of this process.
-- @treturn ChildTransport
function transport_child.new()
  local self = setmetatable({ is_down = false }, ChildTransport)
  core.child.on_item(function(item)
    self.on_item(item)
  end)
  core.child.on_link(function(is_up)
    on_link(self, is_up)
  end)
  return self
end

--- Calls a function in Redis.
-- @tparam string name
-- @tparam {string|number,...} args
-- @tparam function callback gets the reply; or nil, a sentence, a code
function ChildTransport:fcall(name, args, callback)
  core.child.request(function(reply, why, code)
    if code then
      callback(nil, why:gsub("^%u+: ", "", 1), code)
    else
      callback(reply)
    end
  end, name, args)
end

--- Where outcomes arrive: the master says it is its own bell.
-- @treturn string
function ChildTransport:inbox()
  return "-"
end

--- Nothing to do: the master listens anyway.
function ChildTransport:listen()
end

--- Why Redis cannot be reached.
-- @treturn ?string a sentence; nil when it can
function ChildTransport:why()
  return self.is_down and "the worker has lost its connection" or nil
end

--- Nothing to do: the channel lasts as long as the process.
function ChildTransport:close()
end

return transport_child
