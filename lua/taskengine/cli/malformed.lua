--- What stood in a queue and is no task, for `taskengine dead`.
--
-- Anything may be in there: nothing of it goes to a terminal but letters.
-- @module taskengine.cli.malformed

local confirm = require("taskengine.cli.confirm")
local core = require("taskengine.core")
local exit = require("taskengine.cli.exit")
local grid = require("taskengine.cli.grid")
local say = require("taskengine.cli.say")
local show = require("taskengine.cli.show")

local malformed = {}

local BATCH <const> = 100
local PREVIEW_BYTES <const> = 48
local DUMPED_BYTES_MAX <const> = 1024
local ROW_BYTES <const> = 16

-- Letters as they are, all else escaped. A backslash stays what it is: this is
-- to be looked at.
local function escaped(bytes)
  return (bytes:gsub("[%c\128-\255]", function(c)
    return ("\\x%02x"):format(c:byte())
  end))
end

-- All of them, the newest first: `bytes`, and an `id` that says which it is.
local function read_all(way, limit)
  local list, seen = {}, {}
  repeat
    local batch = way:ask("te1_malformed", { #list, BATCH })
    for _, bytes in ipairs(batch) do
      local id = core.sys.digest(bytes)
      list[#list + 1] = { id = id, bytes = bytes, is_again = seen[id] }
      seen[id] = true
    end
  until #batch < BATCH or #list >= limit
  return table.move(list, 1, math.min(#list, limit), 1, {})
end

local function fields_of(entry)
  return {
    id = entry.id,
    size = #entry.bytes,
    escaped = escaped(entry.bytes:sub(1, DUMPED_BYTES_MAX)),
  }
end

local function list(way, given)
  local entries = read_all(way, given.limit or math.huge)
  if given.json then
    local out = {}
    for i, entry in ipairs(entries) do
      out[i] = fields_of(entry)
    end
    show.json { malformed = out }
  elseif #entries == 0 then
    io.write("nothing malformed was found\n")
  else
    local rows = { { "id", "bytes", "begins with" } }
    for _, entry in ipairs(entries) do
      rows[#rows + 1] = { entry.id, tostring(#entry.bytes),
        escaped(entry.bytes:sub(1, PREVIEW_BYTES)) }
    end
    grid.write(rows, { [2] = true })
  end
  return exit.OK
end

local function dump(bytes)
  for at = 1, math.min(#bytes, DUMPED_BYTES_MAX), ROW_BYTES do
    local row = bytes:sub(at, at + ROW_BYTES - 1)
    local hex = row:gsub(".", function(c)
      return ("%02x "):format(c:byte())
    end)
    io.write(("%08x  %-48s |%s|\n"):format(at - 1, hex,
      (row:gsub("[^\x20-\x7e]", "."))))
  end
  if #bytes > DUMPED_BYTES_MAX then
    io.write(("... %d bytes more\n"):format(#bytes - DUMPED_BYTES_MAX))
  end
end

local function missing(id)
  exit.raise(exit.FAILED, ("nothing malformed has the id %s"):format(id),
    "taskengine dead list --malformed shows what there is")
end

local function find(entries, id)
  for _, entry in ipairs(entries) do
    if entry.id == id then
      return entry
    end
  end
  missing(id)
end

local function show_one(way, given)
  local entry = find(read_all(way, math.huge), given[2])
  if given.json then
    show.json(fields_of(entry))
  else
    io.write(("id     %s\nbytes  %d\n\n"):format(entry.id, #entry.bytes))
    dump(entry.bytes)
  end
  return exit.OK
end

-- Those that are meant: all, or those of the ids.
local function chosen(way, given)
  local entries, list_of = read_all(way, math.huge), {}
  for i = 2, #given do
    list_of[i - 1] = find(entries, given[i])
  end
  return given.all and entries or list_of
end

local function delete(way, given)
  local entries, dropped = chosen(way, given), 0
  if given.all and not given.yes and #entries > 0
    and not confirm.ask(("delete %d malformed for good"):format(#entries)) then
    say.note("nothing was deleted")
    return exit.FAILED
  end
  for _, entry in ipairs(entries) do
    if not entry.is_again then
      dropped = dropped + way:ask("te1_drop_malformed", { entry.bytes })
    end
  end
  if given.json then
    show.json { deleted = dropped }
  else
    io.write(("deleted %d\n"):format(dropped))
  end
  return exit.OK
end

local ACTIONS <const> = { list = list, show = show_one, delete = delete }

--- Runs the command.
-- @tparam function open makes the client
-- @tparam table given the options and, first, the action
-- @treturn int the exit code
function malformed.run(open, given)
  local act = ACTIONS[given[1]]
  if not act then
    exit.usage(("dead: what is malformed is no task, there is nothing to %s")
      :format(given[1]))
  end
  return act(open(given), given)
end

return malformed
