--- Revoking tasks: one, or many in batches.
--
-- What waits never begins once Redis has answered. What a worker has in hand
-- it is asked to end, and Redis remembers that for as long as the task is not
-- over, whoever has it.
-- @module taskengine.revoke

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local names = require("taskengine.names")
local options = require("taskengine.options")
local record = require("taskengine.record")

local revoke = {}

-- Of one call, which is to take Redis a few milliseconds at most.
local BATCH <const> = 100
-- Modes of te1_revoke.
local ASK <const>, TERMINATE <const> = "c", "t"

--- Checks the options of a revocation.
-- @tparam ?table opts `terminate`
-- @treturn table the options
-- @raise at the line of the caller's program
function revoke.options(opts)
  return options.check("revoke", options.REVOKE, opts)
end

-- What te1_revoke takes before the ids.
local function head(client, opts)
  local outcome = record.revocation {
    kind = "Revoked",
    message = "it was revoked",
  }
  return outcome, client.settings.result_expires,
    opts.terminate and TERMINATE or ASK
end

-- What is done for each: true for a task that ends now, or soon.
local IS_DONE <const> = { revoked = true, asked = true }

--- Revokes a task.
-- @tparam Client client
-- @tparam string id any
-- @tparam table opts checked
-- @treturn boolean whether it is revoked, or asked to end
-- @treturn string `"revoked"`, `"asked"`, `"finished"` or `"unknown"`
-- @raise TaskError of kind BrokerUnavailable
function revoke.one(client, id, opts)
  local args = table.pack(head(client, opts))
  args[#args + 1] = id
  local answer = client:ask("te1_revoke", args, id)[1]
  return IS_DONE[answer] or false, answer
end

--- Revokes many tasks.
-- @tparam Client client
-- @tparam int count
-- @tparam function id_at gets the number of a task, from 1; its id
-- @tparam table opts checked
-- @tparam[opt] function each gets an id and the answer for it
-- @treturn table how many were answered how: `revoked`, `asked`, `finished`,
-- `unknown`
-- @raise TaskError of kind BrokerUnavailable: those before were revoked
function revoke.many(client, count, id_at, opts, each)
  local counts = { revoked = 0, asked = 0, finished = 0, unknown = 0 }
  for first = 1, count, BATCH do
    local args = table.pack(head(client, opts))
    local from = #args + 1
    for i = first, math.min(first + BATCH - 1, count) do
      args[#args + 1] = id_at(i)
    end
    local answers = client:ask("te1_revoke", args)
    for i, answer in ipairs(answers) do
      counts[answer] = counts[answer] + 1
      if each then
        each(args[from + i - 1], answer)
      end
    end
  end
  return counts
end

--- Checks a list of ids.
-- @tparam any ids
-- @raise at the line of the caller's program
function revoke.check_ids(ids)
  if type(ids) ~= "table" then
    caller.raise(check.problem("revoke: id", check.name, ids))
  elseif getmetatable(ids) ~= nil then
    caller.raise(("revoke: an id or a list of ids expected, got %s; a result"
      .. " and a flow have a revoke of their own"):format(check.describe(ids)))
  end
  for i = 1, #ids do
    if not names.is_valid(ids[i]) then
      caller.raise(check.problem(("revoke: id %d"):format(i), check.name,
        ids[i]))
    end
  end
end

return revoke
