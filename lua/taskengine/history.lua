--- What happened to a task before it ended: attempts that failed, processes
-- that died with it. See docs/protocol.md.
-- @module taskengine.history

local record = require("taskengine.record")

local history = {}

--- Something that happened.
-- @table Event
-- @tfield number at seconds since 1970
-- @tfield string event "retried": an attempt failed, or asked for another;
-- "process died"; "worker lost"; "requeued": it had failed
-- @tfield ?string kind of the error, and
-- @tfield ?string message
-- @tfield ?string worker who ran it, as far as is known: its name, its
-- @tfield ?string host
-- @tfield ?int pid
-- @tfield ?string worker_id

local EVENTS <const> = {
  c = "process died", w = "worker lost", r = "retried", q = "requeued",
}

local function present(text)
  return text ~= "" and text or nil
end

-- Nil when it is none.
local function read_note(bytes)
  local ok, at, letter, wid, name, host, pid, next_at = pcall(string.unpack,
    ">I8c1c12s1s1s1", bytes)
  if not ok or not EVENTS[letter] then
    return nil
  end
  local note = {
    at = at / 1000,
    event = EVENTS[letter],
    worker_id = letter ~= "q" and wid or nil,
    worker = present(name),
    host = present(host),
    pid = tonumber(pid),
  }
  local e = next_at <= #bytes and record.read(bytes:sub(next_at), wid).error
  if e then
    note.kind, note.message = e.kind, e.message
  end
  return note
end

--- Reads notes, the oldest first; what is none is left out.
-- @tparam {string,...} notes
-- @treturn {Event,...}
function history.read(notes)
  local list = {}
  for _, bytes in ipairs(notes) do
    list[#list + 1] = read_note(bytes)
  end
  return list
end

return history
