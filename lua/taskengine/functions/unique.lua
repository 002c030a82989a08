-- Unique tasks: one that is like another that has not ended is not made.
--
-- What they have in common is the digest in their envelopes. `l` has the lock
-- of each digest: who holds it and until when (ms, zero for no end). `lo` has
-- what each task holds: so its lock goes with it also where its envelope is
-- damaged, gone, or in a ready list, which is not searched. A lock counts when
-- both say the same.

local LOCK_BYTES = 28 -- an id and a time

-- The digest that a unique task shares with those like it, or nil.
function te.digest(env)
  local digest = sub(env, 83, 98)
  return digest ~= te.NO_DIGEST and digest or nil
end

-- What a caller asks for: for how many ms, "" for no end, or nil when the task
-- is not unique; and what else makes it one that may be there already.
function te.read_unique(text)
  local for_ms, rest = string.match(text, "^l(%d*)(.*)$")
  return for_ms, rest or text
end

-- The id of the task that holds the lock of a digest, or nil.
function te.holder(P, digest, now)
  local lock = call("HGET", P .. "l", digest)
  if not lock or #lock ~= LOCK_BYTES then
    return nil
  end
  local id, until_ms = sub(lock, 1, 20), te.number_at(lock, 21, 8)
  if (until_ms == 0 or until_ms > now)
    and call("HGET", P .. "lo", id) == digest then
    return id
  end
end

-- A task takes its lock, unless one holds that: its id is returned.
function te.lock(P, env, for_ms, now)
  local id, digest = te.id(env), te.digest(env)
  local holder = te.holder(P, digest, now)
  if holder then
    return holder
  end
  local until_ms = for_ms == "" and 0 or now + tonumber(for_ms)
  call("HSET", P .. "l", digest, id .. te.bytes_of(until_ms, 8))
  call("HSET", P .. "lo", id, digest)
end

-- A task lets go of what it holds. Another may have its lock by now.
function te.unlock(P, id, digest)
  digest = digest or call("HGET", P .. "lo", id)
  if digest then
    call("HDEL", P .. "lo", id)
    local lock = call("HGET", P .. "l", digest)
    if lock and sub(lock, 1, 20) == id then
      call("HDEL", P .. "l", digest)
    end
  end
end

-- Ids that were drawn for tasks that were not made: who repeats the enqueue
-- is to get the same answer, also when the other task has ended by then. Those
-- of a producer's last batch will do: he sends one batch at a time.
function te.forget_doubles(P, producer)
  call("UNLINK", P .. "d:" .. producer)
end

function te.note_double(P, id, original)
  local key = P .. "d:" .. sub(id, 1, 12)
  call("HSET", key, sub(id, 13), original)
  call("PEXPIRE", key, te.KEPT_MS)
end

-- The task that stands for this one, which may be itself.
function te.original(P, id)
  return te.sequence(id)
    and call("HGET", P .. "d:" .. sub(id, 1, 12), sub(id, 13)) or id
end
