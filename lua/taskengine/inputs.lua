--- The results that a task in a flow gets in front of its arguments.
--
-- They lie in front of the body in its envelope, or have to be read from
-- Redis. What they form, an argument each or a table, the body says in its
-- field `i`, see docs/protocol.md.
-- @module taskengine.inputs

local core = require("taskengine.core")
local errors = require("taskengine.errors")
local gather = require("taskengine.gather")
local header = require("taskengine.header")
local record = require("taskengine.record")

local inputs = {}

local LENGTHS_AT <const>, NAMES_AT <const> = header.LENGTHS_AT, header.NAMES_AT
local FLOW_AT <const> = header.FLOW_AT
-- In front of the body of a node that takes nothing: how many inputs.
local NONE <const> = "\0\0\0\0"

--- Whether an envelope is that of a node in a flow.
-- @tparam string envelope
-- @treturn boolean
function inputs.are_in(envelope)
  return (envelope:byte(FLOW_AT) or 0) ~= 0
end

-- The error that a node ended with, with the id of who is to blame.
local function error_of(bytes, id)
  local outcome = record.read(bytes, id)
  return outcome.error and errors.cause(outcome.error)
end

-- Its value; or nil and why there is none: its failure, or that it is gone. Of
-- what is streamed that is seen only where the task comes to it.
local function value_or_error(source, bytes, id, is_stream)
  local failed = error_of(bytes, id)
  if failed then
    return nil, failed
  elseif is_stream and gather.is(bytes) then
    return gather.open_stream(source, bytes)
  end
  return gather.value_or_loss(source, bytes)
end

-- What comes over an edge whose source may fail.
local function read_policy(source, node, entry, bytes, is_stream)
  local kind, before = entry[1], entry[2]
  local value, failed = value_or_error(source, bytes,
    core.envelope.id(source.producer, node - before), is_stream)
  if failed and kind ~= "i" then
    return failed
  end
  return value
end

-- One input that is an argument of its own.
local function read_one(source, bytes, is_stream)
  if is_stream and gather.is(bytes) then
    return gather.open_stream(source, bytes)
  end
  return gather.value(source, bytes)
end

local function read_several(source, records, first, last, is_stream)
  if is_stream then
    return gather.stream(source,
      table.move(records, first, last, 1, {}))
  end
  return gather.list(source, records, first, last)
end

-- The arguments that the outcomes form.
local function form(source, node, records, shape, is_stream)
  local values, n, at = {}, 0, 1
  local place = 1
  while records[at] do
    local entry = shape[place] or 0
    n, place = n + 1, place + 1
    if type(entry) == "table" then
      values[n] = read_policy(source, node, entry, records[at], is_stream)
      at = at + 1
    elseif entry == 0 then
      values[n], at = read_one(source, records[at], is_stream), at + 1
    else
      values[n] = read_several(source, records, at, at + entry - 1, is_stream)
      at = at + entry
    end
  end
  values.n = n
  return values
end

-- All outcomes, where they did not come along.
local function read_all(source, node)
  local records = {}
  for i, bytes in gather.pages(source, node) do
    records[i] = bytes
  end
  return records
end

local function is_one_table(shape)
  return #shape == 1 and type(shape[1]) == "number" and shape[1] > 0
end

-- All inputs are one table, of more than were sent if its group has grown. A
-- stream of what did not come along need not be read before it begins.
local function one_table(source, node, records, is_stream)
  if not records and is_stream then
    return gather.stream_of(source, node)
  end
  records = records or read_all(source, node)
  return read_several(source, records, 1, #records, is_stream)
end

local function values_of(source, node, records, shape, is_stream)
  shape = type(shape) == "table" and shape or {}
  if is_one_table(shape) then
    return { n = 1, one_table(source, node, records, is_stream) }
  end
  return form(source, node, records or read_all(source, node), shape,
    is_stream)
end

--- What a task takes from others, as its envelope has it.
-- @table Inputs
-- @tfield string root the id of its flow
-- @tfield int node which one of the flow it is
-- @tfield ?{string,...} records the outcomes, where they came along
-- @tfield ?boolean is_empty it takes nothing

--- Opens the envelope of a node.
-- @tparam string envelope
-- @treturn Inputs for @{inputs.read}
-- @return as core.envelope.open, with its own arguments
function inputs.open(envelope)
  local queue, name, limit_key, alias = envelope:byte(LENGTHS_AT, NAMES_AT - 1)
  local at = NAMES_AT + queue + name + limit_key + alias
  local self = { root = envelope:sub(FLOW_AT, FLOW_AT + header.ID_BYTES - 1) }
  if envelope:sub(at, at + #NONE - 1) == NONE then
    self.is_empty = true
    return self, core.envelope.open(envelope, #NONE)
  end
  local ok, records, behind = pcall(gather.take, envelope, at)
  if not ok then
    return self, nil, "its inputs are cut off"
  end
  self.node = string.unpack(">I4", envelope, header.NODE_AT)
  self.records = records
  return self, core.envelope.open(envelope, behind - at)
end

--- Reads what a task takes; it may wait for Redis.
-- @tparam Inputs self
-- @tparam App app of the task
-- @param shape the field `i` of its body: what its inputs form
-- @tparam ?boolean is_stream those that are one table are streamed
-- @param ... its own arguments
-- @return its inputs, and these behind them
-- @raise TaskError of kind Forgotten when a result that it needs is gone
function inputs.read(self, app, shape, is_stream, ...)
  if self.is_empty then
    return ...
  end
  local source = gather.source(self.root, function()
    return app:_client()
  end, true)
  local values = values_of(source, self.node, self.records, shape, is_stream)
  local own = table.pack(...)
  table.move(own, 1, own.n, values.n + 1, values)
  return table.unpack(values, 1, values.n + own.n)
end

return inputs
