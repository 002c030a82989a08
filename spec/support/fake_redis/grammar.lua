--- Random commands: all that the in-memory Redis has, with arguments that
-- often meet one another's keys, and some that are wrong.
-- @module spec.support.fake_redis.grammar

local grammar = {}

-- Two spaces stand between commands. A word that `drawings` knows stands for
-- what is drawn there, capitals for what becomes large; ?WORD is there at
-- times, as is a,b?; a,b* is there up to three times, a,b+ forty times.
local GRAMMAR <const> = [[
HSET h f v f,v*            HSETNX h f v             HDEL h f f*
HGET h f                   HMGET h f f*             HGETALL h
HKEYS h                    HVALS h                  HLEN h
HEXISTS h f                HINCRBY h n i            HSET h n i
HSTRLEN h f                HRANDFIELD h c
ZADD z ?NX ?XX ?GT ?LT ?CH ?INCR s m                ZADD z s m s,m*
ZADD z ?GT ?LT ?CH s m s,m*                         ZADD z s m s
ZREM z m m*                ZSCORE z m               ZMSCORE z m m*
ZRANGE z i i ?REV ?WITHSCORES                       ZCARD z
ZRANGE z b b BYSCORE ?WITHSCORES LIMIT,i,i?
ZRANGE z b b BYSCORE REV ?WITHSCORES LIMIT,i,i?
ZRANGE q x x BYLEX ?REV ?WITHSCORES LIMIT,i,i?      ZRANGE z i i LIMIT i i
ZRANGE z i i ?BYSCORE ?BYLEX ?NONSENSE              ZADD q 0 m 0,m*
ZRANGEBYSCORE z b b ?WITHSCORES LIMIT,i,i?          ZCOUNT z b b
ZPOPMIN z i?               ZPOPMAX z i?             ZINCRBY z s m
ZREMRANGEBYRANK z i i      ZREMRANGEBYSCORE z b b   ZRANK z m
LPUSH l v v*               RPUSH l v v*             LPOP l i?
RPOP l i?                  LLEN l                   LTRIM l i i
LRANGE l i i               LINDEX l i               LREM l i v
LMOVE l l side side        LPOS l v RANK,c? COUNT,c? MAXLEN,c?
SET t v ?NX ?GET           SET t v ?XX ?KEEPTTL     SET t i ?GET
SET t v EX e ?NX ?KEEPTTL  SET t v PX ms            SET t v ?NX ?XX
GET t                      GETDEL t                 MGET k k k*
DEL k                      UNLINK k k               EXISTS k k k*
EXPIRE k e                 PEXPIRE k ms             EXPIRE k e ?NX ?XX
PEXPIREAT k at ?NX ?XX ?GT ?LT                      PERSIST k
PEXPIREAT t at LT          PEXPIREAT t at GT        SET t v
PTTL k                     TTL k                    TYPE k
INCR t                     INCRBY t i               DECR t
STRLEN t                   APPEND t v               MSET t v t v v?
SADD a m m*                SREM a m m*              SPOP a i?
SCARD a                    SMEMBERS a               SISMEMBER a m
SMISMEMBER a m m*          SDIFF a a a*             SINTER a a a*
SRANDMEMBER a c?           PUBLISH v v              XADD y MAXLEN,i? id f v
XADD y ?NOMKSTREAM id f v f?                        XLEN y
XTRIM y MAXLEN i           HGET h                   lpop l
GETRANGE t i i             SETRANGE t i v           SETRANGE t c v
ZADD Z N M N,M+            ZADD Z GT N M N,M+       ZREM Z M M+
ZRANGE Z R R ?REV WITHSCORES                        ZRANK Z M
ZRANGE Z N N BYSCORE ?REV ?WITHSCORES LIMIT,R,R?    ZCOUNT Z N N
ZREMRANGEBYRANK Z R R      ZREMRANGEBYSCORE Z N N   ZPOPMIN Z c
ZPOPMAX Z c                ZRANGE Q x x BYLEX       ZADD Q 0 M 0,M+
HSET H M v M,v+            HDEL H M M+              HKEYS H
SADD A M M+                SREM A M M+              SPOP A c
RPUSH L M M+               LPUSH L M M+             LTRIM L R R
LRANGE L R R               LPOP L c                 LREM L c M
]]

local TEXTS <const> = { "", "a", "B", "b", "\0", "\255x", "é", "10", "a b" }
local FIELDS <const> = { "a", "b", "B", "c", "d", "\0", "", "\200" }
local INTEGERS <const> =
  { 0, 1, 2, 3, 5, -1, -2, -3, "1", "7", "-4", "+1", "x", "", "9" }
local HUGE <const> = {
  "9223372036854775807",
  "-9223372036854775808",
  "9223372036854775808",
  1700000000000,
  2.5,
}
local SCORES <const> =
  { 0, 1, 2, 3, -1, 2.5, "-0.25", "1e3", "inf", "-inf", 1700000000001, "x" }
local BOUNDS <const> = { "-inf", "+inf", "(1", 2, "3", "(inf", "0", "(x" }
local LEX_BOUNDS <const> = { "-", "+", "[a", "(a", "[b", "(B", "[c", "(d", "a" }

-- A key of one kind, at times of another. The sorted sets of kind q are left
-- alone: they keep equal scores, without which ranges of texts mean nothing.
local function key_of(kind)
  local kinds = kind == "q" and { "q" } or { "h", "l", "t", "a", "y", "z" }
  return function(chance)
    local other = chance:upto(16) == 1
    return (other and chance:pick(kinds) or kind) .. chance:upto(3)
  end
end

local function from(list)
  return function(chance)
    return chance:pick(list)
  end
end

local function drawings(start_ms)
  local draw = {
    at = function(chance)
      return ("%d"):format(start_ms + chance:upto(4) * 700000 - 1050000)
    end,
    b = from(BOUNDS),
    c = from(INTEGERS),
    e = from { "1000", 2000, "x", "0", "-5" },
    f = from(FIELDS),
    i = function(chance)
      return chance:pick(chance:upto(12) == 1 and HUGE or INTEGERS)
    end,
    id = function(chance)
      return ("%d-%d"):format(chance:upto(400), chance:upto(3) - 1)
    end,
    k = function(chance)
      return chance:pick({ "h", "z", "l", "t", "a", "y" }) .. chance:upto(3)
    end,
    m = from(FIELDS),
    ms = from {
      "700000",
      3600000,
      "0",
      "-1",
      "-9223372036854775808",
      "9223372036854775807",
      "1.5",
    },
    n = from { "n1", "n2", "a" },
    s = from(SCORES),
    side = from { "LEFT", "RIGHT", "left", "middle" },
    v = from(TEXTS),
    x = from(LEX_BOUNDS),
    M = function(chance)
      return "m" .. chance:upto(2000)
    end,
    N = function(chance)
      return chance:upto(40)
    end,
    R = from { 0, 3, 300, 1200, -1, -5, -300 },
  }
  for _, name in ipairs { "A", "H", "L", "Q", "Z" } do
    draw[name] = from { name }
  end
  for _, kind in ipairs { "a", "h", "l", "q", "t", "y", "z" } do
    draw[kind] = key_of(kind)
  end
  return draw
end

local function read_grammar()
  local rules = {}
  for line in GRAMMAR:gmatch("[^\n]+") do
    for rule in (line .. "  "):gmatch("(%S.-)%s%s+") do
      rules[#rules + 1] = rule
    end
  end
  return rules
end

local function times_of(chance, sign)
  if sign == "*" then
    return chance:upto(4) - 1
  elseif sign == "+" then
    return 40
  end
  return chance:upto(4) == 1 and 1 or 0
end

-- A command as a list of strings and numbers.
local function expand(rule, draw, chance)
  local words = {}
  for token in rule:gmatch("%S+") do
    local group, times = token, 1
    if token:sub(1, 1) == "?" then
      group, times = token:sub(2), times_of(chance, "?")
    elseif token:find("[*?+]$") then
      group, times = token:sub(1, -2), times_of(chance, token:sub(-1))
    end
    for _ = 1, times do
      for word in group:gmatch("[^,]+") do
        words[#words + 1] = draw[word] and draw[word](chance) or word
      end
    end
  end
  return words
end

--- A source of commands.
-- @tparam Random chance
-- @tparam int start_ms the time around which keys expire
-- @treturn function that gives the next command, a list of strings and numbers
function grammar.source(chance, start_ms)
  local rules, draw = read_grammar(), drawings(start_ms)
  return function()
    return expand(chance:pick(rules), draw, chance)
  end
end

return grammar
