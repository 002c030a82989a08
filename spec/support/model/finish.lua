--- `te1_finish`, `te1_holds`, `te1_leave` and `te1_reap` of a model.
-- @module spec.support.model.finish

local envelope = require("spec.support.envelope")
local ends = require("spec.support.model.ends")
local handover = require("spec.support.model.handover")
local leases = require("spec.support.model.leases")
local queues = require("spec.support.model.queues")
local retry = require("spec.support.model.retry")
local state = require("spec.support.model.state")

local finish = {}

-- What is noted of a worker that has said nothing of itself.
local NO_WORDS <const> = "\0\0\0"

local function hand_back(self, tasks)
  for i = #tasks, 1, -1 do
    local task = tasks[i]
    task.parts.delivery = task.parts.delivery + 1
    queues.pack(task)
    queues.make_ready(self, task, true)
  end
end

local function leave_worker(self, wid)
  self.workers[wid] = nil
  self.inboxes["b:" .. wid] = nil
end

-- Endings that take one task each: of a task, its outcome, the worker's id
-- and the list of those that go back.
local OPERATIONS <const> = {}

function OPERATIONS.o(self, task, record)
  ends.settle(self, task, record)
end

function OPERATIONS.h(_, task, _, _, back)
  back[#back + 1] = task
end

function OPERATIONS.b(self, task, _, _, back)
  queues.count(self, task.parts.queue, "redelivered")
  back[#back + 1] = task
end

-- How often what runs a task may be lost, and the letter for it in a note.
local LOSSES <const> = {
  deaths = { max = 3, letter = "c" },
  reaps = { max = 10, letter = "w" },
}

local function lost(self, task, record, what, wid, back)
  local parts = task.parts
  parts[what] = parts[what] + 1
  ends.note(self, task, LOSSES[what].letter, wid .. NO_WORDS, record)
  queues.count(self, parts.queue, "lost")
  if parts.flags & 2 ~= 0 or parts[what] >= LOSSES[what].max then
    parts.delivery = parts.delivery + 1
    queues.pack(task)
    ends.settle(self, task, record)
  else
    back[#back + 1] = task
  end
end

function OPERATIONS.l(self, task, record, wid, back)
  lost(self, task, record, "deaths", wid, back)
end

function OPERATIONS.r(self, task, verdict, wid)
  retry.again(self, task, verdict, wid .. NO_WORDS)
end

local function is_refused_by_all(self, queue, refusal)
  for wid, worker in pairs(self.workers) do
    if state.has(worker.queues, queue) and not state.has(refusal, wid) then
      return false
    end
  end
  return true
end

function OPERATIONS.n(self, task, record, wid)
  local id = task.parts.id
  local refusal = state.kept(self, self.refusals, id) or { since = self.now }
  if not state.has(refusal, wid) then
    refusal[#refusal + 1] = wid
  end
  if self.now - refusal.since >= 60000
    or is_refused_by_all(self, task.parts.queue, refusal) then
    self.refusals[id] = nil
    ends.settle(self, task, record)
  else
    refusal.until_ms = self.now + state.HOUR_MS
    self.refusals[id] = refusal
    task.parts.delivery = task.parts.delivery + 1
    queues.pack(task)
    queues.make_due(self, task, self.now + 250)
  end
end

-- Ends a task that is asked to end, when it leaves its worker without an
-- outcome. Returns whether it was.
local function end_asked(self, worker, field, task, op)
  local request = worker.asked[field]
  worker.asked[field] = nil
  if request and op ~= "o" then
    ends.settle(self, task, request.record)
    return true
  end
  return false
end

-- Successes of one operation: of those that are not this worker's any more
-- the outcome is there already.
local function succeed(self, worker, args, i, ttl_s, step)
  local n, own = args[i], 0
  for k = i + 1, i + n * step, step do
    local task = worker.held[args[k]]
    if task then
      worker.held[args[k]], worker.asked[args[k]] = nil, nil
      own = own + 1
      queues.count(self, task.parts.queue, "done")
      if ttl_s then
        ends.put_outcome(self, task.parts.id, args[k + 1], ttl_s * 1000)
      end
      ends.ended(self, task, ttl_s and args[k + 1] or "-")
    end
  end
  return i + n * step + 1, own
end

local ARGUMENTS <const> =
  { o = 2, h = 1, b = 1, l = 2, n = 2, r = 2, p = 2 }
local HAS_PAST <const> = 16

-- A task says something of itself, if it is still this worker's.
local function say(self, wid, field, record)
  local task = self.workers[wid].held[field]
  if task then
    task.parts.flags = task.parts.flags | HAS_PAST
    queues.pack(task)
    self.said[task.parts.id] =
      { wid = wid, field = field, at = self.now, record = record }
  end
end

local function operate(self, wid, args, i, back)
  local worker, op = self.workers[wid], args[i]
  if op == "s" then
    return succeed(self, worker, args, i + 3, args[i + 2], 2)
  elseif op == "d" then
    return succeed(self, worker, args, i + 2, nil, 1)
  elseif op == "p" then
    say(self, wid, args[i + 1], args[i + 2])
    return i + 1 + ARGUMENTS[op], 0
  end
  local task = worker.held[args[i + 1]]
  if task then
    worker.held[args[i + 1]] = nil
    if not end_asked(self, worker, args[i + 1], task, op) then
      OPERATIONS[op](self, task, args[i + 2], wid, back)
    end
  end
  return i + 1 + ARGUMENTS[op], task and 1 or 0
end

function finish.finish(self, wid, lease_ms, ...)
  if not leases.renew(self, wid, lease_ms) then
    return leases.FENCED
  end
  local args, i, back, total = { ... }, 1, {}, 0
  while args[i] do
    local after, own = operate(self, wid, args, i, back)
    i, total = after, total + own
  end
  hand_back(self, back)
  return { total }
end

function finish.holds(self, wid, number)
  local worker = self.workers[wid]
  if worker and number then
    leases.advance(worker, number)
  end
  if not worker then
    return { "0" }
  end
  handover.take_back(self, wid)
  local reply = state.keys_of(worker.held)
  table.insert(reply, 1, tostring(worker.handed or 0))
  return reply
end

function finish.leave(self, wid)
  local worker = self.workers[wid]
  if worker then
    handover.take_back(self, wid)
  end
  if worker and next(worker.held) then
    return 0
  end
  leave_worker(self, wid)
  return 1
end

function finish.reap(self, wid, is_dead, record, ...)
  local worker, started = self.workers[wid], {}
  if not worker or is_dead ~= "1" and worker.deadline > self.now then
    return -1
  end
  for _, field in ipairs { ... } do
    started[field] = true
  end
  local taken_back = handover.take_back(self, wid)
  local fields = state.keys_of(worker.held)
  table.sort(fields, function(a, b)
    local an, bn = envelope.number(a:sub(1, 20)), envelope.number(b:sub(1, 20))
    local ad, bd = a:sub(21), b:sub(21)
    return ad < bd or ad == bd and (an < bn or an == bn and a < b)
  end)
  leave_worker(self, wid)
  local back = {}
  for _, field in ipairs(fields) do
    local task = worker.held[field]
    local is_over = end_asked(self, worker, field, task)
    if not is_over and (started["-"] or started[field]) then
      lost(self, task, record, "reaps", wid, back)
    elseif not is_over then
      back[#back + 1] = task
    end
  end
  hand_back(self, back)
  return #fields + taken_back
end

return finish
