--- A script that does what its arguments say, and how it is run.
--
--     local site = scripts.for_each_spec()
--     it("ends", function()
--       local ended = site:run("script.lua", "naps", "3", "0")
--     end)
--
-- @module spec.support.scripts

local core = require("taskengine.core")
local program = require("spec.support.program")

local scripts = {}

-- The script says on stdout what it has done; its first argument says what
-- that is to be.
local SCRIPT <const> = [[
local te = require("taskengine")
local app = te.app("script")
local pid = app:task("pid", function()
  return require("taskengine.core").sys.pid()
end)
local nap = app:task("nap", function(seconds) te.sleep(seconds) end)
app:task("brew", { queue = "kitchen" }, function() end)
local gate = app:task("gate", function(file)
  while not require("taskengine.core").sys.stat(file) do te.sleep(0.01) end
end)
local fail = app:task("fail", function() error("the task fails") end)
local what = {}

function what.args(...) print(#arg, ...) end
function what.pid() print(pid:delay():get()) end
function what.fail() fail:delay():get() end
function what.queues(...)
  for _, queue in ipairs { ... } do
    nap:apply_async({ 0 }, { queue = queue })
    nap:apply_async({ 0 }, { queue = queue })
  end
  nap:delay(0):get()
end
function what.err() local function f() error("the main fails") end f() end
function what.exit() nap:delay(0):get() os.exit(7) end
function what.exit_closing() nap:delay(0):get() os.exit(8, true) end
function what.busy() print(pid:delay():get()) io.stdout:flush()
  while true do end
end
function what.gates(count)
  local list = {}
  for i = 1, tonumber(count) do list[i] = { "gate-" .. i } end
  local results = app:enqueue_many(gate, list)
  print(results[1].id, results[#results].id)
  io.stdout:flush()
  for result in te.as_completed(results) do result:get() end
  print("all done")
end
function what.catch() pcall(function() what.naps(1, 100) end)
  print("caught") error("and fails")
end
function what.naps(count, seconds)
  local list = {}
  for i = 1, tonumber(count) do list[i] = { tonumber(seconds) } end
  local results = app:enqueue_many(nap, list)
  print(results[1].id, results[#results].id)
  io.stdout:flush()
  for result in te.as_completed(results) do result:get() end
  print("all done")
end
local stuck = app:task("stuck", function()
  io.open("begun", "w"):close()
  te.sleep(100)
end)
function what.leave(how, count)
  for i = 1, tonumber(count) do
    nap:apply_async({ 0 }, { countdown = 100 })
  end
  if how == "raise" then error("no") elseif how == "exit" then os.exit(0) end
end
function what.ignore()
  nap:apply_async({ 0 }, { ignore_result = true })
  nap:delay(0)
  nap:delay(0):get()
end
function what.stay() stuck:delay()
  while not require("taskengine.core").sys.stat("begun") do te.sleep(0.01) end
end

app:main(function(args)
  if args[1] then what[args[1] ](table.unpack(args, 2)) end
end)
]]

--- A place with that script in it.
-- @type Site
-- @tfield Place place
local Site = {}
Site.__index = Site

--- The script, `script.lua` in its place.
scripts.TEXT = SCRIPT

--- Opens a site before each spec of a block and closes it behind it.
-- @treturn Site of the spec that runs
function scripts.for_each_spec()
  return setmetatable({
    place = program.for_each_spec { files = { ["script.lua"] = SCRIPT } },
  }, Site)
end

--- Runs a script to its end.
-- @tparam string ... words behind `run -P 1`
-- @treturn table see `spec.support.program`
function Site:run(...)
  return self.place:run { "run", "-P", "1", ... }
end

--- Starts a script.
-- @tparam string ... words behind `run -P 1`
-- @treturn Process
function Site:start(...)
  return self.place:start { "run", "-P", "1", ... }
end

--- The private Redis of the script.
-- @treturn string its URL
function Site:broker()
  return "embedded://run-"
    .. core.sys.digest(core.sys.realpath(self.place.dir .. "/script.lua"))
end

--- The state of a task of the script's.
-- @tparam string id
-- @treturn string
function Site:state_of(id)
  local ended = self.place:run { "result", id, "--json", "-b", self:broker() }
  return assert(core.json.decode(ended.stdout)).state
end

return scripts
