--- Connections to Redis that a spec opens, and what is told of them.
--
--     local open = connections.for_each_spec()
--     it("is up", function()
--       local c, told = open:connected(server.url)
--       assert.equal("PONG", connections.ask(c, "PING"))
--     end)
-- @module spec.support.connections

local busted = require("busted")
local core = require("taskengine.core")
local wait = require("spec.support.wait")

local connections = {}

local LIMIT_S <const> = 10

--- Those of one spec.
-- @type Connections
local Connections = {}
Connections.__index = Connections

--- Closes the connections of each spec of a block behind it.
-- @treturn Connections of the spec that runs
function connections.for_each_spec()
  local self = setmetatable({}, Connections)
  busted.after_each(function()
    self:close()
  end)
  return self
end

-- `told` gets { "up" } and { message, name, fatal } beside what the spec's own
-- functions get.
local function listen(opts, told)
  local on_up, on_down = opts.on_up, opts.on_down
  local listening = {}
  for name, value in pairs(opts) do
    listening[name] = value
  end
  function listening.on_up(...)
    told[#told + 1] = { "up" }
    if on_up then
      on_up(...)
    end
  end
  function listening.on_down(...)
    told[#told + 1] = { ... }
    if on_down then
      on_down(...)
    end
  end
  return listening
end

--- Opens a connection.
-- @tparam string url
-- @tparam[opt] table opts of `core.redis.connect`
-- @return the connection
-- @treturn {table,...} what is told of it, as it comes: `{ "up" }`, or what
-- `on_down` gets
function Connections:connect(url, opts)
  local told = {}
  local c = assert(core.redis.connect(url, listen(opts or {}, told)))
  self[#self + 1] = c
  return c, told
end

--- Opens a connection and waits until it is up.
-- @tparam string url
-- @tparam[opt] table opts
-- @return the connection
-- @treturn {table,...} what is told from then on
function Connections:connected(url, opts)
  local c, told = self:connect(url, opts)
  wait.wait_until(function()
    return c:is_up()
  end, LIMIT_S, "a connection")
  -- What comes next is news, however long it took to come up.
  for i = #told, 1, -1 do
    told[i] = nil
  end
  return c, told
end

--- Closes all; then nothing may keep the loop alive.
function Connections:close()
  while self[1] do
    table.remove(self):close()
  end
  wait.wait_until_idle()
end

--- Waits until something was told for the n-th time.
-- @tparam {table,...} told
-- @tparam int n
-- @treturn table
function connections.nth(told, n)
  return wait.wait_until(function()
    return told[n]
  end, LIMIT_S, "news of the connection")
end

--- Sends a command and waits for what its function is called with.
-- @param c a connection
-- @param ... the command
-- @return that
function connections.ask(c, ...)
  local got
  c:call(function(...)
    got = table.pack(...)
  end, ...)
  wait.wait_until(function()
    return got
  end, LIMIT_S, "a reply")
  return table.unpack(got, 1, got.n)
end

--- The same once the connection is up again.
-- @param c a connection
-- @param ... the command
-- @return what its function is called with
function connections.ask_until_up(c, ...)
  wait.wait_until(function()
    return c:is_up()
  end, LIMIT_S, "a connection that came back")
  return connections.ask(c, ...)
end

return connections
