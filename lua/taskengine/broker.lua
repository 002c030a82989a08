--- From the settings to a way to Redis.
-- @module taskengine.broker

local transport_redis = require("taskengine.transport_redis")

local broker = {}

--- Where tasks go when no broker is named.
broker.DEFAULT = "embedded://default"

--- A transport for all clients of this state, in place of one of their own;
-- set by a worker's child.
broker.shared = nil

--- Opens the way to Redis.
-- @tparam table settings
-- @treturn table a transport, see @{taskengine.requests}
function broker.open(settings)
  return broker.shared
    or transport_redis.new(settings.broker or broker.DEFAULT,
      settings.namespace)
end

return broker
