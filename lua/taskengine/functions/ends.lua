-- How tasks end: outcomes, and what else an end sets off.

-- Outcomes of tasks whose ids differ only in the last digit share a hash, a
-- chunk: measured at a fifth of the memory and half the time of a key each.
-- The chunk stays at least as long as the one in it that is kept the longest;
-- a little longer, so that not every outcome has to prolong it.
local TTL_SLACK_MS_MAX = 60000

function te.put_outcomes(key, outcomes, ttl_ms)
  call("HSET", key, unpack(outcomes))
  ttl_ms = tonumber(ttl_ms)
  if call("PTTL", key) < ttl_ms then
    local more = math.min(math.floor(ttl_ms / 64), TTL_SLACK_MS_MAX)
    call("PEXPIRE", key, string.format("%.0f", ttl_ms + more))
  end
end

function te.put_outcome(P, id, record, ttl_ms)
  te.put_outcomes(P .. "v:" .. sub(id, 1, 19), { sub(id, 20), record }, ttl_ms)
end

-- The outcome's record, or false.
function te.get_outcome(P, id)
  local record = te.raw_outcome(P, id)
  return record and te.expanded(P, record)
end

-- A caller's id is remembered as long as the outcome.
local function expire_alias(P, env)
  local alias = te.alias(env)
  if alias then
    call("PEXPIRE", P .. "u:" .. alias, math.max(te.ttl_ms(env), 1))
  end
end

-- What else the end of a task sets off.
function te.ended(P, env, record)
  te.tell(P, te.id(env), record)
  expire_alias(P, env)
  te.close_past(P, env, record)
  local digest = te.digest(env)
  if digest then
    te.unlock(P, te.id(env), digest)
  end
end

local COUNTERS = { S = "done", F = "failed", R = "revoked" }

-- Ends a task with an outcome. The envelope has left wherever it was.
function te.settle(P, env, record, now, counter)
  local id, ttl_ms = te.id(env), te.ttl_ms(env)
  local letter = sub(record, 1, 1)
  local flow, node = te.flow_of(P, env)
  if flow then
    if not te.end_member(flow, node, env, record) then
      return te.drop_revoked(P, env)
    end
  elseif te.keeps_result(env) and ttl_ms > 0 then
    te.put_outcome(P, id, record, ttl_ms)
  end
  te.ended(P, env, record)
  if letter == "F" then
    te.keep_dead(P, env, record, now)
  end
  te.tally(P, te.queue(env), counter or COUNTERS[letter] or "done")
end

-- { kind = , message = } in MessagePack
local REVOKED = "R\130\164kind\167Revoked\167message"
  .. "\183revoked while it waited"

-- Drops a task that was revoked while it stood in a ready list: its outcome
-- was written then.
function te.drop_revoked(P, env)
  local flow, node = te.flow_of(P, env)
  if flow then
    te.end_and_tell(flow, node, flow.revoked or REVOKED, "R")
  end
  te.ended(P, env, "-")
  te.tally(P, te.queue(env), "revoked")
end

-- The same for one with a tombstone. Of a node that is done again meanwhile it
-- is all that is left of what was revoked. True when it is of a flow.
function te.drop_buried(P, env)
  local is_node, flow, node = te.is_node(env), te.flow_of(P, env)
  if is_node then
    te.dig_up(P, te.id(env))
  end
  if flow and (te.node_state(flow, node) ~= "R"
    or te.is_outdated(flow, node)) then
    te.tally(P, te.queue(env), "revoked")
  else
    te.drop_revoked(P, env)
  end
  return is_node
end
