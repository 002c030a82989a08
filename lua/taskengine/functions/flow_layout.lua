-- How a flow lies in Redis: the sizes of what its keys hold, what these keys
-- are, and the ids of its nodes.

te.NODES_MAX = 1000000 -- of a flow
te.CELL_BYTES, te.EDGE_BYTES, te.INPUT_BYTES = 12, 6, 10
te.NO_CELL = "\0\0\0\0\0\0\0\0\0\0\0\0" -- of a node to which nothing came
te.NODE_HEAD_BYTES = 18 -- of a record, ahead of its body
te.NO_PIECE = "\0\0\0\0" -- the number of none
te.ERRBACK = 2 ^ 31
-- Ahead of a body, in place of inputs: there are none; they are too much.
te.NO_INPUTS, te.FAR_INPUTS = "\0\0\0\0", "\255\255\255\255"
te.ERRBACK_NODES_MAX = 1000 -- in an input of kind `e`
te.NIL = "S\192" -- the outcome that is no value
te.CHUNK_NODES = 62 -- whose outcomes are in one hash
-- What is a field of such a hash when one of the outcomes is not small.
te.SOME_LARGE, te.SMALL_BYTES_MAX = "+", 4096
-- What the first byte of a cell may be: 0 and the letters r g d f n R s.
te.IS_STATE = {
  [0] = true, [114] = true, [103] = true, [100] = true, [102] = true,
  [110] = true, [82] = true, [115] = true,
}

-- Of nodes that have not ended.
te.IS_OPEN = { ["\0"] = true, r = true, g = true }

-- The first three are there as long as the flow is, the others if need be.
local KEYS_OF_FLOW = { "g:", "gn:", "gs:", "gw:", "gd:", "gr:", "gh:" }
te.FLOW_KEYS_ALWAYS = 3

-- All but that of its producer, which tells of it when these are gone.
function te.flow_keys(P, producer)
  local keys = {}
  for k = 1, #KEYS_OF_FLOW do
    keys[k] = P .. KEYS_OF_FLOW[k] .. producer
  end
  return keys
end

-- All pairs of digits, made when they are first asked for: an id is needed
-- several times in each step.
local pairs_of_digits, PAIRS = {}, 62 * 62

local function make_pairs()
  for k = 0, PAIRS - 1 do
    local low = k % 62
    local high = (k - low) / 62
    pairs_of_digits[k] = sub(DIGITS, high + 1, high + 1)
      .. sub(DIGITS, low + 1, low + 1)
  end
end

-- What the ids of neighbours have in common, of the last ones asked for.
local front = { producer = "", block = 0, bytes = "" }

-- The id of a flow's node, of which there are fewer than 62^6, in two parts:
-- the second is pair[k] of the k and the pairs returned.
function te.node_id_parts(producer, i)
  local low = i % PAIRS
  local block = (i - low) / PAIRS
  if front.producer ~= producer or front.block ~= block then
    if not pairs_of_digits[0] then
      make_pairs()
    end
    local middle = block % PAIRS
    front.producer, front.block = producer, block
    front.bytes = producer .. "00"
      .. pairs_of_digits[(block - middle) / PAIRS] .. pairs_of_digits[middle]
  end
  return front.bytes, low, pairs_of_digits
end

function te.node_id(producer, i)
  local bytes, low, pair = te.node_id_parts(producer, i)
  return bytes .. pair[low]
end

-- A node's number as an edge or an input names it.
function te.node_named(flags, number, i)
  if flags % 2 == 0 then
    return number
  end
  return number < 2 ^ 31 and i + number or i + number - 2 ^ 32
end

-- How many edges must arrive at it; te.ERRBACK is added to that of a node which
-- is there for a failure.
function te.node_need(record)
  return te.number_at(record, 7, 4)
end
