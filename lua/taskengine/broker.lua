--- From the settings to a way to Redis.
-- @module taskengine.broker

local transport_redis = require("taskengine.transport_redis")

local broker = {}

--- Where tasks go when no broker is named.
broker.DEFAULT = "embedded://default"

--- Makes a client's transport in place of a connection of its own; set by a
-- worker's child.
broker.new_transport = nil

--- Opens the way to Redis.
-- @tparam table settings
-- @treturn table a transport, see @{taskengine.requests}
function broker.open(settings)
  if broker.new_transport then
    return broker.new_transport()
  end
  return transport_redis.new(settings.broker or broker.DEFAULT,
    settings.namespace)
end

return broker
