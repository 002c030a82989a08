--- Revokes all that this process has sent and no worker has begun.
-- @module taskengine.cli.revoke

local core = require("taskengine.core")
local record = require("taskengine.record")
local scheduler = require("taskengine.scheduler")

local revoke = {}

local BATCH <const> = 100
local UNDER_WAY_MAX <const> = 4
local TIMEOUT_MS <const> = 10000
local KEEP_S <const> = 86400

-- Moves numbers of a source, from the last on, into a batch.
local function fill(ids, source)
  while source.last >= source.first and #ids < BATCH do
    if not source.uncounted[source.last] then
      ids[#ids + 1] = core.envelope.id(source.producer, source.last)
    end
    source.last = source.last - 1
  end
  return source.last < source.first
end

-- An iterator over all ids, in batches: who may be asked for them, the ids, and
-- whether they are of flows; nil at the end, however often it is called.
local function each_batch(sources)
  local at = 1
  return function()
    local ids, head = {}, nil
    for i = at, #sources do
      local source = sources[i]
      head = #ids > 0 and head or source
      if source.requests ~= head.requests or source.is_whole ~= head.is_whole
        or not fill(ids, source) then
        break
      end
      at = i + 1
    end
    if #ids > 0 then
      return head.requests, ids, head.is_whole
    end
  end
end

-- Asks for all of them, some batches at a time; `wake` is called when all are
-- answered.
local function revoke_each(next_batch, counts, wake)
  local outcome = record.revocation {
    kind = "Revoked",
    message = "revoked: the script that sent it was interrupted",
  }
  local under_way, pump = 0, nil

  local function on_answers(ids, answers)
    for i = 1, #ids do
      local answer = answers and answers[i] or "failed"
      counts[answer] = counts[answer] + 1
    end
  end

  function pump()
    while under_way < UNDER_WAY_MAX do
      local requests, ids, is_whole = next_batch()
      if not ids then
        break
      end
      under_way = under_way + 1
      local args = table.move(ids, 1, #ids, 3, { outcome, KEEP_S })
      requests:send("te1_cancel", args, TIMEOUT_MS, function(answers)
        if not is_whole then
          on_answers(ids, answers)
        end
        under_way = under_way - 1
        pump()
      end)
    end
    if under_way == 0 then
      wake()
    end
  end
  pump()
end

--- Revokes.
-- @tparam {table,...} sources see @{taskengine.cli.sent.Sent:sources}; used up
-- @treturn table how many were `revoked`, `running`, `finished`, `unknown`,
-- and of how many nothing is known because Redis did not answer: `failed`
function revoke.all(sources)
  local counts = {
    revoked = 0, running = 0, finished = 0, unknown = 0, failed = 0,
  }
  scheduler.await("revoking", function(wake)
    revoke_each(each_batch(sources), counts, wake)
  end)
  return counts
end

return revoke
