-- How a node of a flow becomes a task: its envelope, to which queue it goes, or
-- straight to which worker. What it takes from others is of flow_inputs.lua.

local VIRTUAL = "\0\0"
local FAR, NONE = te.FAR_INPUTS, te.NO_INPUTS
local RELEASE_STEPS = 3

-- What templates say, by their bytes: most calls see one that the last call
-- has seen.
local known, KNOWN_MAX, KNOWN_BYTES_MAX, known_count = {}, 256, 2048, 0

-- False for one that is missing.
local function read_template(bytes)
  local version, priority, queue = te.read_header(te.from_template(bytes))
  return version > 0 and {
    head = sub(bytes, 1, 38), tail = sub(bytes, 63), queue = queue,
    priority = priority, version = version,
    lives_ms = te.number_at(bytes, 11, 8),
  }
end

local function find_template(f, k)
  local bytes = te.flow_piece(f, "t" .. texts[k])
  local t = known[bytes]
  if t == nil then
    t = read_template(bytes)
    if #bytes <= KNOWN_BYTES_MAX then
      known_count = known_count + 1
      if known_count > KNOWN_MAX then
        known, known_count = {}, 1
      end
      known[bytes] = t
    end
  end
  return t
end

-- By the two bytes of a record that say which.
local function template(f, record)
  local two = sub(record, 1, 2)
  local t = f.templates[two]
  if t == nil then
    t = find_template(f, te.number_at(two, 1, 2))
    f.templates[two] = t
  end
  return t
end

local function envelope_of(f, i, record, t, segment)
  local head = t.head
  if t.lives_ms > 0 then
    local expiry = te.bytes_of((te.moment or te.now()) + t.lives_ms, 8)
    head = te.patch(head, 11, expiry)
  end
  f.id = f.id or te.node_id(f.producer, 0)
  return te.node_id(f.producer, i) .. head .. f.id .. te.bytes4(i) .. t.tail
    .. segment .. sub(record, te.NODE_HEAD_BYTES + 1)
end

local TAKEN_MAX, TAKEN_BYTES_MAX = 1000, 1024 * 1024

-- From now on the worker that is being answered gets up to so many of the tasks
-- that are released, under this delivery number.
function te.begin_takes(wid, number, count)
  te.takes = {
    wid = wid, number = te.bytes_of(number, 4),
    count = math.min(count, TAKEN_MAX), bytes = 0,
    queues = {}, started = {}, got = {},
  }
end

-- Whether it is that worker's room that is filled now.
function te.is_taking(wid)
  return te.takes and te.takes.wid == wid
end

-- No more from here on. Returns the envelopes that it gets, and their bytes.
function te.end_takes()
  local takes = te.takes
  te.takes = nil
  return takes and takes.got or {}, takes and takes.bytes or 0
end

-- Whether the worker that is being answered gets tasks of a kind at once: it
-- serves the queue, nobody is before it there, and nothing is to be looked at
-- that a fetch would look at.
local function are_for_caller(P, t)
  local takes = te.takes
  if not takes or takes.count <= 0 or takes.bytes >= TAKEN_BYTES_MAX
    or t.priority > 0 or t.lives_ms > 0 or t.version ~= te.VERSION
    or te.released[t.queue] then
    return false
  end
  local is_free = takes.queues[t.queue]
  if is_free == nil then
    local served = " " .. (call("HGET", P .. "wq", takes.wid) or "") .. " "
    is_free = string.find(served, " " .. t.queue .. " ", 1, true) ~= nil
      and not te.has_work(P, t.queue)
    takes.queues[t.queue] = is_free
  end
  return is_free
end

-- They are in flight there.
local function give_to_caller(P, envs, queue)
  local takes, n, pairs = te.takes, #envs, {}
  local got, bytes, number = takes.got, takes.bytes, takes.number
  local before = #got
  for k = 1, n do
    local env = envs[k]
    bytes = bytes + #env
    got[before + k] = env
    pairs[2 * k - 1], pairs[2 * k] = sub(env, 1, 20) .. number, env
  end
  takes.count, takes.bytes = takes.count - n, bytes
  takes.started[queue] = (takes.started[queue] or 0) + n
  call("HSET", P .. "f:" .. takes.wid, unpack(pairs))
end

-- What goes to a queue at the end of this call.
local function released_to(queue)
  local list = te.released[queue]
  if not list then
    list = {}
    te.released[queue] = list
    te.released[#te.released + 1] = queue
  end
  return list
end

local function send(f, env, t, delay_ms)
  local P = f.P
  if delay_ms > 0 then
    local now = te.moment or te.now()
    te.count(P, t.queue, "enqueued", 1)
    call("SADD", P .. "q", t.queue)
    te.make_due(P, env, now + delay_ms, now)
  elseif are_for_caller(P, t)
    and te.takes.bytes + #env <= TAKEN_BYTES_MAX then
    give_to_caller(P, { env }, t.queue)
  else
    local list = released_to(t.queue)
    list[#list + 1] = env
  end
end

-- The outcome of a node without a task. Where its inputs are too much: whose
-- they are, because others may end with the same outcome.
local function gathered(f, i, record, segment)
  return "G" .. segment
    .. (segment == FAR and te.node_id(f.producer, i) or "")
    .. sub(record, te.NODE_HEAD_BYTES + 1)
end

-- How a node ends that needs the outcome of a task which somebody has deleted.
local function forgotten(id)
  local message = "the result of task " .. id .. ", which it needs, is gone"
  return "F\130\164kind\169Forgotten\167message\217" .. char(#message)
    .. message
end

-- A node that waits is run, once: or, when it has no task, ends with what it
-- gathers.
function te.release_node(f, i)
  local record = te.node_record(f, i)
  te.steps = te.steps - RELEASE_STEPS
  if f.revoked then
    return te.end_and_tell(f, i, f.revoked, "R")
  elseif not record then
    return te.end_and_tell(f, i, te.FLOW_DAMAGED, "f")
  end
  local segment, missing = te.inputs_segment(f, i, record)
  if missing then
    return te.end_and_tell(f, i, forgotten(missing), "f")
  elseif sub(record, 1, 2) == VIRTUAL then
    return te.end_and_tell(f, i, gathered(f, i, record, segment), "d")
  end
  local t = template(f, record)
  if not t then
    return te.end_and_tell(f, i, te.FLOW_DAMAGED, "f")
  end
  te.mark_released(f, i, i, record)
  send(f, envelope_of(f, i, record, t, segment), t,
    te.number_at(record, 15, 4))
end

-- Of a record: no inputs, and no delay.
local TAKES_NOTHING = NONE .. NONE

-- Adds the envelopes of nodes from i on to a list, while they are such as the
-- first: what they have in common is put together once. Returns the node behind
-- them.
local function add_common(f, i, last, t, list, room, bytes)
  local records, n, first, low = f.records, #list, i, i % 256
  local common, behind = sub(records[i], 1, 18), t.tail .. NONE
  local id, k, pair = te.node_id_parts(f.producer, i)
  f.id = f.id or te.node_id(f.producer, 0)
  local head = t.head .. f.id .. sub(te.bytes4(i), 1, 3)
  last = math.min(te.same_cells_to(f, i, last, te.NO_CELL), i + 255 - low,
    i + #pair - k, i + room - 1, i + math.ceil(te.steps / RELEASE_STEPS) - 1)
  local record = records[i]
  repeat
    local env = id .. pair[k] .. head .. chars[low] .. behind
      .. sub(record, 19)
    n = n + 1
    list[n], bytes = env, bytes - #env
    i, k, low = i + 1, k + 1, low + 1
    record = records[i]
  until i > last or bytes <= 0 or not record or sub(record, 1, 18) ~= common
  te.steps = te.steps - (i - first) * RELEASE_STEPS
  te.mark_released(f, first, i - 1, records[first])
  return i
end

-- Nodes from i on whose records are at hand and which become tasks of the same
-- kind, as most members of a group do. Returns the node behind them.
local function release_common(f, i, last, t)
  if not are_for_caller(f.P, t) then
    return add_common(f, i, last, t, released_to(t.queue), math.huge, math.huge)
  end
  local envs = {}
  i = add_common(f, i, last, t, envs, te.takes.count,
    TAKEN_BYTES_MAX - te.takes.bytes)
  give_to_caller(f.P, envs, t.queue)
  return i
end

-- Releases node i, which waits, and maybe others behind it. Returns the node
-- behind those.
function te.release_from(f, i, last)
  local record = f.records[i]
  if record and sub(record, 11, 18) == TAKES_NOTHING
    and sub(record, 1, 2) ~= VIRTUAL and not f.revoked then
    local t = template(f, record)
    if t and t.lives_ms == 0 and t.priority == 0 then
      return release_common(f, i, last, t)
    end
  end
  te.release_node(f, i)
  return i + 1
end

local function send_to_queue(P, queue, envs)
  local plain = {}
  for k = 1, #envs do
    if te.priority(envs[k]) > 0 then
      te.make_ready(P, envs[k])
    else
      plain[#plain + 1] = envs[k]
    end
  end
  local how = #envs <= te.HANDED_MAX and te.hand_over(P, queue, envs)
    or "queue"
  if how ~= "handed" and plain[1] then
    call("RPUSH", P .. "r:" .. queue, unpack(plain))
  end
  if how == "queue" then
    te.ring(P, queue, #envs)
  end
end

local function count_enqueued(P, queue, n)
  if te.count(P, queue, "enqueued", n) == n then -- its first ones
    call("SADD", P .. "q", queue)
  end
end

-- Puts what was released into its queues.
function te.send_released(P)
  local released = te.released
  te.released = {}
  for k = 1, #released do
    local queue = released[k]
    count_enqueued(P, queue, #released[queue])
    send_to_queue(P, queue, released[queue])
  end
  if te.takes then
    for queue, n in pairs(te.takes.started) do
      count_enqueued(P, queue, n)
    end
    te.takes.started = {}
  end
end
