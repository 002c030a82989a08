--- How many instructions a workflow takes Redis, by valgrind's callgrind: about
-- the same number whatever else the machine does.
--
--     make && eval "$(build/taskengine env)"
--     lua5.4 bench/instructions.lua chain|chord|group [COUNT]
--
-- The calls of a client and of a worker with one process are made by hand, so
-- that the count is of the functions and the calls themselves.
-- @script bench.instructions

package.path = "./?.lua;" .. package.path

local core = require("taskengine.core")
local compile = require("taskengine.canvas.compile")
local pieces = require("taskengine.canvas.pieces")
local setup = require("bench.setup")
local te = require("taskengine")

local KEYS <const> = "te:{default.0}:"
local WORKER <const>, LEASE_MS <const> = "aworkerbyhan", "600000"
local ROOM <const>, TOLD_TOGETHER <const> = 1000, 60
local WARM <const> = 20

local kind, count = arg[1], math.tointeger(tonumber(arg[2] or 100))
if not (kind == "chain" or kind == "chord" or kind == "group")
  or not count or count < 1 then
  error("how: lua5.4 bench/instructions.lua chain|chord|group [COUNT]", 0)
end
local out <const> = os.tmpname()

local function canvas_of(app)
  local add, total = app:task("add", function() end),
    app:task("total", function() end)
  local function members(n)
    local list = {}
    for i = 1, n do
      list[i] = add:s(i, i)
    end
    return list
  end
  return kind == "chain" and te.chain(add:s(4, 6), add:s(10), add:s(5))
    or kind == "chord" and te.chord(members(10), total:s())
    or te.group(members(1000))
end

local server <close> = setup.redis(false, {
  "valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=" .. out,
})

-- The functions come into Redis with a worker.
local function load_functions()
  local is_over = false
  local worker = core.sys.spawn({ "build/taskengine", "worker",
    "bench/tasks.lua", "-b", server.url, "-P", "1", "-l", "warn" }, {
    on_exit = function()
      is_over = true
    end,
  })
  setup.wait(function()
    return server:call("EXISTS", KEYS .. "sl:default") > 0
  end, "worker")
  worker:kill("SIGTERM")
  setup.wait(function()
    return is_over
  end, "its end")
end

local function call(name, ...)
  local args = table.pack(...)
  for i = 1, args.n do
    args[i] = tostring(args[i])
  end
  return server:call("FCALL", "te1_" .. name, "1", KEYS, table.unpack(args))
end

local deliveries = 0

-- What the worker has got, every other task first, as two processes tell.
local function in_flight()
  local fields, order = server:call("HKEYS", KEYS .. "f:" .. WORKER), {}
  table.sort(fields)
  for first = 1, 2 do
    for i = first, #fields, 2 do
      order[#order + 1] = fields[i]
    end
  end
  return order
end

local function fetch()
  deliveries = deliveries + 1
  call("fetch", WORKER, LEASE_MS, ROOM, deliveries, 3, "default")
  return in_flight()
end

local function finish(fields)
  deliveries = deliveries + 1
  local n = math.min(#fields, TOLD_TOGETHER)
  local args = { WORKER, LEASE_MS, "t", ROOM - #fields + n, deliveries,
    "m", "default", 86400, n }
  for i = 1, n do
    table.move({ fields[i], "S\1" }, 1, 2, #args + 1, args)
  end
  call("finish", table.unpack(args))
end

local function run(plan, k)
  local producer = ("%012X"):format(k)
  local packed = pieces.new(plan, {
    message_bytes_max = 1 << 20, result_expires = 86400,
    serializer = "msgpack",
  })
  call("flow", table.unpack(packed:portion {
    producer, 3, plan.count, 86400, "", "a:inbox", plan.result.node,
  }))
  local fields = in_flight()
  while fields[1] or fetch()[1] do
    finish(in_flight())
    fields = in_flight()
  end
end

local function control(what)
  assert(os.execute(("callgrind_control %s %d >/dev/null 2>&1"):format(what,
    server.process:pid())))
end

local function instructions()
  local file <close> = assert(io.open(out .. ".1"))
  return tonumber(file:read("a"):match("\nsummary: (%d+)")
    or error("callgrind has written no summary", 0))
end

load_functions()
call("register", WORKER, LEASE_MS, "", "default")
local plan = compile.plan(canvas_of(te.app("bench", { broker = server.url })))
for k = 1, WARM do
  run(plan, k)
end
control("-z")
for k = WARM + 1, WARM + count do
  run(plan, k)
end
control("-d")
setup.wait(function()
  return core.sys.stat(out .. ".1") ~= nil
end, "callgrind")
print(("%s: %d instructions of Redis each"):format(kind,
  instructions() // count))
os.remove(out)
os.remove(out .. ".1")
