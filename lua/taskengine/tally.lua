--- Who wants to know where tasks are sent, and how many were sent and have
-- ended.
--
-- `taskengine run` shows it, warns of queues that nobody serves, and revokes
-- what was sent when it is interrupted. Nobody does in other programs: then
-- nothing is counted.
-- @module taskengine.tally

local tally = {}

--- The listener, or nil. It has three methods:
--
--    queued(requests, queue)  tasks are about to be sent there
--    accepted(requests, producer, last, count)  Redis has accepted tasks of
--              that producer, up to the number `last`
--    ended()   an outcome is known
tally.listener = nil

return tally
