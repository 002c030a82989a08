--- What recipes share.
-- @module recipe

local sys = require("taskengine.core").sys

local recipe = {}

--- What a call returns; when it is nil and why, that is raised.
function recipe.try(...)
  local value, why = ...
  if not value then
    error(why, 0)
  end
  return ...
end

--- A C module of `native/`, which may not have been built.
-- @tparam string name
-- @treturn table
-- @raise what is to be done about it
function recipe.native(name)
  local is_there, found = pcall(require, "native." .. name)
  if is_there then
    return found
  end
  local why = found:find("^module .- not found:") and "is not there"
    or "cannot be loaded: " .. found:match("[^\n]*$")
  error("its C module " .. why .. "; `make` in the sources builds it", 0)
end

--- The text of a command line: its options, and what is none in a list. Behind
-- `--` there are none.
-- @tparam {string,...} args
-- @tparam {[string]=function,...} options by their words: what makes a value of
-- the text that follows
-- @tparam function refuse gets a text of `string.format`, and does not return
-- @tparam[opt] int most operands that are expected
-- @treturn table the values, by the words without `--`
function recipe.read(args, options, refuse, most)
  local asked, i, are_over = {}, 1, false
  while args[i] do
    local word = args[i]
    local option = not are_over and options[word]
    if option then
      i = i + 1
      asked[word:sub(3)] = option(args[i]
        or refuse("%s: its value is missing", word))
    elseif word == "--" and not are_over then
      are_over = true
    elseif #asked == most or not are_over and word:find("^%-%-") then
      refuse("unknown argument '%s'", word)
    else
      table.insert(asked, word)
    end
    i = i + 1
  end
  return asked
end

--- Prints how a recipe is used, and ends, when its arguments ask for that.
-- @tparam {string,...} args
-- @tparam string usage
function recipe.help(args, usage)
  for _, word in ipairs(args) do
    if word == "--" then
      return
    elseif word == "--help" then
      io.write(usage)
      os.exit(0, true)
    end
  end
end

--- The folder of a path, and its name in there.
-- @tparam string path
-- @treturn string
-- @treturn string
function recipe.split(path)
  local folder, name = path:match("^(.*)/(.*)$")
  if not folder then
    return ".", path
  end
  return folder == "" and "/" or folder, name
end

--- A pattern that matches this text.
-- @tparam string text
-- @treturn string
function recipe.literal(text)
  return (text:gsub("%p", "%%%0"))
end

-- Whether a process runs. One that has ended and was not reaped does not: in a
-- container whose first process reaps nobody such a number is taken for ever.
local function is_alive(pid)
  if not sys.stat("/proc/" .. pid) then
    return false
  end
  local file <close> = io.open(("/proc/%s/stat"):format(pid), "rb")
  -- Its name stands in parentheses, and may have some itself.
  local state = (file and file:read("a") or ""):match("^.*%) (%a)")
  return state ~= "Z" and state ~= "X"
end

--- What processes of this machine have left in a folder that were killed. The
-- names are what comes `before`, the name of the machine, - and the number of
-- the process, and what comes `after`.
-- @tparam string folder
-- @tparam string before a pattern
-- @tparam string after a pattern
-- @treturn {string,...} paths
function recipe.left(folder, before, after)
  local pattern = ("^%s%s%%-(%%d+)%s$"):format(before,
    recipe.literal(sys.hostname()), after)
  local paths = {}
  for _, name in ipairs(sys.list(folder) or {}) do
    local pid = name:match(pattern)
    if pid and not is_alive(pid) then
      table.insert(paths, folder .. "/" .. name)
    end
  end
  return paths
end

--- What was sent and has not ended, in a file: ids in places of their own.
-- @type Sent
local Sent = {}
Sent.__index = Sent

--- Makes the file in which a run says what it has sent, so that whoever comes
-- after a kill -9 can end that: @{recipe.revoke}.
-- @tparam string path
-- @treturn[1] Sent
-- @treturn[2] nil
-- @treturn[2] string why it cannot be written
function recipe.sent(path)
  local file, why = io.open(path, "wb")
  if not file then
    return nil, why
  end
  return setmetatable({ path = path, file = file }, Sent)
end

--- Puts an id in a place, instead of what has ended there.
-- @tparam int place from 1; as many as there are at once
-- @tparam string id of a workflow
function Sent:note(place, id)
  recipe.try(self.file:seek("set", (place - 1) * (#id + 1)))
  recipe.try(self.file:write(id, "\n"))
  recipe.try(self.file:flush())
end

-- After an error there may be some that go on.
function Sent:__close(problem)
  self.file:close()
  if not problem then
    os.remove(self.path)
  end
end

local ID <const> = ("[%w_-]"):rep(20)

--- Revokes the workflows whose ids are in a file, if it is there: what has not
-- ended of them, as nobody waits for it any more.
-- @tparam App app
-- @tparam string path
-- @raise TaskError of kind BrokerUnavailable
function recipe.revoke(app, path)
  local file <close> = io.open(path, "rb")
  local ids = {}
  for id in (file and file:read("a") or ""):gmatch(ID) do
    table.insert(ids, id)
  end
  app:revoke(ids)
end

return recipe
