--- The commands on streams: as much as an event log needs.
--
-- `MAXLEN ~` trims exactly here, while Redis keeps what shares a node.
-- @module spec.support.fake_redis.streams

local number = require("spec.support.fake_redis.number")
local reply = require("spec.support.fake_redis.reply")

local function trim_length(argv, at)
  if argv[at] == "~" or argv[at] == "=" then
    at = at + 1
  end
  if not argv[at] then
    reply.fail(reply.SYNTAX)
  end
  local length = number.integer(argv[at])
  if length < 0 then
    reply.fail("ERR The MAXLEN argument must be >= 0.")
  end
  return length, at + 1
end

-- Returns the place of the id and what stands before it.
local function read_xadd(argv)
  local at, length_max, is_new_refused = 2, nil, false
  while argv[at] do
    local word = argv[at]:upper()
    if word == "MAXLEN" then
      length_max, at = trim_length(argv, at + 1)
    elseif word == "NOMKSTREAM" then
      is_new_refused, at = true, at + 1
    else
      break
    end
  end
  return at, length_max, is_new_refused
end

local function read_id(text)
  if text == "*" then
    return nil
  end
  local ms, seq = text:match("^(%d+)%-(%d+)$")
  ms = ms and number.parse_integer(ms)
  seq = seq and number.parse_integer(seq)
  if not (ms and seq) then
    reply.fail("ERR Invalid stream ID specified as stream command argument")
  end
  if ms == 0 and seq == 0 then
    reply.fail("ERR The ID specified in XADD must be greater than 0-0")
  end
  return ms, seq
end

local function xadd(keys, argv)
  local at, length_max, is_new_refused = read_xadd(argv)
  if #argv - at < 2 or (#argv - at) % 2 == 1 then
    reply.fail_arity("xadd")
  end
  local ms, seq = read_id(argv[at])
  if is_new_refused and not keys:find(argv[1], "stream") then
    return false
  end
  local stream = keys:open(argv[1], "stream")
  if not ms then
    ms, seq = stream:next_id(keys.now_ms)
  elseif not stream:is_after(ms, seq) then
    reply.fail(
      "ERR The ID specified in XADD is equal or smaller than the target"
        .. " stream top item"
    )
  end
  local id = stream:add(ms, seq, table.move(argv, at + 1, #argv, 1, {}))
  if length_max then
    stream:trim(length_max)
  end
  return id
end

local function xlen(keys, argv)
  local stream = keys:find(argv[1], "stream")
  return stream and stream.entries.count or 0
end

local function xtrim(keys, argv)
  if argv[2]:upper() ~= "MAXLEN" then
    reply.fail(reply.SYNTAX)
  end
  local length_max, after = trim_length(argv, 3)
  if after <= #argv then
    reply.fail(reply.SYNTAX)
  end
  local stream = keys:find(argv[1], "stream")
  return stream and stream:trim(length_max) or 0
end

return {
  XADD = { arity = -5, run = xadd, writes = true },
  XLEN = { arity = 2, run = xlen },
  XTRIM = { arity = -4, run = xtrim, writes = true },
}
