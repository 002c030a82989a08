--- The commands on sorted sets that name members or ranks; those that take
-- ranges are in `zranges`.
-- @module spec.support.fake_redis.zsets

local number = require("spec.support.fake_redis.number")
local options = require("spec.support.fake_redis.options")
local reply = require("spec.support.fake_redis.reply")

local ZADD_OPTIONS <const> = {
  CH = 0,
  GT = 0,
  INCR = 0,
  LT = 0,
  NX = 0,
  XX = 0,
}

local function check_zadd(found, pair_count)
  if found.NX and found.XX then
    reply.fail("ERR XX and NX options at the same time are not compatible")
  end
  if (found.GT and found.LT) or (found.NX and (found.GT or found.LT)) then
    reply.fail(
      "ERR GT, LT, and/or NX options at the same time are not compatible"
    )
  end
  if found.INCR and pair_count > 1 then
    reply.fail("ERR INCR option supports a single increment-element pair")
  end
end

local function is_wanted(found, old, score)
  if not old then
    return not found.XX
  end
  return not found.NX
    and not (found.GT and score <= old)
    and not (found.LT and score >= old)
end

-- Returns the new score, or nil when the options forbid it, and the old one.
local function add_one(zset, found, score, member)
  local old = zset:score(member)
  if found.INCR and old and not found.NX then
    score = old + score
    if score ~= score then
      reply.fail("ERR resulting score is not a number (NaN)")
    end
  end
  if not is_wanted(found, old, score) then
    return nil, old
  end
  if score ~= old then
    zset:set(member, score)
  end
  return score, old
end

local function read_scores(argv, from)
  local scores = {}
  for i = from, #argv, 2 do
    scores[i] = number.score(argv[i])
  end
  return scores
end

local function add(keys, argv, found, from)
  local scores = read_scores(argv, from)
  local zset = keys:open(argv[1], "zset")
  local added, changed, result = 0, 0, nil
  for i = from, #argv, 2 do
    local score, old = add_one(zset, found, scores[i], argv[i + 1])
    if score and not old then
      added = added + 1
    elseif score and score ~= old then
      changed = changed + 1
    end
    result = score
  end
  keys:settle(argv[1])
  if found.INCR then
    return result and number.format_score(result) or false
  end
  return found.CH and added + changed or added
end

local function zadd(keys, argv)
  local found, from = options.read(argv, 2, ZADD_OPTIONS)
  local word_count = #argv - from + 1
  if word_count == 0 or word_count % 2 == 1 then
    reply.fail(reply.SYNTAX)
  end
  check_zadd(found, word_count // 2)
  return add(keys, argv, found, from)
end

local function zincrby(keys, argv)
  return add(keys, argv, { INCR = true }, 2)
end

local function zrem(keys, argv)
  return keys:remove(argv[1], "zset", argv)
end

local function score_of(zset, member)
  local score = zset and zset:score(member)
  return score and number.format_score(score) or false
end

local function zscore(keys, argv)
  return score_of(keys:find(argv[1], "zset"), argv[2])
end

local function zmscore(keys, argv)
  local zset, scores = keys:find(argv[1], "zset"), {}
  for i = 2, #argv do
    scores[i - 1] = score_of(zset, argv[i])
  end
  return scores
end

local function zcard(keys, argv)
  local zset = keys:find(argv[1], "zset")
  return zset and zset.count or 0
end

local function zrank(keys, argv)
  local zset = keys:find(argv[1], "zset")
  return zset and zset:rank(argv[2]) or false
end

local function pop(zset, count, from_end)
  local popped = {}
  for i = 1, math.min(count, zset.count) do
    local rank = from_end and zset.count or 1
    local member = zset:slice(rank, rank)[1]
    popped[2 * i - 1] = member
    popped[2 * i] = number.format_score(zset:score(member))
    zset:delete(member)
  end
  return popped
end

local function popper(from_end)
  return function(keys, argv)
    if #argv > 2 then
      reply.fail(reply.SYNTAX)
    end
    local count = argv[2] and number.count(argv[2]) or 1
    local zset = keys:find(argv[1], "zset")
    if not zset then
      return {}
    end
    local popped = pop(zset, count, from_end)
    keys:settle(argv[1])
    return popped
  end
end

return {
  ZADD = { arity = -4, run = zadd, writes = true },
  ZCARD = { arity = 2, run = zcard },
  ZINCRBY = { arity = 4, run = zincrby, writes = true },
  ZMSCORE = { arity = -3, run = zmscore },
  ZPOPMAX = { arity = -2, run = popper(true), writes = true },
  ZPOPMIN = { arity = -2, run = popper(false), writes = true },
  ZRANK = { arity = 3, run = zrank },
  ZREM = { arity = -3, run = zrem, writes = true },
  ZSCORE = { arity = 3, run = zscore },
}
