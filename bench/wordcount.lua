--- Counting the words of a large text, against one core of awk.
-- @module bench.wordcount

local setup = require("bench.setup")

local wordcount = {}

local BYTES <const> = 200000000
local VOCABULARY <const> = 60000
local LINES <const> = 40000
local PROGRAM <const> = os.getenv("TASKENGINE_PROGRAM") or "build/taskengine"
local AWK <const> = [[LC_ALL=C awk '
  { for (i = 1; i <= NF; i++) n[$i]++ }
  END { for (w in n) print n[w], w }']]

-- Text like that of people: some words are frequent, most are rare. The same
-- in each run.
local function write_text(path, bytes)
  math.randomseed(1)
  local known, lines = {}, {}
  for i = 1, VOCABULARY do
    local letters = {}
    for k = 1, math.random(1, 11) do
      letters[k] = string.char(math.random(97, 122))
    end
    known[i] = table.concat(letters)
  end
  for i = 1, LINES do
    local line = {}
    for k = 1, math.random(1, 24) do
      line[k] = known[VOCABULARY ^ math.random() // 1 | 0]
    end
    lines[i] = table.concat(line, " ") .. "\n"
  end
  local file <close> = assert(io.open(path, "wb"))
  local size = 0
  while size < bytes do
    local some = {}
    for i = 1, 500 do
      some[i] = lines[math.random(LINES)]
    end
    local text = table.concat(some)
    size = size + #text
    assert(file:write(text))
  end
  return size
end

local function seconds(command, ...)
  local start = setup.now()
  assert(os.execute(command:format(...)))
  return setup.now() - start
end

--- Makes the text.
-- @tparam Server server whose folder it goes to
-- @tparam[opt=200000000] int bytes
function wordcount.prepare(server, bytes)
  wordcount.server = server
  wordcount.path = server.dir .. "/text"
  wordcount.bytes = write_text(wordcount.path, bytes or BYTES)
end

--- Compares two counts, whatever their order and columns.
-- @tparam string ours path of lines with a number and a word each
-- @tparam string theirs another one
-- @raise when they differ
function wordcount.compare(ours, theirs)
  for _, path in ipairs { ours, theirs } do
    assert(os.execute(("sed 's/^ *//' '%s' | LC_ALL=C sort >'%s.sorted'")
      :format(path, path)))
  end
  if not os.execute(("cmp -s '%s.sorted' '%s.sorted'")
    :format(ours, theirs)) then
    error("the words were not counted as awk does")
  end
end

--- Counts it by both, which must come to the same.
-- @treturn number MB/s of the whole command, with 2 processes
-- @treturn number how many times as fast as awk that is
function wordcount.measure()
  local ours, theirs = wordcount.path .. ".ours", wordcount.path .. ".awk"
  local took = seconds("%s run -q -b %s -P 2 recipes/mapreduce.lua wordcount"
    .. " %s >%s", PROGRAM, wordcount.server.url, wordcount.path, ours)
  local awk = seconds(AWK .. " %s >%s", wordcount.path, theirs)
  wordcount.compare(ours, theirs)
  return wordcount.bytes / 1e6 / took, awk / took
end

return wordcount
