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

-- An iterator over every task, from the newest to the oldest, in batches: who
-- may ask for them, and their ids; nil at the end, however often it is called.
local function each_batch(producers)
  local producer, sent = next(producers)
  local number = sent and sent.last
  return function()
    while producer and number == 0 do
      producer, sent = next(producers, producer)
      number = sent and sent.last
    end
    if not producer then
      return nil
    end
    local ids = {}
    while number > 0 and #ids < BATCH do
      ids[#ids + 1] = core.envelope.id(producer, number)
      number = number - 1
    end
    return sent.requests, ids
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
    under_way = under_way - 1
    pump()
  end

  function pump()
    while under_way < UNDER_WAY_MAX do
      local requests, ids = next_batch()
      if not ids then
        break
      end
      under_way = under_way + 1
      local args = table.move(ids, 1, #ids, 3, { outcome, KEEP_S })
      requests:send("te1_cancel", args, TIMEOUT_MS, function(answers)
        on_answers(ids, answers)
      end)
    end
    if under_way == 0 then
      wake()
    end
  end
  pump()
end

--- Revokes.
-- @tparam table producers producer to `requests` and `last`, the number of its
-- newest task
-- @treturn table how many were `revoked`, `running`, `finished`, `unknown`,
-- and of how many nothing is known because Redis did not answer: `failed`
function revoke.all(producers)
  local counts = {
    revoked = 0, running = 0, finished = 0, unknown = 0, failed = 0,
  }
  scheduler.await("revoking", function(wake)
    revoke_each(each_batch(producers), counts, wake)
  end)
  return counts
end

return revoke
