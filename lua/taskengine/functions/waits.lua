-- Who waits for which task, and what they are told.

-- At least a thousand inboxes may wait for one task.
local INBOXES_BYTES_MAX = 16000

function te.begin_waits()
  te.waits, te.asked = nil, 0
end

-- Whether anybody waits for any task; asked once in a call.
function te.some_wait(P)
  if te.waits == nil then
    te.waits = call("EXISTS", P .. "y") == 1
  end
  return te.waits ~= false
end

-- When it was asked for so many tasks who waits for them, the ids of all that
-- somebody waits for are read, if they are few; and what those of their chunks
-- have in common.
local ASKED_MAX, WAITED_FOR_MAX = 2, 16

local function read_waits(P)
  te.waits = "many"
  if call("HLEN", P .. "y") <= WAITED_FOR_MAX then
    local ids, waits = call("HKEYS", P .. "y"), {}
    for i = 1, #ids do
      waits[ids[i]], waits[sub(ids[i], 1, 19)] = true, true
    end
    te.waits = waits
  end
end

-- For n tasks: the ids of all that somebody waits for, where these are few;
-- true when any of the tasks may be one; nil when nobody waits.
function te.waited_for(P, n)
  if not te.some_wait(P) then
    return nil
  elseif te.waits == true and n > ASKED_MAX then
    read_waits(P)
  end
  return type(te.waits) == "table" and te.waits or true
end

-- Whether somebody may wait for a task.
local function is_waited_for(P, id)
  if not te.some_wait(P) then
    return false
  end
  if te.waits == true then
    te.asked = te.asked + 1
    if te.asked > ASKED_MAX then
      read_waits(P)
    end
  end
  return type(te.waits) ~= "table" or te.waits[id]
end

-- False when too many wait for the task.
function te.add_inbox(P, id, inbox, now)
  te.waits = true
  if call("HSETNX", P .. "y", id, inbox) == 1 then
    call("ZADD", P .. "yt", string.format("%.0f", now), id)
    return true
  end
  local inboxes = call("HGET", P .. "y", id)
  if #inboxes > INBOXES_BYTES_MAX then
    return false
  elseif not string.find(" " .. inboxes .. " ", " " .. inbox .. " ", 1, true)
  then
    call("HSET", P .. "y", id, inboxes .. " " .. inbox)
  end
  call("ZADD", P .. "yt", string.format("%.0f", now), id)
  return true
end

-- How long Redis keeps an inbox that nobody reads.
local INBOX_MS = "3600000"

-- Hands an outcome, as it is kept, to those who wait for it.
function te.tell(P, id, record)
  local inboxes = is_waited_for(P, id) and call("HGET", P .. "y", id)
  if inboxes then
    call("HDEL", P .. "y", id)
    call("ZREM", P .. "yt", id)
    record = te.expanded(P, record)
    local item = id .. (#record <= te.INLINE_BYTES_MAX and record or ">")
    for inbox in string.gmatch(inboxes, "%S+") do
      if string.find(inbox, "^[ab]:") then
        call("RPUSH", P .. inbox, item)
        call("PEXPIRE", P .. inbox, INBOX_MS)
      end
    end
  end
end

-- Forgets waits that nothing has ended.
function te.trim_waits(P, now, limit)
  local ids = call("ZRANGE", P .. "yt", "-inf",
    string.format("%.0f", now - te.KEPT_MS), "BYSCORE", "LIMIT", 0, limit)
  if #ids > 0 then
    call("ZREM", P .. "yt", unpack(ids))
    call("HDEL", P .. "y", unpack(ids))
  end
end
