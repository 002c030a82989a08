--- What happens to flows in a run: each is a call of the functions, of which
-- the model is told.
-- @module spec.support.flow_actions

local envelope = require("spec.support.envelope")
local flow_draw = require("spec.support.flow_draw")
local flow_words = require("spec.support.flow_words")

local actions = {}

local LOST <const> = flow_words.failure("F", "WorkerLost")
local INBOX <const> = "a:me"
local GROWN_MAX <const> = 40 -- nodes
local DELEGATES_MAX <const> = 4
local READY <const> = { ready = true, prioritised = true }
local DUE <const> = { due = true }

-- What a run draws from; what is there more often happens more often.
local NAMES <const> = {
  "send", "send", "fetch", "fetch", "fetch", "fetch", "finish", "finish",
  "finish", "finish", "finish", "again", "crash", "revoke", "revoke",
  "revoke_flow", "wait", "wait", "add", "add", "delegate", "delegate",
  "retry_flow", "requeue", "delete", "forget", "purge", "await", "hear",
}

-- What people do.
local INTERVENTIONS <const> = {
  "revoke", "revoke", "revoke_flow", "retry_flow", "requeue", "fetch",
}

--- Something happens.
-- @tparam Run run
function actions.draw(run)
  local is_people = run.is_restless and run:one_in(2)
  actions[run.chance:pick(is_people and INTERVENTIONS or NAMES)](run)
end

local function words(record)
  return flow_words.of(record)
end

-- The next of the calls that bring the flow, or one that was made.
local function send(run, k)
  local reply = run:call("flow", table.unpack(run.calls[k]))
  run:check_reply("flow", reply[2], run.sent == #run.calls and 1 or 0)
  run.made = run.made or run.model.now
  if k > run.sent then
    run.sent = k
    if k == #run.calls then
      table.insert(run.plans, run.plan)
      run.model:seal(run.plan, run.made)
    end
  end
  run:compare()
end

function actions.send_next(run)
  send(run, run.sent + 1)
end

function actions.send(run)
  local k = run:one_in(3) and run.sent or run.sent + 1
  if run.calls[k] then
    send(run, k)
  end
end

function actions.fetch(run)
  run:fetch(run.chance:pick(run.workers), run.chance:upto(4))
end

--- A worker reads its bell.
function actions.hear(run, wid)
  wid = wid or run.chance:pick(run.workers)
  local unread = 0
  for _, item in ipairs(run.shard:heard("b:" .. wid)) do
    if item:sub(1, 1) == "!" then
      unread = unread + 1
      if unread > 1 then
        run.happened["heard several"] = true
      end
      local number = string.unpack(">I4", item, 2)
      run:delivered(wid, { item:sub(6) }, 1, number)
      local task = run.model:held(wid, envelope.field(item:sub(6), number))
      if task then
        task.is_unread = nil
      end
    end
  end
  run:compare()
end

-- What the model is told of an operation.
local TO_WORDS <const> = {
  h = function() end,
  b = function() end,
  o = words,
  l = words,
  w = function(producer) return producer end,
  r = function(verdict)
    local delay, flags, _, at = string.unpack(">I8BI4", verdict)
    return delay, flags == 1 and words(verdict:sub(at)) or nil
  end,
}

-- Returns how many of these tasks are the worker's.
local function tell_model(run, wid, operations)
  local count = 0
  for _, operation in ipairs(operations) do
    local letter, field, more = table.unpack(operation)
    local n = run.model:finish(wid, field, letter, TO_WORDS[letter](more))
    count = count + n
    if n == 1 then
      run.happened["told " .. (operation.plain or operation)[1]] = true
    end
  end
  return count
end

-- Whether the worker may take successors under this number: the newest, and for
-- the first time.
local function take(run, number)
  local is_new = number == run.shard.fetches and number ~= run.last_taken
  run.last_taken = math.max(run.last_taken or 0, number)
  return is_new
end

--- A worker tells of tasks.
-- @tparam Run run
-- @tparam string wid
-- @tparam {table,...} operations
-- @tparam[opt] int want how many successors it takes
-- @tparam[opt] int number under which
function actions.tell(run, wid, operations, want, number)
  local args = { wid, 15000 }
  if want then
    table.move({ "t", want, number }, 1, 3, 3, args)
  end
  for _, operation in ipairs(operations) do
    local bytes = operation.plain or operation
    table.move(bytes, 1, #bytes, #args + 1, args)
  end
  local reply = run:call("finish", table.unpack(args))
  if not run:is_registered(wid) then
    return run:check_reply("finish", reply[1], "FENCED")
  end
  run:check_reply("finish", reply[1], tell_model(run, wid, operations))
  local is_new = want and take(run, number)
  run:compare { straight = is_new, wid = wid, number = number }
  if want then
    run:check_reply("finish, given", #reply - 1,
      is_new and run:count_given(wid, number) or 0)
    run:check(#reply - 1 <= want, "finish: it gives more than %d", want)
    run:delivered(wid, reply, 2, number)
  end
end

-- What is told of an attempt: mostly an outcome; or that it came to nothing.
local function draw_operation(run, d)
  local what, field = run.chance:upto(10), d.field
  if what <= 4 then
    local record = run:draw_record("S")
    return { "o", field, record, plain = d.is_plain and run:one_in(2)
      and { "m", d.queue, 60, 1, field, record } }
  elseif what <= 6 then
    return { "o", field, run:draw_record("F") }
  elseif what == 7 then
    return { run.chance:pick { "h", "b" }, field }
  elseif what == 8 then
    return { "l", field, LOST }
  end
  local spends = run.chance:upto(3) > 1
  return { "r", field,
    string.pack(">I8BI4", run.chance:upto(300) - 1, spends and 1 or 0, 0)
      .. (spends and run:draw_record("F") or "") }
end

-- Any delivery that there ever was.
local function any_delivery(run)
  return run.deliveries[1] and run.chance:pick(run.deliveries)
end

-- A delivery that is in flight, more often than any.
local function draw_delivery(run)
  local live = {}
  for _, d in ipairs(run.deliveries) do
    live[#live + 1] = run.model:held(d.wid, d.field) and d
  end
  return live[1] and not run:one_in(6) and run.chance:pick(live)
    or any_delivery(run)
end

--- A worker tells how some of its attempts went, and may take what follows.
function actions.finish(run)
  local d = draw_delivery(run)
  if not d then
    return
  end
  local operations = {}
  for _, other in ipairs(run.deliveries) do
    if other == d or other.wid == d.wid and #operations < 3 and run:one_in(6)
    then
      operations[#operations + 1] = draw_operation(run, other)
    end
  end
  local want, number
  if run:one_in(2) then
    run.shard.fetches = run.shard.fetches + 1
    want, number = run.chance:upto(3), run.shard.fetches
  end
  table.insert(run.finishes, { d.wid, operations, want, number })
  actions.tell(run, d.wid, operations, want, number)
end

--- What was told is told once more.
function actions.again(run)
  if run.finishes[1] then
    actions.tell(run, table.unpack(run.chance:pick(run.finishes), 1, 4))
  end
end

--- A worker dies, and a new one comes.
function actions.crash(run)
  local k = run.chance:upto(#run.workers)
  local wid, started, fields = run.workers[k], nil, { "-" }
  if run:one_in(2) then
    started, fields = {}, {}
    for _, d in ipairs(run.deliveries) do
      if d.wid == wid and not started[d.field] and run:one_in(2) then
        started[d.field] = true
        fields[#fields + 1] = d.field
      end
    end
  end
  local reply = run:call("reap", wid, "1", LOST, table.unpack(fields))
  table.remove(run.workers, k)
  run:check_reply("reap", reply, run.model:reap(wid, words(LOST), started))
  run:compare()
  table.insert(run.workers, run:register())
end

-- Some flow that was sealed, most often the first.
local function draw_plan(run)
  return run.plans[1] and (run:one_in(2) and run.plans[1]
    or run.chance:pick(run.plans))
end

-- The id of some node of it.
local function draw_id(run)
  local plan = draw_plan(run)
  return plan and plan:id(run.chance:upto(#plan.nodes))
end

--- Somebody revokes a task.
function actions.revoke(run)
  local id = draw_id(run)
  if not id or not run:one_in(2) then
    return
  end
  local record = run:draw_record("R")
  local mode = run.chance:pick { "w", "c", "t" }
  local reply = run:call("revoke", record, 60, mode, id)[1]
  run:check_reply("revoke", reply, run.model:revoke(id, words(record), mode))
  run:compare()
end

--- Somebody revokes a flow.
function actions.revoke_flow(run)
  local plan = draw_plan(run)
  if plan and run:one_in(4) then
    local record = run:draw_record("R")
    local mode = run.chance:pick { "w", "c", "t" }
    local reply = run:call("revoke", record, 60, mode, plan:id(0))[1]
    run:check_reply("revoke_flow", reply,
      run.model:revoke_flow(plan.producer, words(record), mode))
    run:compare()
  end
end

--- What did not go well is to be done again.
function actions.retry_flow(run, producer)
  local plan = draw_plan(run)
  producer = producer or plan and plan.producer
  if producer then
    run:check_reply("flow_retry", run:call("flow_retry", producer),
      run.model:retry(producer))
    run:compare()
  end
end

-- The id of one of the dead.
local function draw_dead(run)
  local ids = {}
  for id in pairs(run.model.dead) do
    ids[#ids + 1] = id
  end
  table.sort(ids)
  return ids[1] and run.chance:pick(ids)
end

--- Somebody brings one of the dead back.
function actions.requeue(run)
  local id = draw_dead(run)
  if id then
    run:check_reply("requeue", run:call("requeue", id, "")[1],
      run.model:requeue(id))
    run:compare()
  end
end

--- Somebody deletes one of the dead.
function actions.delete(run)
  local id = draw_dead(run)
  if id and run:one_in(3) then
    run:check_reply("delete", run:call("delete", id, "")[1], "deleted")
    run.model.dead[id] = nil
    run:compare()
  end
end

--- Somebody forgets an outcome.
function actions.forget(run)
  local id = draw_id(run)
  if id and run:one_in(3) then
    run:check_reply("forget", run:call("forget", id), run.model:forget(id))
    run:compare()
  end
end

--- A queue is purged.
function actions.purge(run)
  if not run:one_in(6) then
    return
  end
  local queue, record = run.chance:pick(run.queues), run:draw_record("R")
  if run:one_in(2) then
    local reply = run:call("purge", record, 1000, queue)
    local ended, before = run.model:purge(queue, words(record), READY)
    run:check_reply("purge", table.concat(reply, " "),
      ("%d %d %d 0"):format(ended + before, ended, before))
  else
    local reply = run:call("purge_due", record, 1000, queue, "", "")
    run:check_reply("purge_due", reply[2],
      (run.model:purge(queue, words(record), DUE)))
  end
  run:compare()
end

--- Somebody waits for a node, or for the flow.
function actions.await(run)
  local plan = draw_plan(run)
  if plan then
    local id = plan:id(run.chance:upto(#plan.nodes + 1) - 1)
    local reply = run:call("await", INBOX, id)[1]
    local outcome = run.model:outcome(id)
    run:check_reply("await", reply:sub(1, 1) == "=" and reply or words(reply),
      outcome or "=" .. id)
    run.model.waits[id] = not outcome or nil
    run:compare()
  end
end

--- Time passes.
function actions.wait(run)
  run.shard:advance(run.chance:upto(200))
  run:call("promote", 100)
  run:compare { promotes = true }
  for _, wid in ipairs(run.workers) do
    run:call("heartbeat", wid, 15000, table.unpack(run.queues))
    run.model:heartbeat()
    run:compare()
  end
end

-- The plan with the nodes that were added.
local function extend(run, plan, added, joins)
  local base = #plan.nodes
  for _, node in ipairs(added.nodes) do
    for _, edge in ipairs(node.after) do
      edge[2] = edge[2] + base
    end
    local i = plan:node(node)
    for _, join in ipairs(node.joins and joins or {}) do
      table.insert(join.node.after, { join.kind, i })
    end
  end
  run.model:extend(plan)
  return base
end

local function plan_of(run, id)
  for _, plan in ipairs(run.plans) do
    if plan.producer == id:sub(1, 12) then
      return plan
    end
  end
end

local function add(run, id, added)
  local plan, name = plan_of(run, id), ("a%d"):format(#run.additions + 1)
  local args = { plan.producer, envelope.number(id), name, #added.nodes,
    table.unpack(added:pieces()) }
  local verdict, joins = run.model:verdict_of_addition(id),
    run.model:joins(id)
  local reply = run:call("flow_add", table.unpack(args))
  run:check_reply("flow_add", reply[2], verdict)
  if verdict == 0 then
    local base = extend(run, plan, added, joins)
    run:check_reply("flow_add", reply[3], base)
    table.insert(run.additions, { args = args, base = base })
  end
  run:compare()
end

--- A task adds members, or what was added is added once more.
function actions.add(run)
  local before = run:one_in(3) and run.additions[1]
    and run.chance:pick(run.additions)
  local d = draw_delivery(run)
  if before then
    local reply = run:call("flow_add", table.unpack(before.args))
    run:check_reply("flow_add, repeated", reply[2] .. " " .. reply[3],
      "0 " .. before.base)
    run:compare()
  elseif d and #run.plan.nodes < GROWN_MAX then
    add(run, d.id, flow_draw.addition(run.chance, run.queues))
  end
end

-- A task sends the flow that is to end it, or dies while it does.
local function send_delegate(run, d)
  local name = ("deleg%d"):format(#run.delegates + 1)
  local plan = flow_draw.delegate(run.chance, run.queues, name, d.id)
  if not run:one_in(8) then
    run:call("flow", plan.producer, 3, #plan.nodes, plan.ttl_s, "", "", "",
      table.unpack(plan:pieces()))
    table.insert(run.plans, plan)
    run.model:seal(plan, run.model.now)
    run:compare()
  end
  table.insert(run.delegates, { d = d, producer = plan.producer })
end

--- A task sends a flow that is to end it, or says so.
function actions.delegate(run)
  local d = draw_delivery(run)
  if d and #run.delegates < DELEGATES_MAX and run:one_in(2) then
    send_delegate(run, d)
  end
  local one = run.delegates[1] and run.chance:pick(run.delegates)
  if one and not run:one_in(3) then
    actions.tell(run, one.d.wid, { { "w", one.d.field, one.producer } })
  end
end

return actions
