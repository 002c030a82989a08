-- What there is to be done for flows: in this call, as far as its steps go, or
-- left in the list `gq` for those that follow.

-- What one call does beside its own work: a release counts for three.
local STEPS_MAX = 1000
-- Kinds of work. Each does what is left of an item, and notes in it how far it
-- came; true when that is all.
local WORK = {}
te.FLOW_WORK = WORK

function te.begin_work()
  te.steps = STEPS_MAX
end

-- More to be done for a flow: what, and two numbers.
function te.add_flow_work(producer, what, a, b)
  local work = te.work
  work[#work + 1] = { what = what, producer = producer, a = a, b = b }
end

local function carry_out(P, item)
  local f = te.flow(P, item.producer)
  return not f or not WORK[item.what] or WORK[item.what](f, item)
end

-- Kinds that need a node that is one; and those that stand at a byte of edges.
local IS_AT_NODE = { b = true, e = true, p = true, x = true }
local IS_AT_EDGE = { b = true, e = true }
-- A half of a worker's id, which is the most that an item notes.
local NUMBER_MAX = 2 ^ 48 - 1

-- What a text of `gq` says; nil when it is none that a call has put there.
local function read_item(P, text)
  local a, b = string.match(text, "^(%d+) (%d+)$", 14)
  local item = {
    producer = sub(text, 1, 12), what = sub(text, 13, 13),
    a = te.natural(a, NUMBER_MAX), b = te.natural(b, NUMBER_MAX),
  }
  local what = item.what
  local f = item.a and item.b and te.flow(P, item.producer)
  if not f or item.a < 1 and IS_AT_NODE[what]
    or IS_AT_EDGE[what] and item.b % te.EDGE_BYTES ~= 1 then
    return nil
  end
  return item
end

local function text_of(producer, what, a, b)
  return producer .. what .. string.format("%.0f %.0f", a, b)
end

-- To be done by a later call, behind all else.
function te.put_behind(f, what, a, b)
  call("RPUSH", f.P .. "gq", text_of(f.producer, what, a, b))
end

-- Node by node, because the ends of a call are known in it alone.
local function put_off_ends(f, item)
  local items, ends = {}, f.ends
  for k = f.followed + 1, #ends do
    items[#items + 1] = text_of(f.producer, "e", ends[k], item.b)
    item.b = 1
  end
  f.followed, f.ends_read, f.is_following = #ends, #ends, false
  for from = 1, #items, te.BATCH_MAX do
    call("RPUSH", f.P .. "gq",
      unpack(items, from, math.min(from + te.BATCH_MAX - 1, #items)))
  end
end

local function put_off(P, item, command)
  if item.what == "ends" then
    put_off_ends(te.flow(P, item.producer), item)
  else
    call(command, P .. "gq",
      text_of(item.producer, item.what, item.a, item.b))
  end
end

-- Does what is to be done now. What is too much for this call is left for
-- others, of whom some are woken.
local function run(P)
  local work, at = te.work, 1
  while work[at] and te.steps > 0 and carry_out(P, work[at]) do
    at = at + 1
  end
  local is_left = work[at]
  while work[at] do
    put_off(P, work[at], "RPUSH")
    at = at + 1
  end
  te.work = {}
  return is_left
end

-- Somebody is to go on with what is left: the last who were heard of, two of
-- them, because one may have died since.
local function wake_others(P)
  local wids = call("ZRANGE", P .. "w", "-2", "-1")
  for k = 1, #wids do
    call("RPUSH", P .. "b:" .. wids[k], "")
  end
end

-- The one that was to go on is gone.
function te.pass_flows_on(P)
  if call("EXISTS", P .. "gq") == 1 then
    wake_others(P)
  end
end

function te.advance_flows(P)
  if te.work[1] and run(P) then
    wake_others(P)
  end
  te.send_released(P)
end

-- Goes on with what was left. True when there is more.
function te.continue_flows(P)
  local gq = P .. "gq"
  local text = call("LPOP", gq)
  while text do
    local item = read_item(P, text)
    local is_over = not item or carry_out(P, item)
    te.steps = te.steps - 2 -- for finding out what it is
    if te.work[1] then
      run(P)
    end
    if not is_over then
      put_off(P, item, "LPUSH")
    end
    text = te.steps > 0 and call("LPOP", gq)
  end
  te.send_released(P)
  return call("EXISTS", gq) == 1
end

-- The same for what a client has set off, or as the last that a worker does: at
-- once, where that is enough.
function te.go_on_with_flows(P)
  if te.continue_flows(P) then
    wake_others(P)
  end
end
