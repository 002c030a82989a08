--- The live workers, and the tasks that they say they know.
--
-- What a worker says of itself came out of Redis: anything may be in there.
-- @module taskengine.cli.roster

local options = require("taskengine.options")

local roster = {}

local function list_of(value)
  return type(value) == "table" and value or {}
end

--- Those whose lease has not ended.
-- @tparam table status see @{taskengine.cli.link.status}
-- @treturn {table,...}
function roster.live(status)
  local live = {}
  for _, worker in ipairs(status.workers) do
    if worker.alive then
      live[#live + 1] = worker
    end
  end
  return live
end

local function serves(worker, queue)
  for _, name in ipairs(list_of(worker.about.queues)) do
    if name == queue then
      return true
    end
  end
  return false
end

--- Those that serve a queue.
-- @tparam {table,...} workers
-- @tparam string queue
-- @treturn {table,...}
function roster.serving(workers, queue)
  local serving = {}
  for _, worker in ipairs(workers) do
    if serves(worker, queue) then
      serving[#serving + 1] = worker
    end
  end
  return serving
end

-- Only options that an app could have given.
local function clean(about)
  local out = {}
  for name in pairs(options.TASK.known) do
    if about[name] ~= nil and options.accepts(options.TASK, name, about[name])
    then
      out[name] = about[name]
    end
  end
  return out
end

--- The options of a task.
-- @tparam {table,...} workers
-- @tparam string name
-- @treturn ?table nil when none of them knows it
function roster.find_task(workers, name)
  for _, worker in ipairs(workers) do
    local about = list_of(worker.about.tasks)[name]
    if type(about) == "table" then
      return clean(about)
    end
  end
end

--- The names of all tasks that they know, in order.
-- @tparam {table,...} workers
-- @treturn {string,...}
function roster.task_names(workers)
  local names, seen = {}, {}
  for _, worker in ipairs(workers) do
    for name in pairs(list_of(worker.about.tasks)) do
      if type(name) == "string" and not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

return roster
