--- What Redis holds of flows and their tasks, in the words of
-- `spec.support.flow_model`.
-- @module spec.support.flow_seen

local envelope = require("spec.support.envelope")
local flow_words = require("spec.support.flow_words")

local flow_seen = {}

local STATES <const> = {
  ["\0"] = "waits", r = "released", g = "delegated", d = "done", f = "failed",
  n = "needs", R = "revoked", s = "skipped",
}
local CELL <const> = ">c1BI5I5"
-- In place of the end's time their cells have something else.
local IS_OUT <const> = { r = true, g = true }
local COUNTERS <const> = {
  "enqueued", "done", "failed", "revoked", "expired", "redelivered", "lost",
  "retried", "requeued",
}
local BODY <const> = "\x91\x90"

local function hash(s, key)
  local flat, map = s:redis("HGETALL", key), {}
  for k = 1, #flat, 2 do
    map[flat[k]] = flat[k + 1]
  end
  return map
end

local function outcome(s, id)
  local record = s:call("outcome", id)[1]
  local letter = record:sub(1, 1)
  return letter ~= "=" and letter ~= "?" and flow_words.of(record) or nil
end

-- Outcomes of a flow lie in few keys: whether all of these expire, or none.
local function expiry_of_outcomes(s, plan)
  local found = {}
  for i = 0, #plan.nodes do
    local ttl = s:redis("PTTL", "v:" .. plan:id(i):sub(1, 19))
    if ttl ~= -2 then
      found[ttl == -1 and "none" or "all"] = true
    end
  end
  return found.all and found.none and "some" or found.all and "all" or "none"
end

local function read_flow(s, plan)
  local g = hash(s, "g:" .. plan.producer)
  local flow = {
    left = tonumber(g.left), count = tonumber(g.n), root = g.root,
    is_over = g.state == "done", is_held = g.held ~= nil,
    is_set_up = g.passes ~= nil, -- to be done again
    revoked = g.revoked and flow_words.of(g.revoked),
    outcome = outcome(s, plan:id(0)),
    is_marked = s:redis("SISMEMBER", "gc", plan.producer) == 1,
    is_to_go = (s:redis("ZSCORE", "gx", plan.producer) or nil) ~= nil,
    expires = s:redis("PTTL", "g:" .. plan.producer) ~= -1,
    outcomes_expire = expiry_of_outcomes(s, plan),
    nodes = {},
  }
  local cells = s:redis("GETRANGE", "gs:" .. plan.producer, 0, -1)
  for i = 1, #plan.nodes do
    local state, attempt, released, ended = string.unpack(CELL, cells,
      (i - 1) * string.packsize(CELL) + 1)
    flow.nodes[i] = {
      state = STATES[state] or state, attempt = attempt, released = released,
      ended = IS_OUT[state] and 0 or ended, outcome = outcome(s, plan:id(i)),
    }
  end
  return flow
end

-- Adds what is known of a task that is somewhere.
local function put(seen, bytes, place, more)
  local e = envelope.read(bytes)
  local inputs, rest = flow_words.inputs(e.body)
  assert(rest == BODY, "another body")
  local task = {
    id = e.id, place = place, queue = e.queue, attempt = e.attempt,
    deaths = e.deaths, reaps = e.reaps, delivery = e.delivery,
    priority = e.priority, expiry = e.expiry_ms, node = e.node,
    flow = e.flow:sub(1, 12), inputs = inputs,
  }
  for name, value in pairs(more or {}) do
    task[name] = value
  end
  local places = seen.tasks[e.id] or {}
  seen.tasks[e.id] = places
  places[#places + 1] = task
  if place == "ready" then
    places.ready = (places.ready or 0) + 1
  end
end

-- The fields of tasks that lie unread in a worker's bell.
local function unread_fields(s, wid)
  local fields = {}
  for _, item in ipairs(s:redis("LRANGE", "b:" .. wid, 0, -1)) do
    if item:sub(1, 1) == "!" then
      fields[item:sub(6, 25) .. item:sub(2, 5)] = true
    end
  end
  return fields
end

local function read_workers(s, seen, wids)
  for _, wid in ipairs(wids) do
    local requests = hash(s, "cr:" .. wid)
    local unread = unread_fields(s, wid)
    for field, bytes in pairs(hash(s, "f:" .. wid)) do
      local request = requests[field]
      requests[field] = nil
      put(seen, bytes, "in flight", {
        wid = wid, field = field, is_unread = unread[field],
        mode = request and request:sub(1, 1),
        request = request and flow_words.of(request:sub(2)),
      })
    end
    seen.stray = seen.stray or next(requests)
  end
end

local function read_queues(s, seen, queues)
  for _, queue in ipairs(queues) do
    for _, bytes in ipairs(s:redis("LRANGE", "r:" .. queue, 0, -1)) do
      put(seen, bytes, "ready")
    end
    for _, id in ipairs(s:redis("ZRANGE", "p:" .. queue, 0, -1)) do
      put(seen, s:redis("HGET", "t", id), "prioritised")
    end
    local counters = {}
    for _, name in ipairs(COUNTERS) do
      counters[name] = s:counter(queue, name)
    end
    seen.counters[queue] = counters
  end
  local due = s:redis("ZRANGE", "z", 0, -1, "WITHSCORES")
  for k = 1, #due, 2 do
    put(seen, s:redis("HGET", "t", due[k]), "due",
      { when = tonumber(due[k + 1]) })
  end
end

local function set_of(list)
  local set = {}
  for _, item in ipairs(list) do
    set[item] = true
  end
  return set
end

--- All that there is.
-- @tparam Shard s
-- @tparam {Plan,...} plans of the flows that were sealed
-- @tparam {string,...} wids
-- @tparam {string,...} queues
-- @treturn table
function flow_seen.read(s, plans, wids, queues)
  local seen = { flows = {}, tasks = {}, counters = {}, pending = {},
    dead = set_of(s:redis("ZRANGE", "x", 0, -1)),
    tombstones = set_of(s:redis("ZRANGE", "cx", 0, -1)) }
  for _, plan in ipairs(plans) do
    seen.flows[plan.producer] = read_flow(s, plan)
    local delegates = hash(s, "gd:" .. plan.producer)
    for id, bytes in pairs(delegates) do
      assert(s:redis("HGET", "gl", id) == plan.producer, "another delegate")
      put(seen, bytes, "delegated", { to = plan.producer })
    end
  end
  for _, item in ipairs(s:redis("LRANGE", "gq", 0, -1)) do
    seen.pending[item:sub(1, 12)] = true
  end
  read_workers(s, seen, wids)
  read_queues(s, seen, queues)
  return seen
end

return flow_seen
