--- Revokes all that this process has sent and no worker has begun.
-- @module taskengine.cli.revoke

local core = require("taskengine.core")
local record = require("taskengine.record")
local scheduler = require("taskengine.scheduler")

local revoke = {}

local UNDER_WAY_MAX <const> = 1000
local TIMEOUT_MS <const> = 10000
local KEEP_S <const> = 86400

-- An iterator over every task, from the newest to the oldest: who may ask for
-- it, and its id; nil at the end, however often it is called.
local function each_task(producers)
  local producer, sent = next(producers)
  local number = sent and sent.last
  return function()
    while producer and number == 0 do
      producer, sent = next(producers, producer)
      number = sent and sent.last
    end
    if producer then
      number = number - 1
      return sent.requests, core.envelope.id(producer, number + 1)
    end
  end
end

-- Asks for all of them, many at a time; `wake` is called when all are answered.
local function revoke_each(next_task, counts, wake)
  local outcome = record.revocation {
    kind = "Revoked",
    message = "revoked: the script that sent it was interrupted",
  }
  local under_way, pump = 0, nil

  local function on_answer(answer)
    local what = counts[answer] and answer or "failed"
    counts[what] = counts[what] + 1
    under_way = under_way - 1
    pump()
  end

  function pump()
    while under_way < UNDER_WAY_MAX do
      local requests, id = next_task()
      if not id then
        break
      end
      under_way = under_way + 1
      requests:send("te1_cancel", { id, outcome, KEEP_S }, TIMEOUT_MS,
        on_answer)
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
    revoke_each(each_task(producers), counts, wake)
  end)
  return counts
end

return revoke
