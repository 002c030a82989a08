-- A busted helper: the collector never rests, so that a value which C keeps
-- without an anchor is gone by the time it is used.
collectgarbage("incremental", 0, 1000)
