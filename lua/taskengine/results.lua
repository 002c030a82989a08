--- The results of many tasks that were sent at once.
--
-- An array whose elements are made when they are first read: a million of
-- tasks cost a few small tables until somebody asks for one.
-- @module taskengine.results

local caller = require("taskengine.caller")
local core = require("taskengine.core")
local header = require("taskengine.header")
local result = require("taskengine.result")
local revoke = require("taskengine.revoke")

local results = {}

--- An array of results (@{taskengine.result.Result}): `results[i]`, `#results`
-- and `ipairs` work.
-- @type Results
local Results = {
  __name = "taskengine.Results",
  __cannot_travel = "a list of results cannot be sent; what get() of each"
    .. " returns can, or its id, for app:result(id)",
}

-- Where each array keeps what is not an element.
local insides = setmetatable({}, { __mode = "k" })

--- Makes one.
-- @tparam Client client
-- @tparam Message message what was sent
-- @tparam {table,...} parts in order: `from`, `to`, the `id` of the first, and
-- `ids` where those of the others do not follow from that
-- @treturn Results
function results.new(client, message, parts)
  local self = setmetatable({}, Results)
  insides[self] = {
    client = client,
    name = message.name,
    keeps_result = message.keeps_result,
    parts = parts,
    count = #parts > 0 and parts[#parts].to or 0,
  }
  return self
end

--- Puts more tasks behind those that are there.
-- @tparam Results self
-- @tparam string id of the first, the engine's; those of the others follow
-- @tparam int count
function results.append(self, id, count)
  local inside = insides[self]
  local from = inside.count + 1
  inside.count = inside.count + count
  table.insert(inside.parts, { from = from, to = inside.count, id = id })
end

--- Whether a value is such an array.
-- @param value anything
-- @treturn boolean
function results.is(value)
  return getmetatable(value) == Results
end

-- The part with this position, by halving.
local function find(parts, i)
  local low, high = 1, #parts
  while low < high do
    local middle = (low + high + 1) // 2
    if parts[middle].from <= i then
      low = middle
    else
      high = middle - 1
    end
  end
  return parts[low]
end

local function id_at(inside, i)
  local part = find(inside.parts, i)
  if part.ids then
    return part.ids[i - part.from + 1]
  end
  local first = core.envelope.seq(part.id)
  return core.envelope.id(header.producer(part.id),
    first + i - part.from)
end

--- The id of a task, without making its result.
-- @tparam Results self
-- @tparam int i
-- @treturn string
function results.id(self, i)
  return id_at(insides[self], i)
end

--- Who sent the tasks.
-- @tparam Results self
-- @treturn Client
function results.client(self)
  return insides[self].client
end

--- Whether outcomes are kept.
-- @tparam Results self
-- @treturn boolean
function results.keeps_result(self)
  return insides[self].keeps_result
end

local methods = {}

--- Revokes all of them, see @{taskengine.result.Result:revoke}.
-- @function revoke
-- @tparam[opt] table opts
-- @treturn table how many are `revoked`, `asked` to end, `finished` and
-- `unknown`
-- @raise TaskError of kind BrokerUnavailable: some are revoked then
function methods:revoke(opts)
  local inside = insides[self]
  if not inside then
    caller.raise("use results:revoke(...), with a colon")
  end
  return revoke.many(inside.client, inside.count, function(i)
    return id_at(inside, i)
  end, revoke.options(opts))
end

function Results:__index(i)
  local inside, method = insides[self], methods[i]
  if method then
    return method
  end
  if math.type(i) ~= "integer" or i < 1 or i > inside.count then
    return nil
  end
  local made = result.new(inside.client, id_at(inside, i), inside)
  rawset(self, i, made)
  return made
end

function Results:__len()
  return insides[self].count
end

function Results:__pairs()
  return ipairs(self)
end

function Results:__newindex()
  error("results cannot be changed", 2)
end

return results
