-- Finds the primes up to N, with all processors of this machine:
--
--     taskengine run recipes/primes.lua N [--chunk C] [--list] [--pure]
--
-- or of many machines: `taskengine worker recipes/primes.lua -b URL` on each,
-- and `run -b URL`, with the URL of a Redis that all of them reach.

local te = require("taskengine")
local sys = require("taskengine.core").sys

local app = te.app("primes")

-- There are two ways to search a range: native/primes.c, by libprimesieve, and
-- trial division. Both have the functions count, pack, unpack and write.
local function way(pure)
  local is_there, found =
    pcall(require, pure and "trial_division" or "native.primes")
  if is_there then
    return found
  end
  local why = found:find("^module .- not found:") and "is not there"
    or "cannot be loaded: " .. found:match("[^\n]*$")
  error("its C module " .. why .. "; `make` in the sources builds it, and"
    .. " --pure does without", 0)
end

-- Each process that runs tasks loads this file; this tells them apart.
local process <const> = sys.hostname() .. ":" .. sys.pid()

local count_range = app:task("count_range", function(start, stop, pure)
  return { way(pure).count(start, stop), process }
end)

-- A list travels packed, a byte a prime: numbers would take five times that,
-- and far longer to decode.
local list_range = app:task("list_range", function(start, stop, pure)
  return { way(pure).pack(start, stop), process }
end)

-- Splits what was asked for into calls of a task, sends a batch of them and
-- hands each one's value to `take`, in the order that `through` yields the
-- results. Meanwhile the next batch is worked on, so that nobody idles; there
-- is never more than that one, so that memory stays flat.
local function spread(task, asked, batch_size, through, take)
  local start = 2
  local function send()
    local calls = {}
    while start <= asked.n and #calls < batch_size do
      local stop = math.min(start + asked.chunk - 1, asked.n)
      calls[#calls + 1] = { start, stop, asked.pure }
      start = stop + 1
    end
    return app:enqueue_many(task, calls)
  end

  local ahead = send()
  while #ahead > 0 do
    local batch = ahead
    ahead = send()
    for result in through(batch) do
      take(table.unpack(result:get()))
      result:forget() -- Redis would keep it for a day
    end
  end
end

local function in_order(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

local N_MAX <const> = 1e15 -- days of work
local GAP_MAX <const> = 906 -- between neighbouring primes below N_MAX
local LIST_CHUNK_MAX <const> = 20000000 -- 1.3 MB when it is packed

-- 64 tasks, so that all processes are done at about the same time; more when
-- each would take over 30 ms or so; fewer when each would spend its time on
-- the primes up to the root of N, which it has to find first.
local function default_chunk(asked)
  local largest = asked.pure and 1e4 or asked.list and 1e7 or 2e8
  return math.ceil(math.max(math.min(asked.n / 64, largest),
    16 * math.sqrt(asked.n), 1))
end

local function fail(code, text)
  io.stderr:write("primes: ", text, "\n")
  os.exit(code, true)
end

local function refuse(text, ...)
  fail(2, text:format(...) .. "\nusage: taskengine run recipes/primes.lua N"
    .. " [--chunk C] [--list] [--pure]")
end

-- A number as people write it: 1000000, 1e6, 10^6.
local function integer(what, text, min)
  local base, exponent = text:match("^(%d+)%^(%d+)$")
  local n = math.tointeger(base and base ^ exponent or tonumber(text))
  if not n or n < min or n > N_MAX then
    refuse("%s: an integer from %d to 10^15 expected, got '%s'", what, min,
      text)
  end
  return n
end

local function read(args)
  local asked = { pure = false, list = false }
  local words = in_order(args)
  for word in words do
    if word == "--list" or word == "--pure" then
      asked[word:sub(3)] = true
    elseif word == "--chunk" then
      asked.chunk = integer(word, words() or "", 1)
    elseif asked.n or word:find("^%-%-") then
      refuse("unknown argument '%s'", word)
    else
      asked.n = integer("N", word, 0)
    end
  end
  asked.n = asked.n or refuse("N is missing")
  asked.chunk = asked.chunk or default_chunk(asked)
  if asked.list then
    asked.chunk = math.min(asked.chunk, LIST_CHUNK_MAX)
  end
  return asked
end

app:main(function(args)
  local began = te.now()
  local asked = read(args)
  local is_there, search = pcall(way, asked.pure)
  if not is_there then
    fail(1, search)
  end
  local report = io.stdout
  local found, processes, known = 0, 0, {}
  local function add(count, by)
    found = found + count
    processes = processes + (known[by] and 0 or 1)
    known[by] = true
  end

  if asked.list then
    report = io.stderr -- stdout has the primes, and nothing else
    local start = 2
    spread(list_range, asked, 16, in_order, function(packed, by)
      local count, why = search.write(io.stdout, packed, start)
      add(count or fail(1, "stdout: " .. why), by)
      start = start + asked.chunk
    end)
  else
    spread(count_range, asked, 1000, te.as_completed, add)
  end

  report:write("Found ", found, found == 1 and " prime" or " primes",
    " up to ", asked.n, "\n")
  if found > 0 then
    local first = search.pack(2, math.min(asked.n, 29))
    local start = math.max(asked.n - GAP_MAX, 2)
    local last = search.unpack(search.pack(start, asked.n), start)
    report:write("First: ", table.concat(search.unpack(first, 2), ", "), "\n")
    report:write("Last: ", last[#last], "\n")
  end
  report:write(("Took %.2f s; worker processes: %d\n"):format(
    te.now() - began, processes))
end)

return app
