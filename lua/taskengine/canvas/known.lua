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

-- What the live workers say of themselves. Anything may stand there.
local function live_workers(way)
  local reply, list = way:ask("te1_status", {}), {}
  for _, row in ipairs(reply[WORKERS]) do
    local about = core.codec.decode(row[ABOUT])
    local is_alive = (tonumber(row[LEASE_END]) or 0) > reply[NOW]
    if is_alive and type(about) == "table" then
      list[#list + 1] = about
    end
  end
  return list
end

local function list_of(value)
  return type(value) == "table" and value or {}
end

local function serves(about, queue)
  for _, name in ipairs(list_of(about.queues)) do
    if name == queue then
      return true
    end
  end
  return false
end

-- The names that the workers of a queue list; nil when none serves it.
local function names_of(workers, queue)
  local names, is_served = {}, false
  for _, about in ipairs(workers) do
    if serves(about, queue) then
      is_served = true
      for name in pairs(list_of(about.tasks)) do
        if type(name) == "string" then
          names[name] = true
        end
      end
    end
  end
  return is_served and names or nil
end

-- Where the worker that lists a task has it.
local function queue_of(workers, name)
  for _, about in ipairs(workers) do
    local task = list_of(list_of(about.tasks)[name])
    if type(task.queue) == "string" then
      return task.queue
    end
  end
end

local function raise_unknown(name, queue, names)
  local list = {}
  for other in pairs(names) do
    list[#list + 1] = other
  end
  table.sort(list)
  errors.raise(errors.new {
    kind = "NotRegistered",
    name = name,
    message = ("no worker on the queue %s knows a task '%s'%s"):format(queue,
      name, suggest.hint(name, list)),
  })
end

local function check_name(workers, name, queue)
  local names = names_of(workers, queue)
  if names and not names[name] then
    raise_unknown(name, queue, names)
  end
end

--- Checks names.
-- @tparam Client way
-- @tparam {[string]=table,...} foreign name to a set of the queues that the
-- canvas says, with false where it says none
-- @treturn {[string]=string,...} name to the queue where those that the canvas
-- says none for belong
-- @raise TaskError of kind NotRegistered, BrokerUnavailable
function known.check(way, foreign)
  local workers, queues = live_workers(way), {}
  for name, said in pairs(foreign) do
    queues[name] = said[false] and (queue_of(workers, name) or message.QUEUE)
    for queue in pairs(said) do
      check_name(workers, name, queue or queues[name])
    end
  end
  return queues
end

return known
