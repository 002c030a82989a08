--- A client on an in-memory shard, and a worker that a spec plays there.
--
--     local site = shard_client.for_each_spec()
--     it("brings a value", function()
--       local r = site:send()
--       site:later(3, site.finish, site, 1, shard_client.success(7))
--       assert.equal(7, r:get())
--     end)
--
-- The functions are the shipped ones; the connection is that of
-- @{spec.support.shard_transport}, whose faults a spec decides.
-- @module spec.support.shard_client

local busted = require("busted")
local client = require("taskengine.client")
local core = require("taskengine.core")
local message = require("taskengine.message")
local result = require("taskengine.result")
local shard = require("spec.support.shard")
local shard_transport = require("spec.support.shard_transport")
local wait_until = require("spec.support.wait").wait_until

local shard_client = {}

local SETTINGS <const> = { result_expires = 60, serializer = "msgpack" }
local WORKER <const> = "worker000001"

--- The worker that is played.
shard_client.WORKER = WORKER

--- A client and what it stands on: `shard`, `transport`, and `way`, as
-- `taskengine.client` makes it.
-- @type Site
local Site = {}
Site.__index = Site

--- Makes one before each spec of a block and closes it behind it.
-- @treturn Site of the spec that runs
function shard_client.for_each_spec()
  local self = setmetatable({}, Site)
  busted.before_each(function()
    self:open()
    self.shard:register(WORKER)
  end)
  busted.after_each(function()
    self.way:close()
  end)
  return self
end

--- Makes shard and client anew; the client before them is closed.
-- @tparam[opt] table settings of the client: `broker_timeout`,
-- `message_bytes_max`
function Site:open(settings)
  settings = settings or {}
  if self.way then
    self.way:close()
  end
  self.shard = shard.new()
  self.transport = shard_transport.new(self.shard)
  self.way = client.new(self.transport, {
    broker_timeout = settings.broker_timeout or 5,
    message_bytes_max = settings.message_bytes_max or 1000000,
    result_expires = 3600,
    serializer = "msgpack",
  })
end

--- A message to the task `add`.
-- @tparam[opt] table opts
-- @treturn Message
function shard_client.message(opts)
  return message.new("add", {}, opts or {}, SETTINGS)
end

--- Sends calls.
-- @tparam[opt=1] int n how many
-- @tparam[opt] table opts
-- @treturn Result... one for each
function Site:send(n, opts)
  local m = shard_client.message(opts)
  local list = {}
  for i = 1, n or 1 do
    local id = self.way:send(m, { i })
    list[i] = result.new(self.way, m.shown_id or id, {
      name = "add",
      engine_id = id,
      keeps_result = m.keeps_result,
    })
  end
  return table.unpack(list)
end

--- The record of a success.
-- @param value
-- @treturn string
function shard_client.success(value)
  return "S" .. core.codec.encode(value)
end

--- The record of a failure.
-- @tparam table e
-- @treturn string
function shard_client.failure(e)
  return "F" .. core.codec.encode(e)
end

--- The worker takes tasks.
-- @tparam int n
-- @treturn {string,...} their fields
function Site:take(n)
  return self.shard:take(WORKER, n)
end

--- The worker ends a task that it took.
-- @tparam string field
-- @tparam string record
function Site:end_one(field, record)
  self.shard:finish(WORKER, "o", field, record)
end

--- The worker takes and ends the next tasks.
-- @tparam int n
-- @tparam string record
function Site:finish(n, record)
  for _, field in ipairs(self:take(n)) do
    self:end_one(field, record)
  end
end

--- Does something while the loop runs, and lets the client hear of it.
-- @tparam int ms from now
-- @tparam function fn
-- @param ... its arguments
function Site:later(ms, fn, ...)
  local args = table.pack(...)
  core.loop.timer(ms, function()
    fn(table.unpack(args, 1, args.n))
    self.transport:deliver()
  end)
end

--- The next tasks end while the loop runs, once they are there.
-- @tparam int ms from now
-- @tparam int n
-- @tparam string record
function Site:finish_later(ms, n, record)
  self:later(ms, function()
    local fields = self:take(n)
    for _, field in ipairs(fields) do
      self:end_one(field, record)
    end
    if #fields < n then
      self:finish_later(1, n - #fields, record)
    end
  end)
end

--- How often a function was called.
-- @tparam string name
-- @treturn int
function Site:calls(name)
  local count = 0
  for _, call in ipairs(self.transport.calls) do
    count = count + (call.name == name and 1 or 0)
  end
  return count
end

--- Waits until a function was called so often and nothing is under way.
-- @tparam string name
-- @tparam int count
function Site:wait_for_calls(name, count)
  wait_until(function()
    return self:calls(name) == count and #self.transport.under_way == 0
  end, nil, ("%d calls of %s"):format(count, name))
end

--- Nobody waits any more, for Redis too.
function Site:assert_no_waits()
  local waits = self.way.waits
  wait_until(function()
    return #self.transport.under_way == 0 and not next(waits.to_end)
  end)
  busted.assert.same({}, waits.listeners)
  busted.assert.equal(0, waits.count)
  busted.assert.is_falsy(self.transport.is_listening)
  busted.assert.equal(0, self.shard:redis("EXISTS", "y"))
end

return shard_client
