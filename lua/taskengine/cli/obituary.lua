--- What there is to say of a dead task, for people and for programs.
-- @module taskengine.cli.obituary

local core = require("taskengine.core")
local grid = require("taskengine.cli.grid")
local say = require("taskengine.cli.say")
local show = require("taskengine.cli.show")

local obituary = {}

local MESSAGE_BYTES <const> = 60
local ARGUMENTS_BYTES_MAX <const> = 4096

-- On one line, no longer than that, cut between letters.
local function short(text, bytes_max)
  text = grid.text(text)
  if #text <= bytes_max then
    return text
  end
  local at = bytes_max
  while at > 0 and text:byte(at + 1) & 0xc0 == 0x80 do
    at = at - 1
  end
  return text:sub(1, at) .. "..."
end

local function time_text(seconds)
  local ok, text = pcall(os.date, "%Y-%m-%d %H:%M:%S",
    math.floor(seconds))
  return ok and text or "-"
end

--- Writes a table of them.
-- @tparam {DeadTask,...} entries
function obituary.list(entries)
  local rows = { { "id", "task", "queue", "died", "kind", "message" } }
  for _, entry in ipairs(entries) do
    rows[#rows + 1] = {
      grid.text(entry.id), grid.text(entry.name), grid.text(entry.queue),
      time_text(entry.died), short(entry.kind, MESSAGE_BYTES),
      short(entry.message, MESSAGE_BYTES),
    }
  end
  grid.write(rows, {})
end

--- What a list says of one, for JSON.
-- @tparam DeadTask entry
-- @treturn table
function obituary.fields(entry)
  return {
    id = entry.id, engine_id = entry.engine_id, name = entry.name,
    queue = entry.queue, priority = entry.priority, kind = entry.kind,
    message = entry.message, sent = entry.sent, died = entry.died,
    retries = entry.retries, deaths = entry.deaths, reaps = entry.reaps,
    deliveries = entry.deliveries, size = entry.size,
  }
end

-- As JSON an array has null where nil stands.
local function array_of(args)
  local out = {}
  for i = 1, args.n do
    out[i] = args[i] == nil and core.codec.null or args[i]
  end
  return out
end

--- All that there is to say of one, for JSON.
-- @tparam DeadTask entry
-- @tparam table details see @{taskengine.dead.DeadTask:details}
-- @treturn table
function obituary.whole(entry, details)
  local out = obituary.fields(entry)
  out.traceback = entry.traceback
  out.value = show.error_fields(entry.error).value
  out.arguments = details.args and array_of(details.args)
  out.problem = details.problem
  out.history = details.history
  return out
end

local function arguments_text(details)
  if not details.args then
    return "cannot be read: " .. details.problem
  end
  local ok, text = pcall(show.text, array_of(details.args))
  return ok and short(text, ARGUMENTS_BYTES_MAX) or "cannot be shown as JSON"
end

local function whose(note)
  if note.worker or note.host or note.pid then
    return (" of worker %s (host %s, pid %s)"):format(note.worker or "-",
      note.host or "-", note.pid or "-")
  end
  return note.worker_id and " of worker " .. note.worker_id or ""
end

local EVENTS <const> = {
  ["process died"] = "a process%s died",
  ["worker lost"] = "lost with the process%s",
  retried = "an attempt failed in the process%s",
  requeued = "requeued%s; it had failed",
}

local function write_history(history)
  if #history == 0 then
    return
  end
  io.write("\nhistory:\n")
  for _, note in ipairs(history) do
    local what = EVENTS[note.event]:format(whose(note))
    local why = note.kind and (": %s: %s"):format(note.kind, note.message) or ""
    io.write(("  %s  %s\n"):format(time_text(note.at), grid.text(what .. why)))
  end
end

--- Writes all that there is to say of one.
-- @tparam DeadTask entry
-- @tparam table details see @{taskengine.dead.DeadTask:details}
function obituary.write(entry, details)
  local lines = {
    { "id", entry.id },
    { "task", entry.name },
    { "queue", entry.queue },
    { "arguments", arguments_text(details) },
    { "sent", time_text(entry.sent) },
    { "died", time_text(entry.died) },
    { "retries", entry.retries },
    { "deaths", ("%d of processes that ran it, %d of workers"):format(
      entry.deaths, entry.reaps) },
    { "came back", ("%d times unfinished"):format(entry.deliveries) },
  }
  if entry.engine_id ~= entry.id then
    table.insert(lines, 2, { "engine id", entry.engine_id })
  end
  for _, line in ipairs(lines) do
    io.write(("%-11s %s\n"):format(line[1], grid.text(line[2])))
  end
  io.write("\n", say.clean(("%s: %s\n"):format(entry.kind, entry.message)))
  if entry.traceback then
    io.write(say.clean(entry.traceback), "\n")
  end
  write_history(details.history)
end

return obituary
