--- Numbers as Redis reads and prints them.
-- @module spec.support.fake_redis.number

local reply = require("spec.support.fake_redis.reply")

local number = {}

local DOUBLE_EXACT <const> = 1 << 53
local INFINITE <const> = {
  ["inf"] = math.huge,
  ["+inf"] = math.huge,
  ["-inf"] = -math.huge,
  ["infinity"] = math.huge,
  ["+infinity"] = math.huge,
  ["-infinity"] = -math.huge,
}

--- The integer that a text is, by the strict rule of Redis: no sign but `-`,
-- no space, no leading zero, 64 bits.
-- @tparam string text
-- @treturn ?int
function number.parse_integer(text)
  if text == "0" or text:find("^%-?[1-9]%d*$") then
    return math.tointeger(tonumber(text))
  end
  return nil
end

--- The integer that an argument must be.
-- @tparam string text
-- @tparam[opt] string message the error reply otherwise
-- @treturn int
-- @raise the error reply
function number.integer(text, message)
  return number.parse_integer(text)
    or reply.fail(message or "ERR value is not an integer or out of range")
end

--- The count that an argument must be.
-- @tparam string text
-- @treturn int 0 or more
-- @raise the error reply
function number.count(text)
  local count = number.parse_integer(text)
  if not count or count < 0 then
    reply.fail(reply.NOT_POSITIVE)
  end
  return count
end

--- The score that an argument must be.
-- @tparam string text
-- @tparam[opt] string message the error reply otherwise
-- @treturn number a float
-- @raise the error reply
function number.score(text, message)
  local score = INFINITE[text:lower()]
  if not score and not text:find("[^%d.eE+-]") then
    score = tonumber(text)
  end
  if not score then
    reply.fail(message or "ERR value is not a valid float")
  end
  return score + 0.0
end

--- A score as a reply has it.
-- @tparam number score
-- @treturn string
function number.format_score(score)
  return ("%.17g"):format(score)
end

--- The sum of two 64-bit integers.
-- @tparam int a
-- @tparam int b
-- @treturn int
-- @raise the error reply when it does not fit
function number.add(a, b)
  local sum = a + b
  if (b < 0 and sum > a) or (b > 0 and sum < a) then
    reply.fail(reply.OVERFLOW)
  end
  return sum
end

--- An integer as a script gets it: a double, exact up to 2^53.
-- @tparam int value
-- @treturn number
function number.as_reply(value)
  if value > DOUBLE_EXACT or value < -DOUBLE_EXACT then
    return value + 0.0
  end
  return value
end

return number
