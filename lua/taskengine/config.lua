--- Where settings come from, and which wins.
--
-- Later wins: the defaults, the app, a configuration file, the environment
-- (`TASKENGINE_BROKER` and so on), the command line.
-- @module taskengine.config

local check = require("taskengine.check")
local core = require("taskengine.core")
local failure = require("taskengine.failure")
local settings = require("taskengine.settings")
local suggest = require("taskengine.suggest")

local config = {}

local FILE <const> = "taskengine.conf.lua"

--- What the command line says; set by it before any app is made.
config.command_line = {}

local function known_names()
  local list = {}
  for name in pairs(settings.KNOWN) do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

--- What is wrong with a table of settings.
-- @tparam table given
-- @treturn ?string nil when nothing is
function config.problem(given)
  for name, value in next, given do
    local known = settings.KNOWN[name]
    if not known then
      local text = type(name) == "table" and check.describe(name)
        or tostring(name)
      return ("unknown setting '%s'%s"):format(text,
        suggest.hint(text, known_names()))
    end
    local problem = known.problem(value, name)
    if problem then
      return problem
    end
  end
end

-- Of a problem that does not name the file.
local function with_path(path, text)
  return text:find(path, 1, true) and text or ("%s: %s"):format(path, text)
end

-- What a file returned, without whatever its metatable says it is.
local function entries_of(given)
  local entries = {}
  for name, value in next, given do
    entries[name] = value
  end
  return entries
end

--- Reads a configuration file: a Lua file that returns a table.
-- @tparam string path
-- @treturn[1] table
-- @return[2] nil
-- @treturn[2] string what is wrong, with the file's name
function config.load(path)
  if path == "" then
    return nil, "the name of the configuration file is empty"
  end
  local chunk, problem = loadfile(path, "t")
  if not chunk then
    return nil, with_path(path, problem)
  end
  local ok, given = xpcall(chunk, failure.describe)
  if not ok then
    return nil, with_path(path,
      type(given) == "table" and given.message or tostring(given))
  elseif type(given) ~= "table" then
    return nil, ("%s: it has to return a table, not a %s"):format(path,
      type(given))
  end
  problem = config.problem(given)
  if problem then
    return nil, ("%s: %s"):format(path, problem)
  end
  return entries_of(given)
end

-- What a variable's text stands for.
local function from_text(known, name, text)
  if known.problem(text, name) and tonumber(text) then
    return tonumber(text)
  end
  return text
end

local PREFIX <const> = "TASKENGINE_"

-- Variables of ours that are no settings, behind the prefix.
local OTHER_VARIABLES <const> = {
  "CONFIG", "LUA_DIR", "PROGRAM", "EMBEDDED_LINGER",
}

-- What is wrong with the variables' names; nil when nothing is. What all of
-- them begin with makes none of them alike.
local function misnamed(names)
  local known, list = {}, { table.unpack(OTHER_VARIABLES) }
  for name in pairs(settings.KNOWN) do
    list[#list + 1] = name:upper()
  end
  for _, name in ipairs(list) do
    known[name] = true
  end
  for _, name in ipairs(names) do
    local rest = name:match("^" .. PREFIX .. "(.*)")
    if rest and not known[rest] then
      return ("there is no setting for the variable %s%s"):format(name,
        suggest.hint(rest, list, PREFIX))
    end
  end
end

local function read_environment(getenv, names)
  local given, unknown = {}, misnamed(names)
  if unknown then
    return nil, unknown
  end
  for name, known in pairs(settings.KNOWN) do
    local variable = PREFIX .. name:upper()
    local text = getenv(variable)
    if text then
      given[name] = from_text(known, name, text)
      local problem = known.problem(given[name], name)
      if problem then
        return nil, ("%s: %s"):format(variable, problem)
      end
    end
  end
  return given
end

-- The configuration file that is to be read, or nil.
local function file_path(sources)
  local named = sources.file or sources.getenv("TASKENGINE_CONFIG")
  if named then
    return named
  end
  return core.sys.stat(FILE) and FILE or nil
end

--- Puts all settings together.
-- @tparam[opt] table sources what to use in place of the real ones
-- @tparam[opt] table sources.app settings of the app
-- @tparam[opt] string sources.file path of the configuration file
-- @tparam[opt] function sources.getenv
-- @tparam[opt] {string,...} sources.variables the names that getenv knows
-- @tparam[opt] table sources.command_line
-- @treturn[1] table a value for each setting that has one
-- @return[2] nil
-- @treturn[2] string what is wrong, and where
function config.resolve(sources)
  sources = setmetatable(sources or {}, { __index = {
    app = {},
    file = config.command_line.file,
    getenv = core.sys.getenv,
    variables = core.sys.environment(),
    command_line = config.command_line.settings or {},
  } })
  local path, problem = file_path(sources), nil
  local file, environment = {}, nil
  if path then
    file, problem = config.load(path)
  end
  if file then
    environment, problem = read_environment(sources.getenv, sources.variables)
  end
  problem = problem or config.problem(sources.command_line)
  if problem then
    return nil, problem
  end
  local all = {}
  for name, known in pairs(settings.KNOWN) do
    all[name] = known.default
  end
  for _, layer in ipairs { sources.app, file, environment,
    sources.command_line } do
    for name, value in pairs(layer) do
      all[name] = value
    end
  end
  return all
end

return config
