--- `taskengine env`: shell commands that let plain Lua find this taskengine.
-- @module taskengine.cli.env

local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local exit = require("taskengine.cli.exit")
local places = require("taskengine.cli.places")
local show = require("taskengine.cli.show")

local env = {}

env.spec = {
  name = "env",
  usage = "env [OPTIONS]",
  about = "Prints shell commands that let lua5.4 find the module taskengine"
    .. " that belongs to this program. What the variables hold stays.",
  options = { common.JSON },
  examples = {
    'eval "$(build/taskengine env)"; lua5.4 examples/11_first_task.lua',
    "taskengine env --json",
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

-- Names and values, in the order in which they are shown.
local function variables(found)
  local list = {}
  for i, entry in ipairs {
    { "LUA_PATH", found.lua .. "/?.lua", found.lua .. "/?/init.lua" },
    { "LUA_CPATH", found.modules .. "/?.so" },
  } do
    local name = variable(entry[1])
    list[i] = {
      name = name,
      value = with_entries(core.sys.getenv(name),
        { table.unpack(entry, 2) }),
    }
  end
  return list
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function env.run(given)
  local found = places.find()
  if not found then
    exit.raise(exit.FAILED, "the module that belongs to " .. places.program()
      .. " is not where it is expected",
      "make install puts both in place; a build tree has both as well")
  end
  local object = {}
  for _, one in ipairs(variables(found)) do
    object[one.name] = one.value
    if not given.json then
      io.write(("export %s=%s\n"):format(one.name, quote(one.value)))
    end
  end
  if given.json then
    show.json(object)
  end
  return exit.OK
end

return env
