--- The results of many nodes of a flow, as one table.
--
-- They come along with what needs them when they are few and small; otherwise
-- they are read page by page (te1_gather). See docs/protocol.md.
-- @module taskengine.gather

local core = require("taskengine.core")
local errors = require("taskengine.errors")
local header = require("taskengine.header")
local record = require("taskengine.record")
local spawn = require("taskengine.spawn")

local gather = {}

local ID_BYTES <const> = header.ID_BYTES
-- Stands in place of their number when they do not come along.
local PAGED <const> = 0xffffffff
-- Outcomes in one call. Redis sends fewer when they are large.
local PAGE <const> = 1000
-- The letter of the outcome of a node that gathers.
local GATHERED <const> = "G"
-- Most others begin with this one, a value in MessagePack: read at once.
local PLAIN <const> = ("S"):byte()
-- Until what Redis answers at once is asked for again; it doubles.
local PAUSE_S_MIN <const>, PAUSE_S_MAX <const> = 0.1, 1

--- Where results are from.
-- @table Source
-- @tfield string producer of the flow
-- @tfield function client gives the client that reads pages, when it is needed
-- @tfield ?userdata hole stands for nil among results that have no names; then
-- they have no `n`

--- Takes a list of outcomes off the front of some bytes.
-- @tparam string bytes
-- @tparam int at where it begins
-- @treturn ?{string,...} the outcomes; nil when they have to be read
-- @treturn int where it ends
-- @raise when it is cut off
function gather.take(bytes, at)
  local count
  count, at = string.unpack(">I4", bytes, at)
  if count == PAGED then
    return nil, at
  end
  local records = {}
  for i = 1, count do
    records[i], at = string.unpack(">s4", bytes, at)
  end
  return records, at
end

--- Gets a sentence when a task has to wait for its inputs, once; set by a
-- worker's child.
function gather.on_delay() end

-- A task waits: this is told once.
local function note_delay(source, problem)
  if not source.has_waited then
    source.has_waited = true
    gather.on_delay("it waits for results that it needs: " .. problem.reason)
  end
end

-- A task outlasts that Redis cannot be reached or is busy, but not that it
-- refuses.
local function ask(source, node, first)
  local id, pause_s = core.envelope.id(source.producer, node), PAUSE_S_MIN
  while true do
    local reply, problem = source.client():try("te1_gather",
      { source.producer, node, first, PAGE }, id)
    if reply then
      return reply
    elseif problem.is_refusal or not source.is_for_task then
      errors.raise(errors.unavailable(problem, { id = id }))
    end
    note_delay(source, problem)
    if problem.is_passing then -- the others have waited for their time
      spawn.sleep(pause_s)
      pause_s = math.min(2 * pause_s, PAUSE_S_MAX)
    end
  end
end

--- Yields outcomes page by page: position, outcome.
-- @tparam Source source
-- @tparam int node whose inputs they are
-- @treturn function an iterator
-- @treturn function that gives their number
function gather.pages(source, node)
  local page, from, i, total = nil, 1, 0, nil
  local function turn()
    page = ask(source, node, from)
    total = page[1]
    -- What is read in pages has inputs, unless its flow is no more.
    if type(total) ~= "number" or total < 1 then
      errors.raise(errors.new {
        kind = "Forgotten",
        message = "the results of this group are gone: they have expired or"
          .. " were forgotten",
      })
    end
  end
  return function()
    i = i + 1
    if not page or i - from + 2 > #page then
      from = i
      if total and from > total then
        return nil
      end
      turn()
      if i > total then
        return nil
      end
    end
    return i, page[i - from + 2]
  end, function()
    if not total then
      turn()
    end
    return total
  end
end

-- Yields outcomes that came along.
local function present(records)
  local i = 0
  return function()
    i = i + 1
    if records[i] then
      return i, records[i]
    end
  end, function()
    return #records
  end
end

-- What is behind the letter of a node that gathers: how to go through its
-- outcomes, and the names of them, if they have some.
local function open(source, bytes)
  local records, at = gather.take(bytes, 2)
  local id = not records and bytes:sub(at, at + ID_BYTES - 1)
  at = id and at + ID_BYTES or at
  local names = at <= #bytes and core.codec.decode(bytes, at) or nil
  if records then
    return names, present(records)
  end
  return names, gather.pages(gather.source(id, source.client,
    source.is_for_task), core.envelope.seq(id))
end

--- Whether an outcome is that of a node that gathers.
-- @tparam string bytes
-- @treturn boolean
function gather.is(bytes)
  return bytes:sub(1, 1) == GATHERED
end

-- All of them, with their number in `n`; or without holes; or by their names.
local function collect(source, names, next_one, count)
  local hole = not names and source.hole or nil
  local out = { n = not (names or hole) and count() or nil }
  for i, bytes in next_one do
    local value = gather.value(source, bytes)
    out[names and names[i] or i] = value == nil and hole or value
  end
  return out
end

--- Whether a failure is that of a result which does not come back.
-- @param e what was raised, or what is said of that
-- @treturn boolean
function gather.is_lost(e)
  return type(e) == "table"
    and (e.kind == "Forgotten" or e.kind == "Malformed")
end

-- Why a task has not got a result that it needs.
local function missing(e)
  return errors.new {
    kind = e.kind,
    message = e.kind == "Forgotten"
      and ("the result of task %s, which it needs, is gone"):format(e.id or "?")
      or "a result that it needs cannot be read",
  }
end

--- What an outcome says as a value: the task's, the table of a group. Who asks
-- knows that there is one, unless somebody has deleted or damaged it.
-- @tparam Source source
-- @tparam string bytes
-- @return the value
-- @raise TaskError of kind BrokerUnavailable; Forgotten or Malformed: it is no
-- more, or one of those that it gathers
function gather.value(source, bytes)
  if bytes:byte() == PLAIN then
    local value, behind = core.codec.decode(bytes, 2)
    if behind == #bytes + 1 then
      return value
    end
  elseif gather.is(bytes) then
    return collect(source, open(source, bytes))
  end
  local outcome = record.read(bytes)
  if outcome.error then
    errors.raise(source.is_for_task and missing(outcome.error)
      or outcome.error)
  end
  return outcome.value
end

--- The same, where a result that is lost is no error.
-- @tparam Source source
-- @tparam string bytes
-- @return[1] the value
-- @return[2] nil
-- @treturn[2] TaskError of kind Forgotten or Malformed
-- @raise TaskError of kind BrokerUnavailable
function gather.value_or_loss(source, bytes)
  local ok, value = pcall(gather.value, source, bytes)
  if ok then
    return value
  elseif gather.is_lost(value) then
    return nil, value
  end
  error(value, 0)
end

--- The table of some outcomes.
-- @tparam Source source
-- @tparam {string,...} records
-- @tparam int first
-- @tparam int last the part that is meant
-- @treturn table with `n`
function gather.list(source, records, first, last)
  local out = { n = last - first + 1 }
  for i = first, last do
    out[i - first + 1] = gather.value(source, records[i])
  end
  return out
end

--- Goes through results while they are read, for a generic `for`: position,
-- value. `#` is their number.
-- @type Stream
local Stream = {
  __name = "taskengine.Stream",
  __cannot_travel = "a stream cannot be sent; a table of its values can",
}
Stream.__index = Stream

--- The next one.
-- @treturn ?int position
-- @return value
function Stream:__call()
  local i, bytes = self.next_one()
  if i then
    return i, gather.value(self.source, bytes)
  end
end

--- How many there are.
-- @treturn int
function Stream:__len()
  return self.count()
end

local function new_stream(source, next_one, count)
  return setmetatable({ source = source, next_one = next_one, count = count },
    Stream)
end

--- A stream of outcomes that came along.
-- @tparam Source source
-- @tparam {string,...} records
-- @treturn Stream
function gather.stream(source, records)
  return new_stream(source, present(records))
end

--- A stream of the inputs of a node.
-- @tparam Source source
-- @tparam int node
-- @treturn Stream
function gather.stream_of(source, node)
  return new_stream(source, gather.pages(source, node))
end

--- A stream of the outcome of a node that gathers.
-- @tparam Source source
-- @tparam string bytes
-- @treturn Stream
function gather.open_stream(source, bytes)
  return new_stream(source, select(2, open(source, bytes)))
end

--- Where the results of a flow are from.
-- @tparam string id of the flow, or of any of its nodes
-- @tparam function client gives the client, when it is needed
-- @tparam[opt] boolean is_for_task a task takes them: while Redis cannot
-- be reached, or is busy, it is asked again
-- @treturn Source
function gather.source(id, client, is_for_task)
  return {
    producer = header.producer(id),
    client = client,
    is_for_task = is_for_task,
  }
end

return gather
