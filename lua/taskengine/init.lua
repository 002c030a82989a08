--- A distributed task engine: define tasks, send them, wait for their results.
--
--    local te = require("taskengine")
--    local app = te.app("tasks")
--    local add = app:task("add", function(x, y) return x + y end)
--    app:main(function() print(add:delay(4, 6):get()) end)
-- @module taskengine

local app = require("taskengine.app")
local canvas = require("taskengine.canvas")
local completion = require("taskengine.completion")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local spawn = require("taskengine.spawn")

local te = {}

--- Makes an app.
-- @function app
-- @tparam string name
-- @tparam[opt] table settings see @{taskengine.app.App:configure}
-- @treturn App
-- @raise when a setting is unknown or wrong
te.app = app.new

--- Makes a chain, see @{taskengine.canvas.chain}.
-- @function chain
-- @param ... canvases, or one list of them
-- @treturn Canvas
te.chain = canvas.chain

--- Makes a group, see @{taskengine.canvas.group}.
-- @function group
-- @param ... canvases, or one list of them
-- @treturn Canvas
te.group = canvas.group

--- Makes a chord, see @{taskengine.canvas.chord}.
-- @function chord
-- @tparam Canvas|{Canvas,...} header
-- @tparam[opt] Canvas body
-- @treturn Canvas
te.chord = canvas.chord

--- Makes a flow, see @{taskengine.canvas.flow}.
-- @function flow
-- @tparam table about
-- @treturn Canvas
te.flow = canvas.flow

--- Yields results as their tasks end. That of a group or a flow has when it
-- would be `ready`.
-- @function as_completed
-- @tparam Results|{Result|GroupResult|FlowResult,...} list
-- @tparam[opt] number timeout in seconds, for all of them
-- @return an iterator for a generic `for`
-- @raise in the loop: TaskError of kind Timeout when the time is up
te.as_completed = completion.as_completed

--- Waits until all tasks have ended, or the time is up.
-- @function wait
-- @tparam Results|{Result|GroupResult|FlowResult,...} list
-- @tparam[opt] number timeout in seconds
-- @treturn {Result,...} those whose tasks have ended, in that order
-- @treturn {Result,...} the others
te.wait = completion.wait

--- Waits; other tasks of this process go on meanwhile.
-- @function sleep
-- @tparam number seconds
te.sleep = spawn.sleep

--- Runs a function beside this one, in the same process: it begins when this
-- one waits. A task takes with it, when it ends, what it has spawned; an error
-- that nobody has asked for by then, with `get` or `wait`, is logged. In plain
-- Lua it is written to stderr when nobody can ask any more: when the object
-- that this returns is collected, at the end of the program at the latest.
-- @function spawn
-- @tparam function fn
-- @param ... its arguments
-- @treturn Spawned with `get` and `wait`
te.spawn = spawn.start

--- The time.
-- @function now
-- @treturn number seconds since 1970
te.now = core.sys.wall

--- Stands for nil inside the tables that travel.
te.null = core.codec.null

--- The class of the errors that @{taskengine.result.Result:get} and the like
-- raise; see @{taskengine.errors}.
te.TaskError = errors.TaskError

return te
