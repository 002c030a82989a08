--- `taskengine env`: shell commands that let plain Lua find this taskengine.
-- @module taskengine.cli.env

local core = require("taskengine.core")
local exit = require("taskengine.cli.exit")
local places = require("taskengine.cli.places")

local env = {}

env.spec = {
  name = "env",
  usage = "env",
  about = "Prints shell commands that let lua5.4 find the module taskengine"
    .. " that belongs to this program. What the variables hold stays.",
  examples = {
    'eval "$(build/taskengine env)"; lua5.4 examples/11_first_task.lua',
  },
}

-- Lua reads the second only where the first is not set.
local function variable(name)
  local versioned = name .. "_5_4"
  return core.sys.getenv(versioned) and versioned or name
end

-- Without what is there already. An empty entry stands for Lua's own default.
local function with_entries(value, entries)
  local have, out = {}, {}
  for _, entry in ipairs(entries) do
    have[entry] = true
    out[#out + 1] = entry
  end
  for entry in (value or ""):gmatch("[^;]+") do
    if not have[entry] then
      out[#out + 1] = entry
    end
  end
  return table.concat(out, ";") .. ";;"
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function export(name, entries)
  name = variable(name)
  return ("export %s=%s\n"):format(name,
    quote(with_entries(core.sys.getenv(name), entries)))
end

--- Runs the command.
-- @treturn int the exit code
function env.run()
  local found = places.find()
  if not found then
    exit.raise(exit.FAILED, "the module that belongs to " .. places.program()
      .. " is not where it is expected",
      "make install puts both in place; a build tree has both as well")
  end
  io.write(export("LUA_PATH", {
    found.lua .. "/?.lua", found.lua .. "/?/init.lua",
  }), export("LUA_CPATH", {
    found.modules .. "/?.so",
  }))
  return exit.OK
end

return env
