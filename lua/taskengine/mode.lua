--- What this Lua state was started for.
--
-- The command line and the worker's child say so before they load any file;
-- a state that nobody told is plain Lua.
-- @module taskengine.mode

local mode = {}

--- `"plain"`: a script by itself; `"run"`: `taskengine run`; `"worker"`: tasks
-- are run here.
mode.name = "plain"

--- In `"worker"`, whether its files are being loaded: it has no way to Redis
-- yet.
mode.is_loading = false

--- In `"run"`, the script's arguments.
mode.args = {}

--- In `"run"`, what is called before the script's main: all tasks are defined
-- then.
mode.before_main = nil

--- In `"run"`, whether the script's main was there and was called.
mode.has_run = false

return mode
