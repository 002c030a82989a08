-- client.lua MEASURE N: prints `name value` lines; times in seconds.

local core = require("taskengine.core")
local te = require("taskengine")

local now <const> = core.sys.monotonic
local BATCH <const> = 100000 -- calls that are made ready at a time
local MEMBERS <const> = 1000 -- of a large group or chord

local app = te.app("bench")
local noop = app:task("noop", function() end)
local add = app:task("add", function(x, y)
  return x + y
end)
local square = app:task("square", function(x)
  return x * x
end)
local total = app:task("total", function() end)

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

-- Prints how long each of so many took; fn must return what is due.
local function timed(name, count, due, fn)
  for _ = 1, count do
    local start = now()
    local value = fn()
    print(name, now() - start)
    assert(value == due)
  end
end

-- The sum of the squares of 1 to n.
local function sum_of_squares(n)
  return n * (n + 1) * (2 * n + 1) // 6
end

local function chord(name, count, members)
  timed(name, count, sum_of_squares(members), function()
    local squares = {}
    for i = 1, members do
      squares[i] = square:s(i)
    end
    return te.chord(squares)(total:s()):get()
  end)
end

function measures.chain(count)
  timed("chain", count, 25, function()
    return te.chain(add:s(4, 6), add:s(10), add:s(5))():get()
  end)
end

function measures.chord(count)
  chord("chord", count, 10)
end

function measures.largechord(count)
  chord("largechord", count, MEMBERS)
end

function measures.hugechord(members)
  chord("hugechord", 1, members)
end

function measures.group(count)
  timed("group", count, MEMBERS * (MEMBERS + 1), function()
    local adds = {}
    for i = 1, MEMBERS do
      adds[i] = add:s(i, i)
    end
    local sum = 0
    for _, value in ipairs(te.group(adds)():get()) do
      sum = sum + value
    end
    return sum
  end)
end

-- Stored, and not waited for.
function measures.sendchain(steps)
  local list = { add:s(0, 1) }
  for i = 2, steps do
    list[i] = add:s(1)
  end
  te.chain(list)()
end

measures[arg[1]](math.tointeger(arg[2]))
