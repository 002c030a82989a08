--- How a task stands that has not ended, as a command says it.
-- @module taskengine.cli.standing

local errors = require("taskengine.errors")
local show = require("taskengine.cli.show")

local standing = {}

local META_BYTES <const> = 200

local function time_text(seconds)
  return os.date("%Y-%m-%d %H:%M:%S", math.floor(seconds))
end

local function meta_text(meta)
  local ok, text = pcall(show.text, meta)
  return ok and #text <= META_BYTES and " " .. text or ""
end

-- What a task says with PROGRESS is for it to choose.
local function progress_text(info)
  local meta = type(info.meta) == "table" and info.meta or {}
  if not math.type(meta.fraction) then
    return meta_text(info.meta)
  end
  local text = type(meta.text) == "string" and ": " .. meta.text or ""
  return (" %.0f %%%s"):format(meta.fraction * 100, text)
end

local function retry_text(info)
  local when = info.due and " at " .. time_text(info.due) or ""
  return ("%s after %s: %s"):format(when, info.error.kind,
    errors.account(info.error))
end

local function pending_text(info)
  if info.due then
    return ", due at " .. time_text(info.due)
  end
  return info.place and ", " .. info.place or ""
end

local DETAILS <const> = {
  PENDING = pending_text, PROGRESS = progress_text, RETRY = retry_text,
}

--- How it stands, for people.
-- @tparam table info see @{taskengine.result.Result:info}
-- @treturn string
function standing.text(info)
  local detail = DETAILS[info.state]
  if not detail then
    return info.state .. (info.meta ~= nil and meta_text(info.meta) or "")
  end
  return info.state .. detail(info)
end

--- The same for programs.
-- @tparam table info
-- @treturn table for JSON
function standing.fields(info)
  return {
    id = info.id,
    state = info.state,
    meta = show.presentable(info.meta),
    since = info.since,
    place = info.place,
    due = info.due,
    worker = info.worker,
    error = info.error and show.error_fields(info.error),
  }
end

--- Who sent a task, and what it sent.
-- @tparam Result result
-- @tparam table fields gets `parent` and `children`: ids, if there are any
-- @treturn table the fields
function standing.add_kin(result, fields)
  local parent = result:parent()
  fields.parent = parent and parent.id
  for i, child in ipairs(result:children()) do
    fields.children = fields.children or {}
    fields.children[i] = child.id
  end
  return fields
end

return standing
