--- Sends a canvas: its plan, portion by portion, and then the seal.
--
-- Nothing of it runs before the seal. A portion may be sent again without
-- changing anything, and so may the whole.
-- @module taskengine.canvas.send

local caller = require("taskengine.caller")
local compile = require("taskengine.canvas.compile")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local flow_result = require("taskengine.canvas.flow_result")
local group_result = require("taskengine.canvas.group_result")
local handle = require("taskengine.canvas.handle")
local header = require("taskengine.header")
local kin = require("taskengine.kin")
local known = require("taskengine.canvas.known")
local options = require("taskengine.options")
local pieces = require("taskengine.canvas.pieces")
local result = require("taskengine.result")
local tally = require("taskengine.tally")

local send = {}

-- Flags of te1_flow, and where it has these, the inbox and what that awaits.
local SEAL <const>, BEGIN <const> = 1, 2
local FLAGS <const>, INBOX <const>, AWAITED <const> = 2, 6, 7
-- In its reply the verdict that nothing was done.
local VERDICT <const>, DONE <const>, GONE <const> = 2, 0, 2
local BASE <const> = 3

local function copy_without_id(given)
  local opts = {}
  for name, value in pairs(given) do
    opts[name] = value
  end
  opts.task_id = nil
  return opts
end

-- A canvas takes the id of an earlier attempt to send it: its producer is in
-- there. An id of the caller's own can stand for one task only.
local function producer_of(task_id)
  if not task_id then
    return core.envelope.new_producer()
  elseif not core.envelope.seq(task_id) then
    caller.raise("task_id: a canvas is many tasks, as is a task with link or"
      .. " link_error, and none can have an id of the caller's own; here it is"
      .. " the id in the error of an earlier attempt")
  end
  return header.producer(task_id)
end

local function fail(problem, state)
  errors.raise(errors.unavailable(problem, {
    id = core.envelope.id(state.producer, state.plan.result.node
      or state.plan.count),
    -- What was not sealed never runs.
    indeterminate = problem.sent and state.is_sealing,
  }))
end

local function add_id(args, letter, id)
  if id then
    args[#args + 1], args[#args + 2] = letter, id
  end
end

-- The arguments of te1_flow for the next portion; nil when there is no more.
local function next_portion(state)
  return state.pieces:has_more() and state.pieces:portion {
    state.producer, 0, state.plan.count, state.way.settings.result_expires,
    state.name, "", "",
  } or nil
end

-- One portion. Returns whether it is told that somebody waits for the result.
local function transmit(state, args, flags, inbox)
  if flags & BEGIN ~= 0 then
    add_id(args, "d", state.delegate)
    add_id(args, "c", kin.parent())
  end
  args[FLAGS] = flags
  if inbox then
    args[INBOX], args[AWAITED] = inbox, state.plan.result.node
  end
  state.is_sealing = flags & SEAL ~= 0
  local reply, problem = state.way:try("te1_flow", args)
  if problem then
    fail(problem, state)
  elseif reply[VERDICT] == GONE then
    fail({ reason = "it took too long to send: Redis has dropped the first"
      .. " part of it", sent = false }, state)
  end
  return inbox ~= nil and reply[VERDICT] == DONE
end

-- Sends all portions; the last one seals. Who asks at once for the result of
-- what it sends is told without another question.
local function transmit_all(state)
  local way, node = state.way, state.plan.result.node
  local inbox, ahead
  if node then
    inbox, ahead = way.waits:anticipate()
  end
  local _ <close> = ahead
  local portion, flags = next_portion(state), BEGIN
  while portion do
    local following = next_portion(state)
    local is_last = following == nil
    local is_told = transmit(state, portion, flags | (is_last and SEAL or 0),
      is_last and inbox or nil)
    if is_last and node then
      way.waits:note_sent(core.envelope.id(state.producer, node), is_told)
    end
    portion, flags = following, 0
  end
end

-- The same for who counts what is sent.
local function transmit_and_tell(state)
  local listener, way = tally.listener, state.way
  if listener then
    listener:flow_begins(way.requests, state.producer, state.plan)
  end
  transmit_all(state)
  if listener then
    listener:flow_accepted(way.requests, state.producer, state.pieces:queues())
  end
end

local function result_of(state)
  local made, way = state.plan, state.way
  local whole = made.result
  local flow = handle.new(way, state.producer, state.base)
  if whole.kind == "group" then
    return group_result.new(flow, whole.node, whole.outlet,
      flow.base + made.count)
  elseif whole.kind == "flow" then
    return flow_result.new(flow, whole.names, whole.nodes, made.labels)
  end
  local id = flow:node_id(whole.node)
  local one = result.new(way, id, {
    name = made.what[whole.node].task.name,
    engine_id = id,
    keeps_result = state.pieces:call(whole.node).keeps_result,
  })
  one.flow = flow
  return one
end

-- Names that are not defined here are asked for, and get the queue where their
-- worker has them.
local function check_foreign(way, made)
  if made.foreign then
    made.foreign = known.check(way, made.foreign)
  end
end

local function send_plan(one, made, app, producer, delegate)
  local way = app:_client()
  check_foreign(way, made)
  local state = {
    way = way,
    plan = made,
    producer = producer,
    name = one.name or "",
    delegate = delegate,
    pieces = pieces.new(made, way.settings, app:_extra()),
  }
  transmit_and_tell(state)
  return state
end

local function check_app(what, made, app)
  if made.app and made.app ~= app then
    caller.raise(("%s a task of %s is of %s"):format(what, tostring(app),
      tostring(made.app)))
  end
end

--- Sends a canvas whose result is to be that of a task that runs.
-- @tparam Canvas one
-- @tparam App app the task's
-- @tparam string id the task's, the engine's
-- @treturn string the producer of the flow
-- @raise see @{taskengine.canvas.Canvas:apply_async}
function send.in_place_of(one, app, id)
  local made = compile.plan(one, { delivers = true })
  check_app("replace: what stands in for", made, app)
  local producer = core.envelope.new_producer()
  send_plan(one, made, app, producer, id)
  return producer
end

-- Nodes in one call of te1_flow_add, where that has the name of the addition,
-- and what it may say instead of 0.
local ADDED_MAX <const> = 1024
local NAME <const> = 3
local NO_MEMBER <const> = 1
local REFUSALS <const> = {
  [2] = { kind = "Revoked", message = "add: it is too late: the task has ended,"
    .. " or its workflow was revoked" },
  [3] = { kind = "TooLarge", message = "add: the group has grown as far as it"
    .. " can; add several members at once, as a group" },
}

-- Returns the number of nodes ahead of the new ones.
local function transmit_addition(way, args, id)
  local reply, problem = way:try("te1_flow_add", args)
  if problem then
    errors.raise(errors.unavailable(problem, {
      indeterminate = problem.sent,
    }))
  end
  local refusal = REFUSALS[reply[VERDICT]]
  if reply[VERDICT] == NO_MEMBER then
    caller.raise("add: the task is in a workflow, but no member of a group"
      .. " there, nor the last step of one")
  elseif refusal then
    errors.raise(errors.new { kind = refusal.kind, id = id,
      message = refusal.message })
  end
  return reply[BASE]
end

-- What a canvas comes to in which there is no task, and so no app that could
-- send it: it has no other shape than an empty table.
local function without_tasks(made)
  local whole = made.result
  if whole.kind == "flow" or whole.outlet.count > 0 then
    caller.raise("there is no task in this canvas, only groups without members:"
      .. " leave away what has nothing to do, or put a task into it")
  end
  return group_result.empty()
end

--- Sends a canvas whose results become members of the group of a task that
-- runs.
-- @tparam Canvas one
-- @tparam App app the task's
-- @tparam string id the task's, the engine's
-- @tparam function name gives what the addition is called: one of that name is
-- made once
-- @treturn Result|GroupResult|FlowResult
-- @raise see @{taskengine.bound.Self:add}
function send.beside(one, app, id, name)
  local made = compile.plan(one, { joins = true })
  check_app("add: what is added by", made, app)
  if not made.app then
    return without_tasks(made)
  end
  local way = app:_client()
  check_foreign(way, made)
  local parts = pieces.new(made, way.settings, app:_extra(), true)
  local args = parts:portion { header.producer(id), core.envelope.seq(id), "",
    made.count }
  if made.count > ADDED_MAX or parts:has_more() then
    errors.raise(errors.new { kind = "TooLarge", message = "add: this is too"
      .. " much for one call; add parts of up to 1,000 tasks, one by one" })
  end
  args[NAME] = name()
  return result_of {
    way = way,
    plan = made,
    producer = header.producer(id),
    base = transmit_addition(way, args, id),
    pieces = parts,
  }
end

-- A call of one task and nothing else is sent as such.
local function send_task(one, args, opts)
  local task = one.task
  local all = one:clone(args)
  local call = options.merge(one.options, opts)
  if not task.run then
    local queue = call and call.queue
    local queues = known.check(task.app:_client(),
      { [task.name] = { [queue or false] = true } })
    call = options.merge(call, { queue = queue or queues[task.name] })
  end
  return task.app:_send(task, all.args, call, one.over)
end

-- One task with callbacks is a canvas, too. Who has said that others like it
-- are the same task would get another one each time, without a word.
local function check_unique(one)
  local said = one.options and one.options.unique
  local is_unique = one.task.options.unique
  if said == nil and is_unique then
    caller.raise(("'%s' is unique, but what has link or link_error is a canvas,"
      .. " and made anew each time: send them from the task, or say unique ="
      .. " false for this call"):format(one.task.name))
  end
end

-- The canvas with what it was given; no task of it has the id.
local function with_given(one, args, given)
  if not (args or given) then
    return one
  end
  return one:clone(args, given and copy_without_id(given))
end

--- Sends a canvas.
-- @tparam Canvas one
-- @tparam ?table args arguments in front of those of what runs first
-- @tparam ?table opts
-- @treturn Result|GroupResult|FlowResult
-- @raise see @{taskengine.canvas.Canvas:apply_async}
function send.send(one, args, opts)
  local given = options.call("apply_async", args, opts)
  local callbacks = given and (given.link or given.link_error)
  if one.kind == "task" and not (one.links or one.errbacks or callbacks) then
    return send_task(one, args, given)
  end
  local whole = with_given(one, args, given)
  if one.kind == "task" then
    check_unique(whole)
  end
  local made = compile.plan(whole)
  if not made.app then
    return without_tasks(made)
  end
  return result_of(send_plan(whole, made, made.app,
    producer_of(given and given.task_id)))
end

return send
