--- All apps of this Lua state, in the order in which they were made.
-- @module taskengine.registry

local registry = {}

--- The apps.
registry.apps = {}

--- Adds an app.
-- @tparam App app
function registry.add(app)
  table.insert(registry.apps, app)
end

--- Every task of every app, by name.
-- @treturn[1] table name to @{taskengine.task.Task}
-- @return[2] nil
-- @treturn[2] string which name two tasks have, and where
function registry.tasks()
  local all = {}
  for _, app in ipairs(registry.apps) do
    for name, task in pairs(app.tasks) do
      if all[name] then
        return nil, ("two tasks are called '%s': at %s and at %s")
          :format(name, all[name].place, task.place)
      end
      all[name] = task
    end
  end
  return all
end

return registry
