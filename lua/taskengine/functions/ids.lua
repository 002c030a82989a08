-- Ids of tasks, what they say, and what is known of who made them.

-- The number behind the producer in an id of the engine's form, or nil.
function te.sequence(id)
  if #id ~= 20 or string.find(id, "[^0-9A-Za-z]") then
    return nil
  end
  local d, a, b, c, e, f, g, h, i = digit_value, byte(id, 13, 20)
  return ((((((d[a] * 62 + d[b]) * 62 + d[c]) * 62 + d[e]) * 62 + d[f]) * 62
    + d[g]) * 62 + d[h]) * 62 + d[i]
end

-- The node that a flow's id says; no number at all when it is not one.
function te.node_of(id)
  local d, x, y, a, b, c, e, g, h = digit_value, byte(id, 13, 20)
  return x == 48 and y == 48 and
    ((((d[a] * 62 + d[b]) * 62 + d[c]) * 62 + d[e]) * 62 + d[g]) * 62 + d[h]
    or 0 / 0
end

-- The first part of the ids that one client gives, or of a flow's.
function te.is_producer(text)
  return text ~= nil and te.sequence(text .. "00000000") ~= nil
end

-- What is known of a producer: its last number and whether it is retired.
function te.producer_state(P, producer)
  local v = call("GET", P .. "i:" .. producer) or ""
  return tonumber(string.match(v, "^%d+") or 0), sub(v, -1) == "!"
end

-- Whether it is that of a flow, sealed or not. One that goes on and of which
-- somebody has deleted all else has a producer without an end.
local function is_of_flow(P, producer)
  return call("EXISTS", P .. "g:" .. producer) == 1
    or call("PTTL", P .. "i:" .. producer) == -1
end

local function has_given(P, producer, seq, id)
  if seq == 0 then
    return is_of_flow(P, producer)
  end
  return seq <= te.producer_state(P, producer) or te.flow_of_id(P, id) ~= nil
end

-- Whether a task of this id was ever enqueued, or there is a flow of this id,
-- as far as is remembered.
function te.was_enqueued(P, id)
  local seq = te.sequence(id)
  return seq ~= nil and has_given(P, sub(id, 1, 12), seq, id)
    or call("HEXISTS", P .. "t", id) == 1
    or call("EXISTS", P .. "u:" .. id) == 1
end

-- The engine's id for an id that may be the caller's.
function te.resolve(P, id)
  return not te.sequence(id) and call("GET", P .. "u:" .. id) or id
end
