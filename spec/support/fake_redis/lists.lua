--- The commands on lists.
-- @module spec.support.fake_redis.lists

local number = require("spec.support.fake_redis.number")
local options = require("spec.support.fake_redis.options")
local range = require("spec.support.fake_redis.range")
local reply = require("spec.support.fake_redis.reply")

local PUSH <const> = { LEFT = "push_left", RIGHT = "push_right" }
local POP <const> = { LEFT = "pop_left", RIGHT = "pop_right" }
local LPOS_OPTIONS <const> = { COUNT = 1, MAXLEN = 1, RANK = 1 }

local function pusher(side)
  return function(keys, argv)
    local list = keys:open(argv[1], "list")
    for i = 2, #argv do
      list[PUSH[side]](list, argv[i])
    end
    return list.count
  end
end

local function pop_many(list, side, count)
  local items = {}
  for i = 1, math.min(count, list.count) do
    items[i] = list[POP[side]](list)
  end
  return items
end

local function popper(side, name)
  return function(keys, argv)
    if #argv > 2 then
      reply.fail_arity(name)
    end
    local count = argv[2] and number.count(argv[2])
    local list = keys:find(argv[1], "list")
    if not list then
      return false
    end
    local items = pop_many(list, side, count or 1)
    keys:settle(argv[1])
    return count and items or items[1]
  end
end

local function llen(keys, argv)
  local list = keys:find(argv[1], "list")
  return list and list.count or 0
end

local function lindex(keys, argv)
  local list = keys:find(argv[1], "list")
  if not list then
    return false
  end
  local index = number.integer(argv[2])
  return list:at(index < 0 and list.count + index + 1 or index + 1) or false
end

local function lrange(keys, argv)
  local first, last = number.integer(argv[2]), number.integer(argv[3])
  local list = keys:find(argv[1], "list")
  return list and list:slice(range.between(first, last, list.count)) or {}
end

local function ltrim(keys, argv)
  local first, last = number.integer(argv[2]), number.integer(argv[3])
  local list = keys:find(argv[1], "list")
  if list then
    local from, to = range.between(first, last, list.count)
    pop_many(list, "RIGHT", list.count - to)
    pop_many(list, "LEFT", from - 1)
    keys:settle(argv[1])
  end
  return reply.status("OK")
end

-- The places of an element, at most `limit`, found from the head or the tail
-- among the first `length` elements looked at.
local function places(list, item, step, limit, length)
  local found = {}
  local first = step > 0 and 1 or list.count
  for i = first, first + step * (math.min(length, list.count) - 1), step do
    if #found == limit then
      break
    end
    if list:at(i) == item then
      found[#found + 1] = i
    end
  end
  return found
end

local function lrem(keys, argv)
  local count = number.integer(argv[2])
  local list = keys:find(argv[1], "list")
  if not list then
    return 0
  end
  local limit = count == 0 and list.count or math.abs(count)
  local step = count < 0 and -1 or 1
  local found = places(list, argv[3], step, limit, list.count)
  local is_found = {}
  for _, place in ipairs(found) do
    is_found[place] = true
  end
  list:delete(is_found, #found)
  keys:settle(argv[1])
  return #found
end

local function lmove(keys, argv)
  local from, to = argv[3]:upper(), argv[4]:upper()
  if not (POP[from] and PUSH[to]) then
    reply.fail(reply.SYNTAX)
  end
  local source = keys:find(argv[1], "list")
  if not source then
    return false
  end
  local target = keys:open(argv[2], "list")
  local item = source[POP[from]](source)
  target[PUSH[to]](target, item)
  keys:settle(argv[1])
  return item
end

local function not_negative(text, name)
  local refusal = ("ERR %s can't be negative"):format(name)
  local value = number.integer(text, refusal)
  return value >= 0 and value or reply.fail(refusal)
end

local function read_rank(text)
  local rank = number.integer(text or "1")
  if rank == 0 then
    reply.fail(
      "ERR RANK can't be zero: use 1 to start from the first match, 2 from"
        .. " the second ... or use negative to start from the end of the list"
    )
  end
  return math.abs(rank) - 1, rank < 0 and -1 or 1
end

local function lpos(keys, argv)
  local found = options.read_all(argv, 3, LPOS_OPTIONS)
  local skipped, step = read_rank(found.RANK)
  local count = not_negative(found.COUNT or "1", "COUNT")
  local length = not_negative(found.MAXLEN or "0", "MAXLEN")
  local list, positions = keys:find(argv[1], "list"), {}
  if list then
    local limit = count > 0 and skipped + count or list.count
    length = length > 0 and length or list.count
    local all = places(list, argv[2], step, limit, length)
    for i = skipped + 1, #all do
      positions[i - skipped] = all[i] - 1
    end
  end
  return found.COUNT and positions or positions[1] or false
end

return {
  LINDEX = { arity = 3, run = lindex },
  LLEN = { arity = 2, run = llen },
  LMOVE = { arity = 5, run = lmove, writes = true, last_key = 2 },
  LPOP = { arity = -2, run = popper("LEFT", "lpop"), writes = true },
  LPOS = { arity = -3, run = lpos },
  LPUSH = { arity = -3, run = pusher("LEFT"), writes = true },
  LRANGE = { arity = 4, run = lrange },
  LREM = { arity = 4, run = lrem, writes = true },
  LTRIM = { arity = 4, run = ltrim, writes = true },
  RPOP = { arity = -2, run = popper("RIGHT", "rpop"), writes = true },
  RPUSH = { arity = -3, run = pusher("RIGHT"), writes = true },
}
