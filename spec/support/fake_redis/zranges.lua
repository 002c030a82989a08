--- The commands on ranges of sorted sets.
--
-- Each turns its range into ranks, from 1, and takes what stands between.
-- @module spec.support.fake_redis.zranges

local number = require("spec.support.fake_redis.number")
local options = require("spec.support.fake_redis.options")
local range = require("spec.support.fake_redis.range")
local reply = require("spec.support.fake_redis.reply")

local NOT_SCORE <const> = "ERR min or max is not a float"
local NOT_TEXT <const> = "ERR min or max not valid string range item"
local RANGE_OPTIONS <const> = { LIMIT = 2, WITHSCORES = 0 }
local ZRANGE_OPTIONS <const> = {
  BYLEX = 0,
  BYSCORE = 0,
  LIMIT = 2,
  REV = 0,
  WITHSCORES = 0,
}

local function by_index(first_text, last_text, is_reversed)
  local first, last = number.integer(first_text), number.integer(last_text)
  return function(zset)
    local from, to = range.between(first, last, zset.count)
    if is_reversed and to > 0 then
      return zset.count - to + 1, zset.count - from + 1
    end
    return from, to
  end
end

-- A number or nothing, which is 0; behind `(` when it is not in the range.
local function read_bound(text)
  local mark, digits = text:match("^(%(?)(.*)$")
  local bound = digits == "" and 0.0 or number.score(digits, NOT_SCORE)
  return bound, mark == "("
end

local function by_score(min_text, max_text)
  local min, is_min_open = read_bound(min_text)
  local max, is_max_open = read_bound(max_text)
  return function(zset)
    return zset:count_below(min, is_min_open) + 1,
      zset:count_below(max, not is_max_open)
  end
end

local function read_text(text)
  local kind = text:sub(1, 1)
  if text == "-" or text == "+" then
    return { at_end = text }
  end
  if kind ~= "(" and kind ~= "[" then
    reply.fail(NOT_TEXT)
  end
  return { is_open = kind == "(", text = text:sub(2) }
end

local function count_up_to(zset, limit, inclusive)
  if limit.at_end then
    return limit.at_end == "+" and zset.count or 0
  end
  return zset:count_smaller(limit.text, inclusive)
end

local function by_text(min_text, max_text)
  local min, max = read_text(min_text), read_text(max_text)
  return function(zset)
    return count_up_to(zset, min, min.is_open) + 1,
      count_up_to(zset, max, not max.is_open)
  end
end

local function read_range(found, argv)
  local min, max = argv[2], argv[3]
  if not (found.BYSCORE or found.BYLEX) then
    return by_index(min, max, found.REV)
  end
  if found.REV then
    min, max = max, min
  end
  return found.BYSCORE and by_score(min, max) or by_text(min, max)
end

local function reversed(members)
  local result, n = {}, #members
  for i = 1, n do
    result[i] = members[n + 1 - i]
  end
  return result
end

local function limited(from, to, offset, count, is_reversed)
  if offset < 0 then
    return 1, 0
  end
  local length = math.max(math.max(to - from + 1, 0) - offset, 0)
  if count >= 0 then
    length = math.min(count, length)
  end
  if length == 0 then
    return 1, 0
  end
  if is_reversed then
    return to - offset - length + 1, to - offset
  end
  return from + offset, from + offset + length - 1
end

local function with_scores(zset, members)
  local result = {}
  for i, member in ipairs(members) do
    result[2 * i - 1] = member
    result[2 * i] = number.format_score(zset:score(member))
  end
  return result
end

local function check(found, count)
  if count ~= -1 and not (found.BYSCORE or found.BYLEX) then
    reply.fail(
      "ERR syntax error, LIMIT is only supported in combination with either"
        .. " BYSCORE or BYLEX"
    )
  end
  if found.WITHSCORES and found.BYLEX then
    reply.fail(
      "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
    )
  end
  if found.BYSCORE and found.BYLEX then
    reply.fail(reply.SYNTAX)
  end
end

local function read_limit(found)
  local limit = found.LIMIT or { "0", "-1" }
  local offset, count = number.integer(limit[1]), number.integer(limit[2])
  check(found, count)
  return (found.BYSCORE or found.BYLEX) and offset or 0, count
end

local function select_range(keys, argv, found)
  local offset, count = read_limit(found)
  local ranks = read_range(found, argv)
  local zset = keys:find(argv[1], "zset")
  if not zset then
    return {}
  end
  local from, to = ranks(zset)
  local members =
    zset:slice(limited(from, to, offset, count, found.REV))
  if found.REV then
    members = reversed(members)
  end
  return found.WITHSCORES and with_scores(zset, members) or members
end

local function zrange(keys, argv)
  local found = options.read_all(argv, 4, ZRANGE_OPTIONS)
  return select_range(keys, argv, found)
end

local function zrangebyscore(keys, argv)
  local found = options.read_all(argv, 4, RANGE_OPTIONS)
  found.BYSCORE = true
  return select_range(keys, argv, found)
end

local function zcount(keys, argv)
  local ranks = by_score(argv[2], argv[3])
  local zset = keys:find(argv[1], "zset")
  if not zset then
    return 0
  end
  local from, to = ranks(zset)
  return math.max(to - from + 1, 0)
end

local function remover(read)
  return function(keys, argv)
    local ranks = read(argv[2], argv[3])
    local zset = keys:find(argv[1], "zset")
    if not zset then
      return 0
    end
    local members = zset:slice(ranks(zset))
    for _, member in ipairs(members) do
      zset:delete(member)
    end
    keys:settle(argv[1])
    return #members
  end
end

return {
  ZCOUNT = { arity = 4, run = zcount },
  ZRANGE = { arity = -4, run = zrange },
  ZRANGEBYSCORE = { arity = -4, run = zrangebyscore },
  ZREMRANGEBYRANK = { arity = 4, run = remover(by_index), writes = true },
  ZREMRANGEBYSCORE = { arity = 4, run = remover(by_score), writes = true },
}
