--- Whether there is anybody who can run a task that is known by its name only.
--
-- A name is unknown when its queue is served, and none of the workers that
-- serve it lists the name; the command `call` has the same rule.
-- @module taskengine.canvas.known

local core = require("taskengine.core")
local errors = require("taskengine.errors")
local message = require("taskengine.message")
local suggest = require("taskengine.suggest")

local known = {}

-- In the reply of te1_status, and in a worker's row there.
local NOW <const>, WORKERS <const> = 1, 6
local LEASE_END <const>, ABOUT <const> = 2, 4

-- For so many seconds what the workers said is taken for a yes. A no is never
-- said of it: a worker may have started meanwhile.
local FRESH_S <const> = 1

-- client to what its last question has brought, see survey
local last = setmetatable({}, { __mode = "k" })

local function list_of(value)
  return type(value) == "table" and value or {}
end

local function add_worker(seen, about)
  local tasks = list_of(about.tasks)
  for _, queue in ipairs(list_of(about.queues)) do
    if type(queue) == "string" then
      local names = seen.names[queue] or {}
      for name in pairs(tasks) do
        names[name] = true
      end
      seen.names[queue] = names
    end
  end
  for name, task in pairs(tasks) do
    local queue = list_of(task).queue
    if type(queue) == "string" then
      seen.queues[name] = seen.queues[name] or queue
    end
  end
end

-- What the live workers say of themselves: `names`, for each queue that is
-- served the names that its workers list, and `queues`, where a name belongs.
-- Anything may stand there.
local function survey(way)
  local reply = way:ask("te1_status", {})
  local seen = { names = {}, queues = {} }
  for _, row in ipairs(reply[WORKERS]) do
    local about = core.codec.decode(row[ABOUT])
    local is_alive = (tonumber(row[LEASE_END]) or 0) > reply[NOW]
    if is_alive and type(about) == "table" then
      add_worker(seen, about)
    end
  end
  seen.fresh_until = core.sys.monotonic() + FRESH_S
  return seen
end

local function unknown(name, queue, names)
  local list = {}
  for other in pairs(names) do
    if type(other) == "string" then
      list[#list + 1] = other
    end
  end
  table.sort(list)
  return errors.new {
    kind = "NotRegistered",
    name = name,
    message = ("no worker on the queue %s knows a task '%s'%s"):format(queue,
      name, suggest.hint(name, list)),
  }
end

-- Returns the queues, nil, and whether somebody serves each of these; or nil
-- and the error.
local function judge(seen, foreign)
  local queues, is_served = {}, true
  for name, said in pairs(foreign) do
    queues[name] = said[false] and (seen.queues[name] or message.QUEUE)
    for queue in pairs(said) do
      queue = queue or queues[name]
      local names = seen.names[queue]
      if names and not names[name] then
        return nil, unknown(name, queue, names)
      end
      is_served = is_served and names ~= nil
    end
  end
  return queues, nil, is_served
end

--- Checks names.
-- @tparam Client way
-- @tparam {[string]=table,...} foreign name to a set of the queues that the
-- canvas says, with false where it says none
-- @treturn {[string]=string,...} name to the queue where those that the canvas
-- says none for belong
-- @raise TaskError of kind NotRegistered, BrokerUnavailable
function known.check(way, foreign)
  local seen = last[way]
  if seen and core.sys.monotonic() < seen.fresh_until then
    local queues, _, is_served = judge(seen, foreign)
    if is_served then
      return queues
    end
  end
  seen = survey(way)
  last[way] = seen
  local queues, problem = judge(seen, foreign)
  if problem then
    errors.raise(problem)
  end
  return queues
end

return known
