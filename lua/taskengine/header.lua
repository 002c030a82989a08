--- Where things stand in ids and envelopes, see docs/protocol.md: for who needs
-- one of them of every task. All of an envelope is in core.envelope.read.
-- @module taskengine.header

local header = {}

local PRODUCER_BYTES <const> = 12

--- Bytes of an id, which stands in front of the envelope of its task.
header.ID_BYTES = 20

--- Fields of an envelope, counted from 1. A template is an envelope without the
-- id: there they stand so many bytes before.
header.FLAGS_AT = 22
header.ATTEMPT_AT = 23
header.EXPIRY_AT = 31
header.SOFT_TIME_LIMIT_AT = 51
header.FLOW_AT = 59
header.NODE_AT = 79
--- How long queue, name, limit key and alias are, a byte each.
header.LENGTHS_AT = 99
header.ALIAS_LENGTH_AT = 102
--- These, one behind the other; and then the body.
header.NAMES_AT = 103

--- The id of a task.
-- @tparam string bytes what begins with it, such as an envelope
-- @treturn string
function header.id(bytes)
  return bytes:sub(1, header.ID_BYTES)
end

--- Who has made an id; all nodes of a flow have one producer.
-- @tparam string id
-- @treturn string
function header.producer(id)
  return id:sub(1, PRODUCER_BYTES)
end

return header
