--- Work that is described before it is sent: signatures, and what is made of
-- them.
--
--    local job = te.chain(add:s(4, 6), add:s(10)) | add:s(5)
--    print(job():get()) --> 25
--
-- A *signature* is one call of a task. Chains, groups, chords and flows are
-- made of signatures, and of one another. Nothing happens until one is sent:
-- it becomes a plan (@{taskengine.canvas.compile}) that is stored in Redis
-- once, and goes on there whatever becomes of who has sent it.
-- @module taskengine.canvas

local arguments = require("taskengine.arguments")
local caller = require("taskengine.caller")
local check = require("taskengine.check")
local graph = require("taskengine.canvas.graph")
local options = require("taskengine.options")
local send = require("taskengine.canvas.send")
local stored = require("taskengine.canvas.stored")

local canvas = {}

local Canvas = {
  __name = "taskengine.Canvas",
  __cannot_travel = "a canvas cannot be sent; to_table() makes a table of"
    .. " it that can, and app:signature(table) a canvas of that",
}
Canvas.__index = Canvas

--- Whether a value is one.
-- @param value anything
-- @treturn boolean
function canvas.is(value)
  return getmetatable(value) == Canvas
end

local function make(fields)
  return setmetatable(fields, Canvas)
end

-- What was given instead of a canvas.
local function describe(value)
  if require("taskengine.task").is(value) then
    return ("%s; a call of it is written %s:s(...)"):format(tostring(value),
      value.name)
  end
  return check.describe(value)
end

--- Checks that a value is a canvas.
-- @tparam string what its name, for messages
-- @param value anything
-- @raise at the line of the caller's program
function canvas.check(what, value)
  if not canvas.is(value) then
    caller.raise(("%s: a signature, chain, group, chord or flow expected,"
      .. " got %s"):format(what, describe(value)))
  end
end

--- How long a list is. What is no list would lose a part without a word.
-- @tparam string what its name, for messages
-- @tparam table list elements, and perhaps their number in `n`; there may be
-- holes
-- @treturn int
-- @raise when there is something else in it
function canvas.length(what, list)
  local n = math.tointeger(list.n) or 0
  for key in pairs(list) do
    if math.type(key) == "integer" and key >= 1 then
      n = math.max(n, key)
    elseif key ~= "n" then
      caller.raise(("%s: a list expected, but it has a field '%s'"):format(what,
        tostring(key)))
    end
  end
  return n
end

-- A list of canvases that was given as one table or as several arguments.
local function list_of(what, ...)
  local list, n = { ... }, select("#", ...)
  local first = list[1]
  if n == 1 and type(first) == "table" and not canvas.is(first) then
    if getmetatable(first) ~= nil then
      canvas.check(what, first)
    end
    n = canvas.length(what, first)
    list = table.move(first, 1, n, 1, {})
  end
  for i = 1, n do
    if not canvas.is(list[i]) then
      canvas.check(("%s: element %d"):format(what, i), list[i])
    end
  end
  return list
end

--- Makes a signature.
-- @tparam table task `app`, `name`, `options`: a task, or what stands for one
-- that is defined elsewhere
-- @tparam table args its arguments, `args.n` of them
-- @tparam[opt] boolean is_immutable it takes no results
-- @treturn Canvas
function canvas.signature(task, args, is_immutable)
  return make { kind = "task", task = task, args = args,
    is_immutable = is_immutable or nil }
end

--- Makes a chain: each gets the result of the one before as first argument.
-- @param ... canvases, or one list of them
-- @treturn Canvas
-- @raise when one of them is none, or there is none
function canvas.chain(...)
  local list = list_of("chain", ...)
  if #list == 0 then
    caller.raise("chain: at least one signature expected")
  end
  return make { kind = "chain", steps = list, count = #list }
end

--- Makes a group: all of them run beside each other, their results are a table
-- in the same order, with their number in `n`.
-- @param ... canvases, or one list of them; there may be none
-- @treturn Canvas
-- @raise when one of them is no canvas
function canvas.group(...)
  return make { kind = "group", members = list_of("group", ...) }
end

local function check_header(header)
  local is_list = type(header) == "table" and getmetatable(header) == nil
  if is_list then
    return canvas.group(header)
  elseif not canvas.is(header) or header.kind ~= "group" then
    caller.raise("chord: its first part has to be a group, got "
      .. (canvas.is(header) and "a " .. header.kind or describe(header)))
  end
  return header
end

--- Makes a chord: a group, and a body that runs when all of it has ended, with
-- the table of its results as first argument. It is the same as
-- `group | body`.
-- @tparam Canvas|{Canvas,...} header
-- @tparam[opt] Canvas body without it, calling the chord with one sends it
-- @treturn Canvas
-- @raise when the header is no group, or the body no canvas
function canvas.chord(header, body)
  header = check_header(header)
  if body ~= nil then
    canvas.check("chord: the body", body)
  end
  return make { kind = "chord", header = header, body = body }
end

--- Makes a flow: any graph of named nodes.
--
--    te.flow { name = "etl", nodes = {
--      a = { load:s() },
--      b = { parse:s(), after = { "a" } },
--      c = { save:s(), after = { "b", a = "ignore" } },
--    } }
--
-- A node gets the results of those in `after` in front of its own arguments,
-- in that order, those with a policy last, by name. The policy says what
-- becomes of the node when the one before fails: `fail` (it fails, too), which
-- is the default; `continue` (it runs and gets the error in place of the
-- result); `ignore` (it runs and gets nil).
-- @tparam table about
-- @tparam[opt] string about.name for people
-- @tparam table about.nodes name to `{ canvas, after = { ... } }`
-- @treturn Canvas
-- @raise when a node is not as it must be, waits for one that is missing, or
-- for itself
function canvas.flow(about)
  local nodes, problem = graph.read(about, canvas.is, describe)
  if not nodes then
    caller.raise("flow: " .. problem)
  end
  return make { kind = "flow", name = about.name, nodes = nodes }
end

local function copy_list(list)
  return list and table.move(list, 1, #list, 1, {})
end

-- What every kind has besides its own.
local function copy(self)
  local other = {}
  for name, value in pairs(self) do
    other[name] = value
  end
  other.links, other.errbacks = copy_list(self.links), copy_list(self.errbacks)
  return make(other)
end

-- Puts arguments in front of those of all that runs first.
local function fill(self, front)
  if self.kind == "task" then
    if not self.is_immutable then
      self.args = arguments.join(front, self.args)
    end
  else
    self.front = arguments.join(front, self.front)
  end
end

--- Whether a canvas has something of its own besides its parts, so that it
-- cannot be taken apart.
-- @tparam Canvas self
-- @treturn boolean
function canvas.is_marked(self)
  return (self.links or self.errbacks or self.options or self.front) ~= nil
end

--- What can be sent as a whole.
-- @type Canvas
-- @tfield string kind `task`, `chain`, `group`, `chord` or `flow`

--- A copy.
-- @tparam[opt] table args arguments that go in front of those that it has
-- @tparam[opt] table opts as for @{Canvas:set}
-- @treturn Canvas
-- @raise when an option is unknown or wrong
function Canvas:clone(args, opts)
  if args ~= nil and type(args) ~= "table" then
    caller.raise(check.problem("clone: arguments", check.table, args))
  end
  local other = copy(self)
  if args and (args.n or #args) > 0 then
    fill(other, args)
  end
  return opts and other:set(opts) or other
end

local function attach(self, field, what, ...)
  local given = ...
  if type(given) ~= "table" then
    canvas.check(what, given)
  end
  local list = list_of(what, ...)
  if #list == 0 then
    canvas.check(what, given)
  end
  local there = self[field] or {}
  self[field] = table.move(list, 1, #list, #there + 1, there)
end

--- Sets options: those of @{taskengine.task.Task:apply_async}. What is made of
-- several tasks hands them on to each of them that has no such option itself;
-- `countdown` and `eta` to those that run first. What is set later goes before
-- what was set: also `eta` before `countdown`, and `deadline` before `expires`.
-- @tparam table opts
-- @treturn Canvas itself
-- @raise when an option is unknown or wrong
function Canvas:set(opts)
  local checked = options.call("set", nil, opts) or {}
  if checked.task_id then
    caller.raise("set: task_id: what is in a canvas has no id of the caller's"
      .. " own")
  end
  local own = {}
  for name, value in pairs(checked) do
    if name == "link" then
      attach(self, "links", "link", value)
    elseif name == "link_error" then
      attach(self, "errbacks", "link_error", value)
    else
      own[name] = value
    end
  end
  if next(own) then
    self.options = options.merge(self.options, own)
  end
  return self
end

--- Adds what is to run, with the result in front, when this has succeeded. It
-- changes nothing about the result of this.
-- @param ... canvases, or one list of them
-- @treturn Canvas itself
-- @raise when one of them is none, or there is none
function Canvas:link(...)
  attach(self, "links", "link", ...)
  return self
end

--- Adds what is to run, once, when this has failed, or cannot run because what
-- it needs has failed: it gets the error, a table like
-- @{taskengine.errors.TaskError}, as first argument.
-- @param ... canvases, or one list of them
-- @treturn Canvas itself
-- @raise when one of them is none, or there is none
function Canvas:link_error(...)
  attach(self, "errbacks", "link_error", ...)
  return self
end

--- The same as @{Canvas:link_error}.
-- @param ... canvases, or one list of them
-- @treturn Canvas itself
-- @raise when one of them is none, or there is none
function Canvas:on_error(...)
  attach(self, "errbacks", "on_error", ...)
  return self
end

local is_delay = options.CALL.known.countdown

local function check_delay(what, seconds)
  if not is_delay(seconds) then
    caller.raise(check.problem("skew: " .. what, is_delay, seconds))
  end
end

--- Lets the members of a group begin one after the other.
-- @tparam[opt=0] number start seconds before the first begins
-- @tparam[opt=1] number step seconds from one to the next
-- @treturn Canvas itself
-- @raise when this is no group, or that is no time
function Canvas:skew(start, step)
  if self.kind ~= "group" then
    caller.raise("skew: a group has members that it can stagger, a "
      .. self.kind .. " has none")
  end
  start, step = start or 0, step or 1
  check_delay("start", start)
  check_delay("step", step)
  check_delay("the last one's countdown",
    start + math.max(0, #self.members - 1) * step)
  local members = {} -- a copy of this group keeps its own
  for i, member in ipairs(self.members) do
    members[i] = member:clone(nil, { countdown = start + (i - 1) * step })
  end
  self.members = members
  return self
end

local function is_open_chain(one)
  return one.kind == "chain" and not canvas.is_marked(one)
end

-- Chains that grow step by step share one list: each takes `count` of it. Only
-- the one that ends where the list does may add to it in place.
local function append(one, step)
  local steps = one.steps
  if #steps ~= one.count then
    steps = table.move(steps, 1, one.count, 1, {})
  end
  local count = one.count
  if is_open_chain(step) then
    table.move(step.steps, 1, step.count, count + 1, steps)
    count = count + step.count
  else
    count = count + 1
    steps[count] = step
  end
  return make { kind = "chain", steps = steps, count = count }
end

--- `a | b` is the chain of both.
-- @tparam Canvas one
-- @tparam Canvas other
-- @treturn Canvas
-- @raise when one of them is no canvas
function Canvas.__bor(one, other)
  canvas.check("|: the left side", one)
  canvas.check("|: the right side", other)
  local first = is_open_chain(one) and one
    or make { kind = "chain", steps = { one }, count = 1 }
  return append(first, other)
end

--- Sends it to the workers.
-- @tparam[opt] table args arguments in front of those that it has; what takes
-- no results takes none of these either
-- @tparam[opt] table opts as for @{Canvas:set}; and `task_id`, the id in a
-- BrokerUnavailable error of this very canvas: sending it again with that
-- never makes it twice
-- @treturn Result|GroupResult|FlowResult
-- @raise TaskError of kind CannotTravel, TooLarge, BrokerUnavailable,
-- NotRegistered; an error when what it is made of does not fit together
function Canvas:apply_async(args, opts)
  return send.send(self, args, opts)
end

-- Arguments as a list; nil when there are none.
local function list_of_args(...)
  return select("#", ...) > 0 and table.pack(...) or nil
end

--- Sends it to the workers.
-- @param ... arguments in front of those that it has
-- @treturn Result|GroupResult|FlowResult
-- @raise as @{Canvas:apply_async}
function Canvas:delay(...)
  return self:apply_async(list_of_args(...))
end

--- Sends it to the workers, as @{Canvas:delay} does. A chord without a body
-- takes that as its first argument.
-- @param ... arguments in front of those that it has
-- @treturn Result|GroupResult|FlowResult
-- @raise as @{Canvas:apply_async}
function Canvas:__call(...)
  if self.kind == "chord" and not self.body then
    local body = ...
    canvas.check("chord: the body", body)
    local whole = copy(self)
    whole.body = body
    return whole:apply_async(list_of_args(select(2, ...)))
  end
  return self:apply_async(list_of_args(...))
end

--- A plain table of it, to be stored; @{taskengine.app.App:signature} makes a
-- canvas of that again. Arguments that are nil are `te.null` there.
-- @treturn table
-- @raise when it is nested deeper than what can be sent
function Canvas:to_table()
  return stored.write(self)
end

local function count_of(self)
  return self.count or self.members and #self.members
end

--- For people.
-- @treturn string
function Canvas:__tostring()
  if self.kind == "task" then
    return "signature of " .. self.task.name
  end
  local count = count_of(self)
  return count and ("%s of %d"):format(self.kind, count) or self.kind
end

caller.guard_methods(Canvas, "canvas")

return canvas
