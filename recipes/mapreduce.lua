-- Map, combine, partition and reduce, with all processors of this machine:
--
--     taskengine run recipes/mapreduce.lua squares [N] [--chunk C]
--     taskengine run recipes/mapreduce.lua wordcount FILE... [--reducers R]
--         [--range BYTES] [--spool FOLDER]
--
-- `squares` sums up the squares of the numbers below N (1000), C (100) at a
-- time. `wordcount` says how often each word is in the files, as
-- `tr -s '[:space:]' '\n' | sort | uniq -c` does by bytes, but for three
-- things: white space in front of the first word is no word, where tr makes an
-- empty one of it; a file's last word ends with it; and a word of over 1 MiB is
-- refused. Merging has to have 32 words in memory, and no process takes more
-- than 64 MB.
--
-- A word count of many machines: `taskengine worker recipes/mapreduce.lua -b
-- URL` on each and `run -b URL`. The files travel by their paths, so all
-- machines must see them at the same place, and the spool folder, too.

local recipe = require("recipe")
local te = require("taskengine")
local sys = require("taskengine.core").sys

local native, try = recipe.native, recipe.try
local app = te.app("mapreduce")

local map_task = app:task("map_task", function(numbers)
  local squares = {}
  for i, n in ipairs(numbers) do
    squares[i] = n * n
  end
  return squares
end)

-- With `stream`, the results of all maps come one by one, and are not in memory
-- at once.
local reduce_task = app:task("reduce_task", { stream = true }, function(results)
  local sum = 0
  for _, squares in results do
    for _, square in ipairs(squares) do
      sum = sum + square
    end
  end
  return sum
end)

-- A task that is started twice, by whatever accident, writes to other files
-- the second time: nobody reads what somebody else writes.
local written = 0
local function new_path(spool, what)
  written = written + 1
  return ("%s/%s-%s-%d-%d-%d"):format(spool, what, sys.hostname(), sys.pid(),
    written, sys.monotonic() * 1e6 // 1)
end

-- Counts the words of a range of a file, each once: what map and combine are
-- in one. A word's hash says to which part of the runs it goes, and the runs
-- stay in the spool folder: only their name and number travel.
local map_words = app:task("map_words", function(range, job)
  local out = new_path(job.spool, "map")
  local runs = try(native("wordcount").count(range.path, range.from, range.to,
    out, job.reducers, job.seed))
  return { out = out, runs = runs }
end)

-- Merges runs, as many as can be merged at once, until no more than that are
-- left. What has been merged has one part alone.
local function merge_most(runs, part, spool)
  local merge = native("wordmerge")
  local first = 1
  while #runs - first >= merge.runs_max do
    local some = table.move(runs, first, first + merge.runs_max - 1, 1, {})
    local out = new_path(spool, "merge")
    try(merge.merge(some, part, out))
    table.insert(runs, out)
    first = first + merge.runs_max
  end
  return table.move(runs, first, #runs, 1, {})
end

-- Sums up the words of one part of all runs.
local function reduce(maps, part, job)
  local runs = {}
  for _, map in maps do
    for i = 1, map.runs do
      table.insert(runs, map.out .. "." .. i)
    end
  end
  local out = new_path(job.spool, "reduce")
  runs = merge_most(runs, part, job.spool)
  try(native("wordmerge").merge(runs, part, out))
  return out
end

local reduce_words = app:task("reduce_words", { stream = true }, reduce)

local USAGE <const> = [[
usage: taskengine run recipes/mapreduce.lua squares [N] [--chunk C]
       taskengine run recipes/mapreduce.lua wordcount FILE...
         [--reducers R] [--range BYTES] [--spool FOLDER]
]]
local N_MAX <const> = 3000000 -- the sum is an integer up to there
local RANGE_MIN <const> = 1 << 20
local RANGE_MAX <const> = 16 << 20
local RANGES <const> = 24 -- so that all processes are done about the same time
local RANGES_MAX <const> = 20000

local function ranges_of(files, asked)
  local sum = 0
  for _, file in ipairs(files) do
    sum = sum + file.size
  end
  local size = asked.range or math.max(sum // RANGES_MAX,
    math.min(math.max(sum // RANGES, RANGE_MIN), RANGE_MAX))
  local ranges = {}
  for _, file in ipairs(files) do
    for from = 0, file.size - 1, size do
      table.insert(ranges, { path = file.path, from = from,
        to = math.min(from + size, file.size) })
    end
  end
  return ranges
end

local function complain(path, why)
  error(("%s: %s"):format(path, (why:gsub("^%u+: ", ""))), 0)
end

local function look_at(paths)
  local files = {}
  for i, path in ipairs(paths) do
    local found, why = sys.stat(path)
    if not found then
      complain(path, why)
    elseif found.type ~= "file" then
      complain(path, "is not a file, but of type " .. found.type)
    end
    files[i] = { path = try(sys.realpath(path)), size = found.size }
  end
  return files
end

local function chance()
  local file <close> = try(io.open("/dev/urandom", "rb"))
  return (string.unpack("j", file:read(8)))
end

local STOP_SECONDS <const> = 2
local SPOOL <const> = "taskengine-wordcount-"
-- What is in it; nothing else is ever removed, whatever has got there.
local SPOOLED <const> = { "^flow$", "^map%-", "^merge%-", "^reduce%-" }

local function remove_spool(path)
  for _, name in ipairs(sys.list(path) or {}) do
    for _, pattern in ipairs(SPOOLED) do
      if name:find(pattern) then
        os.remove(path .. "/" .. name)
      end
    end
  end
  os.remove(path)
end

-- Ends what a count has left that was killed: its tasks, which nobody waits for
-- any more, and then their files.
local function sweep(folder)
  local left = recipe.left(folder, recipe.literal(SPOOL), "%-%x+")
  for _, path in ipairs(left) do
    recipe.revoke(app, path .. "/flow")
    remove_spool(path)
  end
end

local Spool = {}
Spool.__index = Spool

-- A folder for what the tasks write, gone with all that is in it at the end.
local function make_spool(folder)
  sweep(folder)
  local path = ("%s/%s%s-%d-%016x"):format(folder, SPOOL, sys.hostname(),
    sys.pid(), chance())
  local ok, why = sys.mkdir_p(path, 448) -- for this user alone
  if not ok then
    complain(path, why)
  end
  return setmetatable({ path = try(sys.realpath(path)) }, Spool)
end

-- Says whose files these are.
function Spool:belongs_to(flow)
  self.flow = flow
  local file <close> = try(io.open(self.path .. "/flow", "wb"))
  try(file:write(flow.id))
end

-- Revokes a workflow, and waits a little for those of its tasks that run.
local function stop(flow)
  flow:revoke()
  local limit = sys.monotonic() + STOP_SECONDS
  while flow:info().left > 0 and sys.monotonic() < limit do
    te.sleep(0.01)
  end
end

-- No task of a count that is not through is to look for its files when these
-- are gone. Who is interrupted gets no answer any more, but the revocation goes
-- out.
function Spool:__close(problem)
  if problem and self.flow then
    pcall(stop, self.flow)
  end
  remove_spool(self.path)
end

-- Sends a workflow and waits for what it comes to.
local function value_of(workflow, spool)
  local result = workflow()
  if spool then
    spool:belongs_to(result.flow)
  end
  local ok, value = result:wait()
  if not ok then
    error(value.cause or value, 0)
  end
  result:forget() -- Redis would keep it for a day
  return value
end

local function wordcount(asked)
  native("wordcount") -- so that it is missed here, and not by each task
  local write = native("wordmerge").write
  local files = look_at(asked)
  local spool <close> = make_spool(asked.spool)
  local job = { spool = spool.path, reducers = asked.reducers, seed = chance() }
  local maps, reduces = {}, {}
  for i, range in ipairs(ranges_of(files, asked)) do
    maps[i] = map_words:s(range, job)
  end
  for part = 1, asked.reducers do
    reduces[part] = reduce_words:s(part, job)
  end
  local paths = value_of(te.group(maps) | te.group(reduces), spool)
  try(write(io.stdout, paths))
end

local function squares(asked)
  local maps = {}
  for first = 0, asked.n - 1, asked.chunk do
    local numbers = {}
    for n = first, math.min(first + asked.chunk, asked.n) - 1 do
      table.insert(numbers, n)
    end
    table.insert(maps, map_task:s(numbers))
  end
  local sum = value_of(te.chord(te.group(maps), reduce_task:s()))
  print("Sum of squares: " .. sum)
end

local function fail(code, ...)
  io.stderr:write("mapreduce: ", ...)
  os.exit(code, true)
end

local function refuse(text, ...)
  fail(2, text:format(...), "\n", USAGE)
end

local function integer(what, text, min, max)
  local n = math.tointeger(tonumber(text))
  if not n or n < min or n > max then
    refuse("%s: an integer from %d to %d expected, got '%s'", what, min, max,
      text)
  end
  return n
end

local function to_integer(what, min, max)
  return function(text)
    return integer(what, text, min, max)
  end
end

local function run_squares(args)
  local asked = recipe.read(args, {
    ["--chunk"] = to_integer("--chunk", 1, 10000),
  }, refuse, 1)
  asked.n = integer("N", asked[1] or "1000", 0, N_MAX)
  asked.chunk = asked.chunk or 100
  squares(asked)
end

local function run_wordcount(args)
  local asked = recipe.read(args, {
    ["--reducers"] = to_integer("--reducers", 1, 32),
    ["--range"] = to_integer("--range", 1, 1 << 40),
    ["--spool"] = tostring,
  }, refuse)
  asked.reducers = asked.reducers or math.min(sys.ncpus(), 32)
  asked.spool = asked.spool or os.getenv("TMPDIR") or "/tmp"
  if #asked == 0 then
    refuse("FILE is missing")
  end
  wordcount(asked)
end

app:main(function(args)
  recipe.help(args, USAGE)
  local what = args[1] or "squares"
  local run = what == "squares" and run_squares
    or what == "wordcount" and run_wordcount
    or refuse("'squares' or 'wordcount' expected, got '%s'", what)
  local ok, problem = pcall(run, table.move(args, 2, #args, 1, {}))
  if ok then
    return
  elseif type(problem) == "string" then
    fail(1, problem, "\n")
  elseif problem.kind == "Error" then -- of a task, whose text says all
    fail(1, problem.message, "\n")
  end
  error(problem, 0)
end)

return app
