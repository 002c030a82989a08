--- Why Redis did not carry out a call, for people.
-- @module taskengine.refusal

local refusal = {}

local REASONS <const> = {
  OOM = "its memory is full (maxmemory)",
  MISCONF = "it cannot write to its disk",
  NOREPLICAS = "it misses its replicas (min-replicas-to-write)",
  READONLY = "it is a read-only replica",
}

--- A sentence on an error reply.
-- @tparam string text the reply
-- @treturn string
function refusal.sentence(text)
  return "Redis refused it: " .. (REASONS[text:match("^%u+")] or text)
end

return refusal
