--- Who wants to know where tasks are sent, and what was sent and has ended.
--
-- `taskengine run` shows it, warns of queues that nobody serves, and revokes
-- what was sent when it is interrupted. Nobody does in other programs: then
-- nothing is counted.
-- @module taskengine.tally

local tally = {}

--- The listener, or nil. Its methods:
--
--    queued(requests, queue)  tasks are about to be sent there
--    accepted(requests, producer, last, count)  Redis has accepted tasks of
--              that producer, up to the number `last`
--    flow_begins(requests, producer, plan)  the first part of a flow is about
--              to be sent
--    flow_accepted(requests, producer, queues)  Redis has all of it, so it
--              runs: in that set of queues
--    ended(id, is_success, is_old)  an outcome is known; `is_old`, of a task
--              that was looked up by its id
tally.listener = nil

return tally
