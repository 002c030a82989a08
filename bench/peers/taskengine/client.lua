-- client.lua MEASURE N: prints `name value` lines; times in seconds.

local core = require("taskengine.core")
local te = require("taskengine")

local now <const> = core.sys.monotonic
local BATCH <const> = 100000 -- calls that are made ready at a time

local app = te.app("bench")
local noop = app:task("noop", function() end)
local add = app:task("add", function(x, y)
  return x + y
end)

local function bulk(task, count, args)
  local seconds = 0
  for first = 1, count, BATCH do
    local calls = {}
    for i = first, math.min(first + BATCH - 1, count) do
      calls[#calls + 1] = args(i)
    end
    local start = now()
    app:enqueue_many(task, calls)
    seconds = seconds + now() - start
  end
  print("seconds", seconds)
end

local measures = {}

function measures.noop(count)
  bulk(noop, count, function()
    return {}
  end)
end

function measures.add(count)
  bulk(add, count, function(i)
    return { i, i }
  end)
end

function measures.single(count)
  local start = now()
  for i = 1, count do
    add:delay(i, i)
  end
  print("seconds", now() - start)
end

function measures.round(count)
  for i = 1, count do
    local start = now()
    local sum = add:delay(i, i):get()
    print("round", now() - start)
    assert(sum == i + i)
  end
end

measures[arg[1]](math.tointeger(arg[2]))
