--- What a task says of itself while it runs, and what is known of one that
-- has not ended.
-- @module taskengine.states

local check = require("taskengine.check")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local history = require("taskengine.history")

local states = {}

-- The record but for the meta is smaller.
local META_BYTES_MAX <const> = core.child.STATE_BYTES_MAX - 256

-- What the engine says of a task, and it alone.
local ENGINES <const> = {
  PENDING = true, RETRY = true, SUCCESS = true, FAILURE = true,
  REVOKED = true, UNKNOWN = true,
}

-- Places of docs/architecture.md, for who only wants to know whether it runs.
local PLACES <const> = {
  ["in flight"] = "running", ready = "waiting", prioritised = "waiting",
  flow = "waiting",
}

--- Why a task cannot say that it is in this state.
-- @param state what it was given
-- @treturn ?string nil when it can
function states.problem(state)
  if not check.name(state) then
    return check.problem("update_state: state", check.name, state)
  elseif ENGINES[state] then
    return ("update_state: %s is for the engine to say; choose another name")
      :format(state)
  end
end

local encode = core.codec.encode

--- What a task says of itself, as bytes.
-- @tparam string state
-- @param meta anything that can travel
-- @treturn[1] string MessagePack
-- @return[2] nil
-- @treturn[2] string why the meta cannot travel
-- @treturn[2] string the codec's code
function states.encode(state, meta)
  if meta == nil then
    return "\x81\xa1s" .. encode(state)
  end
  local bytes, why, code = encode(meta, "meta", META_BYTES_MAX)
  if not bytes then
    return nil, why, code
  end
  return "\x82\xa1s" .. encode(state) .. "\xa1m" .. bytes
end

--- That a task has begun.
states.STARTED = states.encode("STARTED")

-- What a task has said; nil when that is not for it to say.
local function read_said(bytes)
  local said = bytes ~= "" and core.codec.decode(bytes)
  if type(said) == "table" and check.name(said.s) and not ENGINES[said.s] then
    return said.s, said.m
  end
end

-- The failure that a retry is for, if the last note is of that.
local function read_retry(note, id, name)
  local event = history.read({ note })[1]
  if event and event.event == "retried" then
    return errors.new {
      id = id,
      name = name,
      kind = event.kind or "Error",
      message = event.message or "no message",
    }
  end
end

local function read_worker(about)
  local ok, name = pcall(string.unpack, "s1", about)
  return ok and name ~= "" and name or nil
end

local function read_place(place, id)
  if place ~= "" and core.envelope.seq(id) ~= 0 then
    return PLACES[place] or place
  end
end

local function seconds(ms)
  return ms > 0 and ms / 1000 or nil
end

--- A task that has not ended.
-- @table Standing
-- @tfield string engine_id
-- @tfield string state `PENDING`, `RETRY`, `STARTED`, `PROGRESS`, or what it
-- says itself
-- @field meta what it said with that
-- @tfield ?number since when it said so
-- @tfield ?number due when it may run; both in seconds since 1970
-- @tfield ?string place `"waiting"`, `"due"`, `"running"`; nil: not known, or a
-- flow, whose tasks have places
-- @tfield ?string worker the name of the one that runs it
-- @tfield ?TaskError error of the last attempt, in state RETRY

--- Reads what te1_state says of a task that has not ended.
-- @tparam table row see docs/protocol.md
-- @tparam string id the task's, for the error
-- @tparam ?string name the task's
-- @treturn Standing
function states.read(row, id, name)
  local known, place, due, at, said, note, about = table.unpack(row)
  local standing = {
    engine_id = known:sub(2),
    place = read_place(place, known:sub(2)),
    due = seconds(due),
    worker = read_worker(about),
  }
  local state, meta = read_said(said)
  local retry = not state and read_retry(note, id, name)
  if state then
    standing.state, standing.meta, standing.since = state, meta, seconds(at)
  elseif retry then
    standing.state, standing.error = "RETRY", retry
  else
    standing.state = "PENDING"
  end
  return standing
end

return states
