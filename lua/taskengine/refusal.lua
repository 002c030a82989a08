--- Why Redis, or the worker in front of it, did not carry out a call, for
-- people.
-- @module taskengine.refusal

local refusal = {}

local REASONS <const> = {
  OOM = "its memory is full (maxmemory)",
  MISCONF = "it cannot write to its disk",
  NOREPLICAS = "it misses its replicas (min-replicas-to-write)",
  READONLY = "it is a read-only replica",
}

-- What passes by itself, or is past once another server is the master: to ask
-- again helps.
local PASSING <const> = {
  BUSY = true, -- with somebody's script
  CLUSTERDOWN = true,
  LOADING = true,
  MASTERDOWN = true,
  READONLY = true,
  TRYAGAIN = true,
}

--- Whether Redis may answer otherwise soon.
-- @tparam string text the reply
-- @treturn boolean
function refusal.is_passing(text)
  return PASSING[text:match("^%u+")] or false
end

--- A sentence on an error reply.
-- @tparam string text the reply; of Redis it begins with a code, of the worker
-- it is a sentence
-- @treturn string
function refusal.sentence(text)
  local code = text:match("^%u+")
  if not code then
    return "the worker refused it: " .. text
  end
  return "Redis refused it: " .. (REASONS[code] or text)
end

return refusal
