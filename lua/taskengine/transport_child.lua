--- The way to Redis from a worker's child: through its master.
--
-- See @{taskengine.requests} for what a transport is.
-- @module taskengine.transport_child

local core = require("taskengine.core")
local errors = require("taskengine.errors")

local transport_child = {}

--- The channel to the master, as one client sees it.
-- @type ChildTransport
local ChildTransport = {}
ChildTransport.__index = ChildTransport

-- All of this process: each app has a client, and they share the channel. Who
-- goes through the list may have one opened, or closed, by what he tells.
local opened = {}
local is_down = false

local function on_link(is_up)
  is_down = not is_up
  for _, transport in ipairs(opened) do
    if is_up then
      transport.on_up()
      transport.on_gap()
    else
      transport.on_down(transport:why(), false)
    end
  end
end

-- Who does not wait for that task takes no notice.
local function on_item(item)
  for _, transport in ipairs(opened) do
    transport.on_item(item)
  end
end

--- Begins to listen to the master.
function transport_child.start()
  core.child.on_item(on_item)
  core.child.on_link(on_link)
end

--- Makes a transport.
-- @treturn ChildTransport
function transport_child.new()
  local self = setmetatable({}, ChildTransport)
  opened[#opened + 1] = self
  return self
end

--- Calls a function in Redis.
-- @tparam string name
-- @tparam {string|number,...} args
-- @tparam function callback gets the reply; or nil, a sentence, a code
function ChildTransport:fcall(name, args, callback)
  core.child.request(function(reply, why, code)
    if code then
      callback(nil, errors.sentence(why), code)
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
  return is_down and "the worker has lost its connection" or nil
end

--- Ends what its client hears. The channel lasts as long as the process.
function ChildTransport:close()
  local others = {}
  for _, transport in ipairs(opened) do
    if transport ~= self then
      others[#others + 1] = transport
    end
  end
  opened = others
end

return transport_child
