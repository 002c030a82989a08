--- A transport over an in-memory shard, whose faults a spec decides.
--
--     local transport = shard_transport.new(shard.new())
--     transport.decide = function(name, args) return "lost" end
--     client.new(transport, settings)
--
-- Calls are carried out by the loop, in order, as over one connection.
-- @module spec.support.shard_transport

local loop = require("taskengine.core").loop

local shard_transport = {}

--- The transport, see `taskengine.requests`. Its `calls` are all that were
-- made: name and arguments.
-- @type ShardTransport
local ShardTransport = {}
ShardTransport.__index = ShardTransport

--- Makes one that can reach its shard.
-- @tparam Shard shard
-- @treturn ShardTransport
function shard_transport.new(shard)
  return setmetatable({
    shard = shard,
    is_up = true,
    under_way = {},
    calls = {},
  }, ShardTransport)
end

--- Decides on the next call: `"done"`; `"refused"`, by Redis, for good, or
-- `"busy"`, for now; `"lost"` with the connection before it was carried out;
-- `"answer lost"`, after that.
-- @tparam string name
-- @tparam table args
-- @treturn string
function ShardTransport.decide(_name, _args)
  return "done"
end

local function carry_out(self, call)
  local strings = {}
  for i, value in ipairs(call.args) do
    strings[i] = tostring(value)
  end
  local reply, problem = self.shard:try(call.name:gsub("^te1_", ""),
    table.unpack(strings))
  if problem then
    call.callback(nil, problem, "EREPLY")
  else
    call.callback(reply)
  end
end

--- Delivers what lies in the inbox, if anyone listens.
function ShardTransport:deliver()
  if self.is_up and self.is_listening then
    for _, item in ipairs(self.shard:heard(self:inbox())) do
      self.on_item(item)
    end
  end
end

-- What is under way is lost with the connection.
local function lose_all(self)
  local lost = self.under_way
  self.under_way = {}
  for _, call in ipairs(lost) do
    call.callback(nil, "connection reset", "ELOST")
  end
end

--- Breaks the connection, until @{ShardTransport:restore}.
-- @tparam[opt=false] boolean is_fatal
function ShardTransport:cut(is_fatal)
  self.is_up = false
  lose_all(self)
  self.on_down("connection reset", is_fatal or false)
end

--- The connection is there again.
function ShardTransport:restore()
  self.is_up = true
  self.on_up()
  self.on_gap()
end

--- Breaks the connection at each of the next calls, for a millisecond.
-- @tparam ?string name of the function; missing: of any
-- @tparam {string,...} faults the verdicts on them, the last one first; they
-- are taken out
function ShardTransport:break_at(name, faults)
  function self.decide(called)
    local fault = (not name or called == name) and table.remove(faults)
    if fault then
      loop.timer(1, function()
        self:restore()
      end)
    end
    return fault or "done"
  end
end

local function turn(self)
  local call = table.remove(self.under_way, 1)
  if not call then
    return -- lost
  end
  local verdict = self.decide(call.name, call.args)
  if verdict == "done" then
    carry_out(self, call)
    self:deliver()
  elseif verdict == "refused" then
    call.callback(nil, "OOM command not allowed", "EREPLY")
  elseif verdict == "busy" then
    call.callback(nil, "BUSY Redis is busy running a script.", "EREPLY")
  else
    table.insert(self.under_way, 1, call)
    if verdict == "answer lost" then
      local silent = { name = call.name, args = call.args,
        callback = function() end }
      carry_out(self, silent)
    end
    self:cut()
  end
end

--- See `taskengine.requests`.
function ShardTransport:fcall(name, args, callback)
  table.insert(self.calls, { name = name, args = args })
  if not self.is_up then
    loop.defer(function()
      callback(nil, "not connected", "EDOWN")
    end)
    return
  end
  table.insert(self.under_way, { name = name, args = args,
    callback = callback })
  loop.defer(function()
    turn(self)
  end)
end

--- See `taskengine.requests`.
function ShardTransport:inbox()
  return "a:client"
end

--- See `taskengine.requests`.
function ShardTransport:listen(on)
  self.is_listening = on
  if on then
    loop.defer(function()
      self:deliver()
    end)
  end
end

--- See `taskengine.requests`.
function ShardTransport:why()
  return not self.is_up and "connection reset" or nil
end

--- See `taskengine.requests`.
function ShardTransport:close()
  self.is_up = false
  lose_all(self)
end

return shard_transport
