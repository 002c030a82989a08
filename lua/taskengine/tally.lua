--- Who wants to know how many tasks were sent and have ended.
--
-- `taskengine run` shows it, and revokes what was sent when it is interrupted.
-- Nobody does in other programs: then nothing is counted.
-- @module taskengine.tally

local tally = {}

--- The listener, or nil. It has two methods:
--
--    accepted(requests, producer, last, count)  Redis has accepted tasks of
--              that producer, up to the number `last`
--    ended()   an outcome is known
tally.listener = nil

return tally
