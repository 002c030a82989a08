-- Exercise 10: an application and its configuration.
--
--     taskengine run examples/10_configuration.lua
--     lua5.4 examples/10_configuration.lua
--
-- With no broker named, a private Redis starts by itself: nothing has to be
-- installed as a service. TASKENGINE_BROKER=redis://localhost:6379/0 in front
-- of either command uses that one instead; it wins over what is written here,
-- as every TASKENGINE_* variable, the configuration file and the command line
-- do.

local te = require("taskengine")

local app = te.app("tasks")

app:configure {
  timezone = "Europe/Paris",
  result_expires = 3600, -- seconds for which results are kept
  broker_timeout = 5, -- seconds after which an unreachable Redis is an error
}

app:main(function()
  local settings = assert(app:settings())
  local names = {}
  for name in pairs(settings) do
    if name ~= "broker" then -- its URL may hold a password
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    print(("%-17s %s"):format(name, settings[name]))
  end

  -- Whoever asks for a task that was never sent learns that Redis answers.
  print("Redis answers: " .. app:result("no-such-task"):state())
end)

return app
