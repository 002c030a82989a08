--- Tasks that failed for good, as long as they are kept: 7 days, the last
-- 10,000 of them. See docs/protocol.md.
-- @module taskengine.dead

local caller = require("taskengine.caller")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local history = require("taskengine.history")
local record = require("taskengine.record")

local dead = {}

-- Of one call: a few milliseconds, between which Redis serves others.
local BATCH <const> = 500
local IDS_MAX <const> = 10000

--- A dead task.
-- @type DeadTask
-- @tfield string id as its result has it
-- @tfield string engine_id the engine's own; the same where the caller chose
-- none
-- @tfield string name
-- @tfield string queue
-- @tfield int priority
-- @tfield string kind of its error
-- @tfield string message
-- @tfield ?string traceback
-- @tfield TaskError error all of that together
-- @tfield number sent when it was sent, by the clock of who did, and
-- @tfield number died when it failed: seconds since 1970
-- @tfield int retries
-- @tfield int deaths of processes that ran it
-- @tfield int reaps: workers that were lost while they ran it
-- @tfield int deliveries how often it came back unfinished
-- @tfield int size bytes that it takes as it waits
local DeadTask = {
  __name = "taskengine.DeadTask",
  __cannot_travel = "a dead task cannot be sent; its id can, for"
    .. " app:requeue(id)",
}
DeadTask.__index = DeadTask

-- `row` is an element of what te1_dead_read replies.
local function new(client, row)
  local id, died, head, size, bytes = table.unpack(row)
  -- An envelope has a body, and a short answer leaves that out.
  local parts = core.envelope.read(head) or core.envelope.read(head .. "\x90")
  if not parts then
    return nil
  end
  local shown_id = parts.alias ~= "" and parts.alias or id
  local e = record.read(bytes, shown_id, parts.name).error
    or errors.new { kind = "Error", message = "no message", id = shown_id,
      name = parts.name }
  return setmetatable({
    client = client, died_ms = died,
    id = shown_id, engine_id = id,
    name = parts.name, queue = parts.queue, priority = parts.priority,
    kind = e.kind, message = e.message, traceback = e.traceback, error = e,
    sent = parts.sent_ms / 1000, died = tonumber(died) / 1000,
    retries = parts.attempt, deaths = parts.deaths, reaps = parts.reaps,
    deliveries = parts.delivery, size = size,
  }, DeadTask)
end

-- The whole entry, or nil when it is there no more.
local function read_whole(client, id)
  local row = client:ask("te1_dead_read", { "1", id }, id)[1]
  return type(row) == "table" and row or nil
end

--- Finds one.
-- @tparam Client client
-- @tparam string id the engine's or the caller's
-- @treturn ?DeadTask
-- @raise TaskError of kind BrokerUnavailable
function dead.find(client, id)
  local row = read_whole(client, id)
  return row and new(client, row)
end

-- Reads entries in order, those that are still there. A reply has no room for
-- all large ones: what it leaves out is asked for again.
local function read_batch(client, ids)
  local found = {}
  while #ids > 0 do
    local rows = client:ask("te1_dead_read",
      table.move(ids, 1, #ids, 2, { "0" }))
    local left = {}
    for i, row in ipairs(rows) do
      if row == ">" then
        left[#left + 1] = ids[i]
      elseif type(row) == "table" then
        found[row[1]] = row
      end
    end
    ids = left
  end
  return found
end

local function complete(client, row)
  return row and row[5] == ">" and read_whole(client, row[1]) or row
end

local function matches(entry, filter)
  for _, name in ipairs { "queue", "kind" } do
    if filter[name] and filter[name] ~= entry[name] then
      return false
    end
  end
  return not filter.task or filter.task == entry.name
end

-- How te1_dead takes a time that long ago.
local function ago(seconds, open)
  return seconds and ("-%d"):format(math.floor(seconds * 1000)) or open
end

local function list_ids(client, filter)
  local is_plain = not (filter.task or filter.queue or filter.kind)
  local flat = client:ask("te1_dead", { ago(filter.newer, "-inf"),
    ago(filter.older, "+inf"), is_plain and filter.limit or IDS_MAX })
  local ids = {}
  for i = 1, #flat, 2 do
    ids[#ids + 1] = flat[i]
  end
  return ids
end

--- The dead that a filter takes, the last one to die first.
-- @tparam Client client
-- @tparam table filter see @{taskengine.app.App:dead}; it was checked
-- @treturn {DeadTask,...}
-- @raise TaskError of kind BrokerUnavailable
function dead.list(client, filter)
  local ids, list = list_ids(client, filter), {}
  local limit = filter.limit or IDS_MAX
  for first = 1, #ids, BATCH do
    local batch = table.move(ids, first, math.min(first + BATCH - 1, #ids), 1,
      {})
    local rows = read_batch(client, batch)
    for _, id in ipairs(batch) do
      local row = complete(client, rows[id])
      local entry = row and new(client, row)
      if entry and matches(entry, filter) then
        list[#list + 1] = entry
        if #list == limit then
          return list
        end
      end
    end
  end
  return list
end

-- Asks for each entry; what a call leaves for later is asked for again.
local function ask_each(client, name, entries, answers)
  local args = {}
  for _, entry in ipairs(entries) do
    args[#args + 1], args[#args + 2] = entry.engine_id, entry.died_ms
  end
  local left = {}
  for i, answer in ipairs(client:ask(name, args)) do
    answers[entries[i]] = answer
    if answer == "later" then
      left[#left + 1] = entries[i]
    end
  end
  return left
end

local function each_batch(client, name, entries)
  local answers = {}
  for last = #entries, 1, -BATCH do
    local batch = {}
    for i = last, math.max(last - BATCH, 0) + 1, -1 do
      batch[#batch + 1] = entries[i]
    end
    while #batch > 0 do
      batch = ask_each(client, name, batch, answers)
    end
  end
  return answers
end

--- Puts tasks back into their queues, the last of the list first: what died
-- first is to run first.
-- @tparam Client client
-- @tparam {DeadTask,...} entries
-- @treturn {[DeadTask]=string} `requeued`, `unserved` (requeued, and no worker
-- serves the queue), `missing` (not among the dead any more), `taken` (its
-- caller's id belongs to another task; or it is unique, and one like it has not
-- ended), `running` (its flow goes on)
-- @raise TaskError of kind BrokerUnavailable
function dead.requeue(client, entries)
  return each_batch(client, "te1_requeue", entries)
end

--- Deletes entries.
-- @tparam Client client
-- @tparam {DeadTask,...} entries
-- @treturn {[DeadTask]=string} `deleted` or `missing`
-- @raise TaskError of kind BrokerUnavailable
function dead.delete(client, entries)
  return each_batch(client, "te1_delete", entries)
end

--- Puts the task back into its queue, as new: under its id, with all its
-- retries before it. Whoever asks for its result from now on waits for the new
-- one.
-- @treturn[1] boolean true
-- @treturn[1] boolean whether a worker serves its queue now
-- @treturn[2] boolean false
-- @treturn[2] string why not: `"missing"`, it is not among the dead any more;
-- `"taken"`, the id that its caller chose belongs to another task by now, or it
-- is unique and one like it has not ended; `"running"`, the flow in which it
-- failed has not ended
-- @raise TaskError of kind BrokerUnavailable
function DeadTask:requeue()
  local answer = dead.requeue(self.client, { self })[self]
  if answer == "requeued" or answer == "unserved" then
    return true, answer == "requeued"
  end
  return false, answer
end

--- Deletes the entry. The task's result stays for as long as it is kept.
-- @treturn boolean whether it was still there
-- @raise TaskError of kind BrokerUnavailable
function DeadTask:delete()
  return dead.delete(self.client, { self })[self] == "deleted"
end

-- The arguments; or nil and why there are none.
local function read_args(envelope)
  local opened = table.pack(core.envelope.open(envelope))
  if not opened[1] then
    return nil, opened[2]
  end
  local args = table.move(opened, 4, opened.n, 1, {})
  args.n = opened.n - 3
  return args
end

--- What else is kept of it.
-- @treturn[1] table `args`, with `n`, or `problem` when they cannot be read;
-- `history`, the oldest first: see @{taskengine.history}
-- @return[2] nil when it is not among the dead any more
-- @raise TaskError of kind BrokerUnavailable
function DeadTask:details()
  local row = read_whole(self.client, self.engine_id)
  if not row or row[2] ~= self.died_ms then
    return nil
  end
  local args, problem = read_args(row[3])
  return {
    args = args,
    problem = problem,
    history = history.read(row[6]),
  }
end

--- For people.
-- @treturn string
function DeadTask:__tostring()
  return ("dead task %s %s: %s"):format(self.name, self.id, self.kind)
end

caller.guard_methods(DeadTask, "entry")

return dead
