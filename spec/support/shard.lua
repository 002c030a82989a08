--- One shard over the in-memory Redis, with the shipped function library.
--
--    local shard = require("spec.support.shard")
--    local s = shard.new()
--    s:call("register", "w1", 15000, "", "default")
--    local ids = s:producer("p"):plain(3)
--    local fields = s:take("w1", 2)
-- @module spec.support.shard

local envelope = require("spec.support.envelope")
local fake_redis = require("spec.support.fake_redis")
local function_library = require("spec.support.function_library")
local library = require("taskengine.library")

local shard = {}

--- The prefix of its keys.
shard.PREFIX = "te:{default.0}:"

local Shard = {}
Shard.__index = Shard

local Producer = {}
Producer.__index = Producer

-- Of what is left to be done for flows: more is for ever.
local CALLS_MAX <const> = 10000
local HANDED_FIRST <const> = 1 << 31 -- numbers of hand-overs are above it

local text

-- Where the library says how much there may be of something.
local LIMITS <const> = {
  fetch_bytes_max = "(local FETCH_BYTES_MAX = )[%d *]+",
  dead_bytes_max = "(te%.DEAD_BYTES_MAX = )[%d *]+",
  flow_steps_max = "(local STEPS_MAX = )[%d *]+",
  read_bytes_max = "(local READ_BYTES_MAX = )[%d *]+",
  buried_max = "(local ROOM_MAX = )[%d *]+",
}

local function with_limits(limits)
  local code = text
  for name, value in pairs(limits) do
    local count
    code, count = code:gsub(LIMITS[name], "%1" .. value)
    assert(count == 1, name .. " is not in the library")
  end
  return code
end

--- An empty shard.
-- @tparam[opt] int seed of what the in-memory Redis does by chance
-- @tparam[opt] table limits other than those of the library, for specs in
-- which tasks are small: `fetch_bytes_max`, of envelopes in a reply;
-- `dead_bytes_max`, of all the dead; `flow_steps_max`, of what a call does for
-- flows; `read_bytes_max`, of those that one call reads or moves;
-- `buried_max`, with how many tombstones those of a flow are put up
-- @treturn Shard
function shard.new(seed, limits)
  text = text or library.text()
  local fake = fake_redis.new { seed = seed, tag = "{default.0}" }
  return setmetatable({
    fake = fake,
    functions = assert(function_library.load(with_limits(limits or {}), fake)),
    fetches = 0,
  }, Shard)
end

--- An empty shard with a worker, which serves `default`, and a client.
-- @tparam string wid
-- @tparam[opt] table limits as of @{new}
-- @treturn Shard
-- @treturn Producer
function shard.serving(wid, limits)
  local self = shard.new(nil, limits)
  local producer = self:producer("p")
  self:register(wid)
  return self, producer
end

--- Calls a function of the library.
-- @tparam string name without its prefix
-- @param ... arguments, strings or integers
-- @return[1] the reply
-- @return[2] nil
-- @treturn[2] string the error reply
function Shard:try(name, ...)
  return self.functions:fcall(library.PREFIX .. name, { shard.PREFIX }, { ... })
end

--- Calls a function that must not fail.
-- @tparam string name
-- @param ... arguments
-- @return the reply
-- @raise the error reply
function Shard:call(name, ...)
  local reply, problem = self:try(name, ...)
  if problem then
    error(problem, 2)
  end
  return reply
end

--- Shows each command of the functions from now on, once it is carried out.
-- @tparam function fn gets the reply, and the command as it was given
function Shard:watch(fn)
  local execute = self.fake.execute
  function self.fake:execute(caller, ...)
    local reply = execute(self, caller, ...)
    fn(reply, ...)
    return reply
  end
end

--- Calls until nothing is left to be done for flows.
-- @tparam[opt] int calls_max
-- @treturn int how many calls it took
-- @raise when they were not enough
function Shard:work_off(calls_max)
  calls_max = calls_max or CALLS_MAX
  for calls = 0, calls_max do
    if self:redis("EXISTS", "gq") == 0 then
      return calls
    end
    self:call("promote", 1)
  end
  error(("work for flows is left after %d calls"):format(calls_max), 2)
end

--- Runs a command of Redis on a key of the shard.
-- @tparam string command
-- @tparam string key without the prefix
-- @param ... further arguments
-- @return the reply
function Shard:redis(command, key, ...)
  return self.fake:call(command, shard.PREFIX .. key, ...)
end

--- The names of all keys, without the prefix.
-- @treturn {string,...} sorted
function Shard:keys()
  local names = {}
  for name in pairs(self.fake:dump()) do
    assert(name:sub(1, #shard.PREFIX) == shard.PREFIX, name)
    names[#names + 1] = name:sub(#shard.PREFIX + 1)
  end
  table.sort(names)
  return names
end

--- Moves the clock.
-- @tparam int ms
function Shard:advance(ms)
  self.fake:advance(ms)
end

--- The time.
-- @treturn int ms
function Shard:now()
  return self.fake:time_ms()
end

--- A counter of a queue.
-- @tparam string queue
-- @tparam string name
-- @treturn int
function Shard:counter(queue, name)
  return tonumber(self:redis("HGET", "s:" .. queue, name) or 0)
end

--- Registers a worker.
-- @tparam string wid
-- @param ... queues; `default` when there are none
-- @treturn table what te1_register said
function Shard:register(wid, ...)
  local queues = select("#", ...) > 0 and { ... } or { "default" }
  return self:call("register", wid, 15000, "", table.unpack(queues))
end

--- Fetches, and remembers under which number.
-- @tparam string wid
-- @tparam int want
-- @tparam[opt] table opts `slept`; `takes` what is handed over to it;
-- `queues`, by default `default` alone
-- @treturn {string,...} envelopes
-- @treturn int number of the fetch
-- @treturn int next due time
function Shard:fetch(wid, want, opts)
  opts = opts or {}
  self.fetches = self.fetches + 1
  local flags = (opts.slept and 1 or 0) | (opts.takes and 2 or 0)
  local reply = self:call("fetch", wid, 15000, want, self.fetches, flags,
    table.unpack(opts.queues or { "default" }))
  assert(reply[1] ~= "FENCED", "FENCED")
  local envelopes = table.move(reply, 3, #reply, 1, {})
  return envelopes, self.fetches, reply[2]
end

--- Fetches tasks and returns how they are called in flight.
-- @tparam string wid
-- @tparam int want
-- @tparam[opt] table opts as @{Shard:fetch}
-- @treturn {string,...} fields
function Shard:take(wid, want, opts)
  local envelopes, number = self:fetch(wid, want, opts)
  for i, bytes in ipairs(envelopes) do
    envelopes[i] = envelope.field(bytes, number)
  end
  return envelopes
end

--- Fetches tasks and returns their ids.
-- @tparam string wid
-- @tparam int want
-- @tparam[opt] table opts as @{Shard:fetch}
-- @treturn {string,...} ids
function Shard:fetch_ids(wid, want, opts)
  local envelopes = self:fetch(wid, want, opts)
  for i, bytes in ipairs(envelopes) do
    envelopes[i] = bytes:sub(1, 20)
  end
  return envelopes
end

--- Whether a worker sleeps until its bell rings.
-- @tparam string wid
-- @tparam[opt="default"] string queue
-- @treturn boolean
function Shard:is_asleep(wid, queue)
  return self:redis("SISMEMBER", "sl:" .. (queue or "default"), wid) == 1
end

--- What lies in a worker's bell.
-- @tparam string wid
-- @treturn table of each hand-over its number, counted from 1, and the id;
-- other items as they are
function Shard:bell(wid)
  local out = {}
  for _, item in ipairs(self:redis("LRANGE", "b:" .. wid, 0, -1)) do
    if item:sub(1, 1) == "!" then
      out[#out + 1] = string.unpack(">I4", item, 2) - HANDED_FIRST
      out[#out + 1] = item:sub(6, 25)
    else
      out[#out + 1] = item
    end
  end
  return out
end

--- The ids of the tasks that a worker has in flight.
-- @tparam string wid
-- @treturn {string,...} sorted
function Shard:in_flight(wid)
  local ids = {}
  for _, field in ipairs(self:redis("HKEYS", "f:" .. wid)) do
    ids[#ids + 1] = field:sub(1, 20)
  end
  table.sort(ids)
  return ids
end

--- Finishes tasks.
-- @tparam string wid
-- @param ... operations
-- @treturn int how many were still this worker's
function Shard:finish(wid, ...)
  return self:call("finish", wid, 15000, ...)[1]
end

--- The ids of the ready tasks of a queue, in the order of fetching.
-- @tparam string queue
-- @treturn {string,...}
function Shard:ready(queue)
  local ids = self:redis("ZRANGE", "p:" .. queue, 0, -1)
  for _, bytes in ipairs(self:redis("LRANGE", "r:" .. queue, 0, -1)) do
    ids[#ids + 1] = bytes:sub(1, 20)
  end
  return ids
end

--- Takes all items of a bell or an inbox.
-- @tparam string name such as `b:<wid>`
-- @treturn {string,...}
function Shard:heard(name)
  return self:redis("LPOP", name, 1000) or {}
end

--- A client that enqueues.
-- @tparam string name padded to 12 characters
-- @treturn Producer
function Shard:producer(name)
  return setmetatable({
    shard = self,
    id = name .. ("x"):rep(12 - #name),
    last = 0,
  }, Producer)
end

--- An envelope with the next id.
-- @tparam[opt] table parts as `envelope.new` takes them
-- @treturn string
function Producer:pack(parts)
  self.last = self.last + 1
  local copy = { id = envelope.id(self.id, self.last) }
  for name, value in pairs(parts or {}) do
    copy[name] = value
  end
  return envelope.new(copy)
end

--- Sends the last n numbers.
-- @tparam int n
-- @param ... groups
-- @treturn table the reply
function Producer:send(n, ...)
  return self.shard:call("enqueue", self.id, self.last - n + 1, self.last, ...)
end

--- Enqueues plain tasks of one queue.
-- @tparam int n
-- @tparam[opt] table parts of each
-- @treturn {string,...} ids
function Producer:plain(n, parts)
  local args, ids = {}, {}
  for i = 1, n do
    args[i] = self:pack(parts)
    ids[i] = args[i]:sub(1, 20)
  end
  local queue = parts and parts.queue or "default"
  assert(self:send(n, "r", queue, n, table.unpack(args))[2] == 0)
  return ids
end

--- Enqueues one task with options.
-- @tparam[opt] table parts
-- @tparam[opt] table opts `delay`, `expires`, `unique` as in the protocol
-- @treturn string its id
function Producer:add(parts, opts)
  opts = opts or {}
  local queue = parts and parts.queue or "default"
  local reply = self:send(1, "g", self:pack(parts), queue, opts.delay or "",
    opts.expires or "", opts.unique or "")
  assert(reply[2] == 0, "not accepted")
  return reply[3]
end

return shard
