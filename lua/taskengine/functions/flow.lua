-- Flows: graphs of tasks.
--
-- A function sees each flow that it touches as a table, which is loaded once
-- and written back when the function has done its work (te.close_flows): the
-- ends of a thousand members cost few commands. What is more than one call
-- should do goes into the list `gq` and is done by those that follow
-- (flow_work.lua).

local NIL = te.NIL

local function bytes5(v)
  return char(math.floor(v / 4294967296) % 256) .. te.bytes4(v % 4294967296)
end

-- One that a function sees for the first time, as its header says.
local function open(P, producer, v)
  local f = {
    P = P, producer = producer, made = tonumber(v[3]),
    n = tonumber(v[1]), left = tonumber(v[2]), ttl_s = tonumber(v[4]),
    state = v[5] or "", root = v[7], revoked = v[8], mode = v[9],
    written = v[2], held = v[10], holds = v[11],
    passes = te.natural(v[12] or nil, te.NODES_MAX),
    out = tonumber(v[13] or 0), written_out = v[13] or "0",
    delegates = v[14], counted = te.natural(v[15] or nil, te.NODES_MAX),
    cells = {}, changed = {}, last_changed = 0, windows = {},
    records = {}, pieces = {},
    arrived = {}, templates = {}, endings = {}, leads = {}, ends = {},
    ends_read = 0, followed = 0,
  }
  te.check_header(f)
  f.stamp = bytes5(math.max((te.moment or te.now()) - f.made, 1))
  f.released = "r\0" .. f.stamp .. "\1"
  te.opened[#te.opened + 1] = f
  te.flows[producer] = f
  return f
end

-- The flow of a producer, when it is sealed and still there; or nil.
function te.flow(P, producer)
  local f = te.flows[producer]
  if f == nil then
    local v = call("HMGET", P .. "g:" .. producer, "n", "left", "made", "ttl",
      "state", "sealed", "root", "revoked", "mode", "held", "holds",
      "passes", "out", "delegates", "counted")
    f = v[6] and open(P, producer, v) or false
    te.flows[producer] = f
  end
  return f or nil
end

-- One that this call has made: none of it has to be read.
function te.open_new_flow(P, producer, nodes, now, ttl_s)
  local n = texts[nodes]
  local f = open(P, producer, { n, n, now, ttl_s })
  te.begin_cells(f)
  return f
end

-- The flow and the node of a task, when it has one.
function te.flow_of_id(P, id)
  local i = te.sequence(id)
  local f = i and i > 0 and te.flow(P, sub(id, 1, 12))
  if f and i <= f.n then
    return f, i
  end
end

function te.flow_of(P, env)
  if te.is_node(env) then
    local id = sub(env, 1, 20)
    te.flow_or_remake(P, sub(id, 1, 12), te.ttl_ms(env) / 1000)
    return te.flow_of_id(P, id)
  end
end

local function write(f)
  te.write_cells(f)
  local arrived = {}
  for i, n in pairs(f.arrived) do
    arrived[#arrived + 1], arrived[#arrived + 2] = texts[i], texts[n]
  end
  for from = 1, #arrived, te.BATCH_MAX do
    call("HSET", f.P .. "gw:" .. f.producer,
      unpack(arrived, from, math.min(from + te.BATCH_MAX - 1, #arrived)))
  end
  f.arrived = {}
  local left, out = texts[f.left], texts[f.out]
  if f.is_new_end then
    call("HSET", f.P .. "g:" .. f.producer, "left", left, "out", out,
      "state", f.state)
  elseif left ~= f.written or out ~= f.written_out then
    call("HSET", f.P .. "g:" .. f.producer, "left", left, "out", out)
  end
  f.written, f.written_out = left, out
end

-- A flow ends with the outcome nil, or as its first failure.
local function end_flow(f)
  local id = te.node_id(f.producer, 0)
  local record = f.revoked or f.root and "D" .. f.root or NIL
  f.state = "done"
  te.keep_outcome(id, record)
  te.tell(f.P, id, record)
end

local function write_all(P)
  for k = 1, #te.opened do
    local f = te.opened[k]
    if f.left == 0 and f.state ~= "done" then
      f.is_new_end = true
      end_flow(f)
    end
    write(f)
  end
  for key, outcomes in pairs(te.chunks) do
    if outcomes[1] then
      call("HSET", P .. "v:" .. key, unpack(outcomes))
    end
  end
  te.chunks = {}
  for k = 1, #te.opened do
    if te.opened[k].is_new_end then
      te.opened[k].is_new_end = false
      te.set_flow_end(te.opened[k])
    end
  end
end

-- At the end of every function.
function te.close_flows(P)
  if te.opened[1] and te.may_write then
    te.advance_flows(P)
    te.mend_flows(P)
    write_all(P)
    te.advance_flows(P) -- times to live
  end
end

-- At the beginning of every function.
function te.begin_flows()
  if not te.opened or te.opened[1] then -- the last one had to do with flows
    te.opened, te.chunks = {}, {}
    te.work, te.released = {}, {}
  end
  te.flows = {}
  te.begin_work()
  te.moment, te.takes, te.seen = nil, nil, nil
end
