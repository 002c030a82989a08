--- A plan as te1_flow takes it, portion by portion.
--
-- Templates, edges and inputs are sent once each and named by a number. The
-- bytes of a node are made when its portion is, so that a plan of 100,000
-- nodes is never there twice.
-- @module taskengine.canvas.pieces

local arguments = require("taskengine.arguments")
local caller = require("taskengine.caller")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local header = require("taskengine.header")
local message = require("taskengine.message")
local plan = require("taskengine.canvas.plan")

local pieces = {}

-- Names of a flow's nodes that take more are not sent: they are to be shown,
-- and to find a node by (Flow:node).
local LABELS_BYTES_MAX <const> = 65536
-- Of one call, which is to take Redis a few milliseconds and to be enough for
-- a thousand nodes. A record that is larger goes alone.
local ARGS_MAX <const>, BYTES_MAX <const> = 1500, 512 * 1024
local TEMPLATES_MAX <const> = 65535
local DELAY_MS_MAX <const> = 4294967295
-- In a template: flags, and eight bytes of expiry.
local FLAGS_AT <const> = header.FLAGS_AT - header.ID_BYTES
local EXPIRY_AT <const> = header.EXPIRY_AT - header.ID_BYTES
local QUEUE_LENGTH_AT <const> = header.LENGTHS_AT - header.ID_BYTES
local QUEUE_AT <const> = header.NAMES_AT - header.ID_BYTES
local ERRBACK <const> = 0x80000000
-- Only its length matters.
local ANY_ID <const> = ("0"):rep(header.ID_BYTES)
local NOTHING <const> = {}

--- Pieces under way.
-- @type Pieces
local Pieces = {}
Pieces.__index = Pieces

--- Begins.
-- @tparam Plan made
-- @tparam table settings `message_bytes_max` and those of
-- @{taskengine.message.new}
-- @tparam ?table extra `r` and `p`, for every body
-- @tparam[opt] boolean is_addition they go to a flow that is there, which has
-- its labels
-- @treturn Pieces
function pieces.new(made, settings, extra, is_addition)
  return setmetatable({
    plan = made,
    labels = not is_addition and made.labels or nil,
    settings = settings,
    extra = extra,
    next = 1, -- node
    numbers = { t = {}, o = {}, i = {} }, -- bytes to number
    counts = { t = 0, o = 0, i = 0 },
    last = {}, -- what the record before begins with, and what that is made of
    special = NOTHING, -- the call with options that was made last
  }, Pieces)
end

-- The number of some bytes; they are sent when they are new.
local function intern(self, args, letter, bytes)
  if not bytes then
    return 0
  end
  local numbers = self.numbers[letter]
  local number = numbers[bytes]
  if not number then
    number = self.counts[letter] + 1
    self.counts[letter], numbers[bytes] = number, number
    local n = #args
    args[n + 1], args[n + 2], args[n + 3] = letter, number, bytes
    self.bytes = self.bytes + #bytes
  end
  return number
end

-- In a template the expiry counts from when the node may run.
local function with_expiry(template, expires)
  if expires == "" then
    return template
  end
  return template:sub(1, EXPIRY_AT - 1) .. string.pack(">I8", expires)
    .. template:sub(EXPIRY_AT + 8)
end

local function delay_ms(one)
  local delay, ms = one.delay, 0
  if delay:sub(1, 1) == "+" then
    ms = math.tointeger(delay:sub(2))
  elseif delay ~= "" then
    local now_ms = math.floor(core.sys.wall() * 1000)
    ms = math.max(0, math.tointeger(delay) - now_ms)
  end
  if ms > DELAY_MS_MAX then
    caller.raise(("'%s' is to wait for more than 49 days; in a canvas that is"
      .. " too long"):format(one.name))
  end
  return ms
end

local function keep_result(template)
  local flags = template:byte(FLAGS_AT) & ~core.envelope.NO_RESULT
  return template:sub(1, FLAGS_AT - 1) .. string.char(flags)
    .. template:sub(FLAGS_AT + 1)
end

-- Of a task that is not defined here only its queue is known. What is part of
-- a canvas is there once for each canvas, whatever the task says.
local function options_of(self, task)
  if not task.run then
    return { queue = self.plan.foreign[task.name] or nil }
  elseif not task.options.unique then
    return task.options
  end
  local options = {}
  for name, value in pairs(task.options) do
    options[name] = value
  end
  options.unique = nil
  return options
end

local function new_call(self, task, options)
  local one = message.new(task.name, options_of(self, task), options,
    self.settings)
  local template = with_expiry(one.template, one.expires)
  return {
    task = task,
    options = options,
    template = template,
    -- Like that of a node, but for its arguments.
    envelope = assert(core.envelope.pack(template, ANY_ID, NOTHING)),
    -- Of what somebody needs the result of.
    kept = one.keeps_result and template or keep_result(template),
    keeps_result = one.keeps_result,
    delay = delay_ms(one),
    headers = one.headers,
    retry = one.retry,
    memory_limit = one.memory_limit,
    is_special = one.is_special,
  }
end

--- What the message of a node is made of.
-- @tparam int node
-- @treturn table `keeps_result` and more
function Pieces:call(node)
  local task, options = self.plan.what[node].task, self.plan.options[node]
  if options then
    local last = self.special -- neighbours often have the same
    if last.task ~= task or last.options ~= options then
      self.special = new_call(self, task, options)
    end
    return self.special
  end
  -- Without options it is the same until the app is closed and has other
  -- settings; that of a task which is defined elsewhere, in this plan.
  local scope = task.run and self.settings or self.plan.foreign
  if task.node_call_for ~= scope then
    task.node_call = new_call(self, task, NOTHING)
    task.node_call_for = scope
  end
  return task.node_call
end

-- What goes into the body besides the arguments.
local function extra_of(self, one, call, node)
  local shape = self.plan.shape[node]
  local common = self.extra
  if not (shape or one.over or call.is_special) then
    return common
  end
  return {
    h = call.headers,
    i = shape,
    m = one.over,
    t = call.retry,
    b = call.memory_limit,
    r = common and common.r,
    p = common and common.p,
  }
end

local function body_of(self, one, call, node)
  local args = arguments.join(self.plan.front[node], one.args)
  local body, why, code = core.envelope.body(call.envelope, args,
    extra_of(self, one, call, node), self.settings.message_bytes_max)
  if not body then
    errors.raise(errors.cannot_travel(why, code, one.task.name))
  end
  return body
end

local function names_of(names)
  return names and assert(core.codec.encode(names, "names")) or ""
end

local function new_head(self, args, node, call, out)
  local made, number, delay = self.plan, 0, 0
  if call then
    number = intern(self, args, "t", out and call.kept or call.template)
    delay = call.delay
  end
  if number > TEMPLATES_MAX then
    errors.raise(errors.new {
      kind = "TooLarge",
      message = ("the canvas has tasks of more than %d kinds: names, queues"
        .. " and options"):format(TEMPLATES_MAX),
    })
  end
  local need = made.need[node] | (made.is_errback[node] and ERRBACK or 0)
  return string.pack(">I2I4I4I4I4", number, intern(self, args, "o", out), need,
    intern(self, args, "i", made.inputs[node]), delay)
end

-- What a record begins with: most have the same as the one before.
local function head_of(self, args, node, call)
  local made, last = self.plan, self.last
  local out, need, inputs = made:edges(node), made.need[node], made.inputs[node]
  local is_errback = made.is_errback[node]
  if last.call ~= call or last.out ~= out or last.need ~= need
    or last.inputs ~= inputs or last.is_errback ~= is_errback then
    last.call, last.out, last.need = call, out, need
    last.inputs, last.is_errback = inputs, is_errback
    last.head = new_head(self, args, node, call, out)
  end
  return last.head
end

local function record_of(self, args, node)
  local one = self.plan.what[node]
  if one == plan.JOIN then
    return head_of(self, args, node) .. names_of(self.plan.names[node])
  end
  local call = self:call(node)
  return head_of(self, args, node, call) .. body_of(self, one, call, node)
end

-- Runs of nodes that wait for nothing, among those from one on.
local function add_sources(args, need, first, last)
  local node = first
  while node <= last do
    if need[node] == 0 then
      local from = node
      while node < last and need[node + 1] == 0 do
        node = node + 1
      end
      local n = #args
      args[n + 1], args[n + 2], args[n + 3] = "s", from, node
    end
    node = node + 1
  end
end

local function add_labels(args, labels)
  local bytes = labels and core.codec.encode(labels, "names", LABELS_BYTES_MAX)
  if bytes then
    args[#args + 1], args[#args + 2] = "x", bytes
  end
end

--- Whether there is another portion.
-- @treturn boolean
function Pieces:has_more()
  return self.next <= self.plan.count
end

--- Where the tasks go that were made so far.
-- @treturn {[string]=boolean,...} set of queues
function Pieces:queues()
  local queues = {}
  for template in pairs(self.numbers.t) do
    local last = QUEUE_AT + template:byte(QUEUE_LENGTH_AT) - 1
    queues[template:sub(QUEUE_AT, last)] = true
  end
  return queues
end

--- Adds the next portion, of which there is one, to the arguments of te1_flow.
-- @tparam {string|int,...} args what goes in front of it
-- @treturn table the same
-- @raise TaskError of kind CannotTravel, TooLarge
function Pieces:portion(args)
  local first, count = self.next, self.plan.count
  local records, args_max = {}, #args + ARGS_MAX
  self.bytes = 0
  local node = first
  while node <= count and self.bytes < BYTES_MAX
    and #args + #records < args_max do
    local record = record_of(self, args, node)
    records[#records + 1] = record
    self.bytes = self.bytes + #record
    node = node + 1
  end
  self.next = node
  local n = #args
  args[n + 1], args[n + 2], args[n + 3] = "n", first, #records
  table.move(records, 1, #records, n + 4, args)
  add_sources(args, self.plan.need, first, node - 1)
  if first == 1 then
    add_labels(args, self.labels)
  end
  return args
end

return pieces
