--- From a canvas to a plan.
--
-- Each part is given what it waits for (a *feed*) and says where its results
-- come out (an *outlet*). The length of a chain is a loop here, only nesting
-- is recursion.
-- @module taskengine.canvas.compile

local caller = require("taskengine.caller")
local join = require("taskengine.arguments").join
local merge = require("taskengine.options").merge
local plan = require("taskengine.canvas.plan")

local compile = {}

--- How many tasks a canvas may have.
compile.NODES_MAX = 1000000

local DEPTH_MAX <const> = 500
local NOTHING <const> = {}

--- Checks how deep a part of a canvas lies. One may come to be a part of
-- itself, by a callback or in a table.
-- @tparam int depth 1 for the whole
-- @raise at the line of the caller's program when it is too deep
function compile.check_depth(depth)
  if depth > DEPTH_MAX then
    caller.raise(("the canvas is nested deeper than %d levels"):format(
      DEPTH_MAX))
  end
end

-- What is said of those that run first does not hold for the others.
local function behind_first(options)
  if not options or not (options.countdown or options.eta) then
    return options
  end
  local rest = {}
  for name, value in pairs(options) do
    rest[name] = value
  end
  rest.countdown, rest.eta = nil, nil
  return rest
end

-- What is not defined here may be nowhere: see taskengine.canvas.known.
local function note_foreign(self, task, options)
  if not task.run then
    local queue = options and options.queue
    self.foreign = self.foreign or {}
    self.foreign[task.name] = self.foreign[task.name] or {}
    self.foreign[task.name][queue or false] = true
  end
end

local function check_app(self, one)
  local app = one.task.app
  if not self.app then
    self.app, self.named = app, one.task.name
  elseif app ~= self.app then
    caller.raise(("the canvas mixes apps: '%s' belongs to %s, '%s' to %s;"
      .. " each has a broker of its own"):format(self.named,
      tostring(self.app), one.task.name, tostring(app)))
  end
end

local function check_size(self)
  if self.plan.count >= compile.NODES_MAX then
    caller.raise(("the canvas has more than %d tasks; pass lists to fewer"
      .. " tasks, as task:chunks does"):format(compile.NODES_MAX))
  end
end

local build = {} -- by kind

-- A feed from one outlet. A table that has names, or nothing in it, comes out
-- of one node.
local function feed_from(self, outlet, kind)
  local is_one = outlet.names or outlet.count == 0
  return { {
    outlet = is_one and self.plan:seal(outlet) or outlet,
    kind = kind or "f",
  } }
end

local function compile_part(self, one, feed, front, options)
  self.depth = self.depth + 1
  compile.check_depth(self.depth)
  local outlet = build[one.kind](self, one, feed, front, options)
  for _, callback in ipairs(one.links or NOTHING) do
    compile_part(self, callback, feed_from(self, outlet))
  end
  for _, callback in ipairs(one.errbacks or NOTHING) do
    compile_part(self, callback,
      feed_from(self, self.plan:seal(outlet), "e"))
  end
  self.depth = self.depth - 1
  return outlet
end

-- Returns the node of a call. A part's own options go before those of what it
-- is part of.
local function add_task(self, one, feed, front, options)
  check_app(self, one)
  check_size(self)
  options = merge(options, one.options)
  if options and options.unique then
    caller.raise(("'%s' cannot be unique in a canvas: each canvas has tasks of"
      .. " its own; leave unique away, or send it alone"):format(one.task.name))
  elseif feed and options and options.eta then
    caller.raise(("'%s' has an eta, but it runs behind others: a countdown"
      .. " begins when they have ended"):format(one.task.name))
  end
  note_foreign(self, one.task, options)
  local node = self.plan:add(one, options,
    not one.is_immutable and front or nil)
  if feed then
    self.plan:connect(node, feed, one.is_immutable)
  end
  return node
end

local function build_task(self, one, feed, front, options)
  return plan.one(add_task(self, one, feed, front, options))
end

local function build_chain(self, one, feed, front, options)
  front, options = join(front, one.front), merge(options, one.options)
  local outlet = compile_part(self, one.steps[1], feed, front, options)
  options = behind_first(options)
  for i = 2, one.count do
    outlet = compile_part(self, one.steps[i], feed_from(self, outlet), nil,
      options)
  end
  return outlet
end

-- A feed that so many wait for: a table comes out of one node.
local function spread(self, feed, count)
  if not feed or count < 2 then
    return feed
  end
  local shared = {}
  for i, part in ipairs(feed) do
    shared[i] = {
      outlet = part.outlet.count > 1 and self.plan:seal(part.outlet)
        or part.outlet,
      kind = part.kind,
      is_wide = true,
    }
  end
  return shared
end

local function add_nodes(list, outlet)
  for i = 1, outlet.count do
    list[#list + 1] = plan.node_at(outlet, i)
  end
end

local function build_group(self, one, feed, front, options)
  local members = one.members
  front, options = join(front, one.front), merge(options, one.options)
  feed = spread(self, feed, #members)
  local list = {}
  for _, member in ipairs(members) do
    if member.kind == "task" and not (member.links or member.errbacks) then
      list[#list + 1] = add_task(self, member, feed, front, options)
    else
      local outlet = compile_part(self, member, feed, front, options)
      -- A group right in a group is part of it.
      add_nodes(list, member.kind == "group" and outlet
        or self.plan:seal(outlet))
    end
  end
  local outlet = plan.several(list)
  outlet.feed = feed -- of a group without members
  return outlet
end

local function build_chord(self, one, feed, front, options)
  if not one.body then
    caller.raise("a chord has no body yet: te.chord(header, body), or call it"
      .. " with one")
  end
  front, options = join(front, one.front), merge(options, one.options)
  local outlet = compile_part(self, one.header, feed, front, options)
  return compile_part(self, one.body, feed_from(self, outlet), nil,
    behind_first(options))
end

-- What a node of a flow waits for.
local function feed_of(node, outlets)
  local feed = {}
  for i, entry in ipairs(node.after) do
    feed[i] = { outlet = outlets[entry.name], kind = entry.kind }
  end
  return feed
end

local function build_flow(self, one, feed, front, options)
  front, options = join(front, one.front), merge(options, one.options)
  feed = spread(self, feed, #one.nodes)
  local outlets, names, nodes, list = {}, {}, {}, {}
  local path = self.path
  for _, node in ipairs(one.nodes) do
    local is_first = #node.after == 0
    self.path = path .. node.name .. "."
    local outlet = compile_part(self, node.canvas,
      is_first and feed or not is_first and feed_of(node, outlets) or nil,
      is_first and front or nil,
      is_first and options or behind_first(options))
    outlets[node.name] = self.plan:seal(outlet)
    nodes[node.name] = outlets[node.name].first
    self.labels[nodes[node.name]] = path .. node.name
    if node.is_sink then
      names[#names + 1] = node.name
    end
  end
  self.path = path
  table.sort(names)
  for i, name in ipairs(names) do
    list[i] = nodes[name]
  end
  local outlet = plan.several(list)
  outlet.names, outlet.nodes = names, nodes
  return outlet
end

build.task, build.chain, build.group = build_task, build_chain, build_group
build.chord, build.flow = build_chord, build_flow

-- What the result of the whole is. A flow's sinks are asked for one by one.
local function add_result(self, one, outlet)
  local made = self.plan
  if one.kind == "flow" then
    made.result = { kind = "flow", outlet = outlet, names = outlet.names,
      nodes = outlet.nodes }
  elseif outlet.is_table or made.what[outlet.first] == plan.JOIN then
    made.result = {
      kind = "group",
      node = made:seal(outlet).first,
      outlet = outlet.is_table and outlet or plan.several({}),
    }
  else
    made.result = { kind = "one", node = outlet.first }
  end
end

-- As in a group: one right in it is part of it; if it has members.
local function join_all(self, one, outlet)
  local is_part = one.kind == "group" and outlet.count > 0
  outlet = is_part and outlet or self.plan:seal(outlet)
  for i = 1, outlet.count do
    self.plan:join(plan.node_at(outlet, i))
  end
end

--- Compiles a canvas.
-- @tparam Canvas one
-- @tparam[opt] table opts
-- @tparam[opt] boolean opts.delivers one node delivers the result to a task
-- outside
-- @tparam[opt] boolean opts.joins the results become members of a group that is
-- there
-- @treturn Plan with `app`; `foreign`, the names of tasks that are not defined
-- here, to a set of their queues, or false for none; `labels`, node to the name
-- that a flow has for it, behind that of the node in which the flow is and a
-- dot; and `result`: `kind` (`one`, `group` or `flow`), its `node`, the
-- `outlet` with the members, their `names`, and of all nodes of a flow name to
-- node (`nodes`)
-- @raise at the line of the caller's program when the parts do not fit
function compile.plan(one, opts)
  local self = {
    plan = plan.new(opts and opts.joins), depth = 0, labels = {}, path = "",
  }
  local outlet = compile_part(self, one)
  if opts and opts.delivers then
    outlet = self.plan:seal(outlet)
    self.plan:deliver(outlet.first)
  elseif opts and opts.joins then
    join_all(self, one, outlet)
  end
  add_result(self, one, outlet)
  self.plan.app = self.app
  self.plan.labels = next(self.labels) and self.labels or nil
  self.plan.foreign = self.foreign
  return self.plan
end

return compile
