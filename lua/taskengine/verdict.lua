--- What is said of a task in place of an outcome: run it again, or a flow ends
-- it. See docs/protocol.md.
--
-- It is raised in the task, as an error, and so leaves it; whoever catches it
-- has to raise it again.
-- @module taskengine.verdict

local verdict = {}

local SPENDS <const>, IS_TIME <const> = 1, 2

--- A verdict.
-- @type Verdict
-- @tfield int ms how long to wait, or with `is_time` until when, since 1970
-- @tfield ?boolean is_time
-- @tfield boolean spends an attempt
-- @tfield ?string body of the envelope, in place of its own
-- @tfield ?string outcome what the attempt came to
-- @tfield ?string delegate instead of all of these: the producer of the flow
-- that ends the task in its place
local Verdict = { __name = "taskengine.Verdict" }
Verdict.__index = Verdict

--- For who has caught it and shows it.
-- @treturn string
function Verdict:__tostring()
  if self.delegate then
    return "the task is replaced"
  end
  return self.spends and "the task is to be run again"
    or "the task is put off"
end

--- Makes one.
-- @tparam table fields
-- @treturn Verdict
function verdict.new(fields)
  return setmetatable(fields, Verdict)
end

--- Whether a value is one.
-- @param value anything
-- @treturn boolean
function verdict.is(value)
  return debug.getmetatable(value) == Verdict
end

--- Writes it.
-- @tparam table v
-- @treturn string
function verdict.pack(v)
  if v.delegate then
    return "D" .. v.delegate
  end
  local flags = (v.spends and SPENDS or 0) | (v.is_time and IS_TIME or 0)
  return string.pack(">c1I8Bs4", "T", v.ms, flags, v.body or "")
    .. (v.outcome or "")
end

return verdict
