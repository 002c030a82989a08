--- Outcomes in words, for what compares and tells them.
-- @module spec.support.flow_words

local cmsgpack = require("spec.support.fake_redis.cmsgpack")

local flow_words = {}

-- A failure by its kind; one for another's failure by that.
local function of_error(letter, map)
  if map.kind == "Skipped" then
    return "skipped"
  elseif map.kind == "DependencyFailed" then
    local cause = map.value.error
    return ("needs %s of %s"):format(map.value.id,
      cause and cause.kind or "nothing")
  end
  return letter .. " " .. (map.kind or "")
end

--- What stands ahead of a body: the outcomes that a node takes.
-- @tparam string bytes
-- @treturn {string,...} in words
-- @treturn string the rest
function flow_words.inputs(bytes)
  local count, at = string.unpack(">I4", bytes)
  local words = {}
  for k = 1, count do
    local record
    record, at = string.unpack(">s4", bytes, at)
    words[k] = flow_words.of(record)
  end
  return words, bytes:sub(at)
end

--- An outcome as `te1_outcome` tells it.
-- @tparam string record
-- @treturn string such as `S12`, `F E12`, `needs <id> of E12`, `skipped`
function flow_words.of(record)
  local letter = record:sub(1, 1)
  if letter == "F" or letter == "R" then
    return of_error(letter, cmsgpack.unpack(record:sub(2)))
  elseif letter == "G" then
    return "G(" .. table.concat(flow_words.inputs(record:sub(2)), ", ") .. ")"
  end
  return (record:gsub("[^%g]", function(byte)
    return ("\\%d"):format(byte:byte())
  end))
end

--- A failure of a kind, as a task or a caller gives it.
-- @tparam string letter `F` or `R`
-- @tparam string kind of at most 31 bytes
-- @treturn string record
function flow_words.failure(letter, kind)
  return letter .. "\x81\xa4kind" .. string.char(0xa0 + #kind) .. kind
end

return flow_words
