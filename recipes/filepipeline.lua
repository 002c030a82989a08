-- Counts words, lines and different words of text files: each is read,
-- processed and saved by a chain of three tasks.
--
--     taskengine run recipes/filepipeline.lua FILE [--out resultats.txt]
--     taskengine run recipes/filepipeline.lua FOLDER [--out resultats]
--         [--spool FOLDER]
--
-- Of a folder, all files below it are processed at once, by all processors;
-- the results of FOLDER/some/file are in resultats/some/file. Interrupted in
-- whatever way, the same command goes on: a file is processed again only when
-- it is newer than its results, and what a killed run has left in the queue is
-- revoked. What cannot be read, or is no file, is listed at the end. How far a
-- large file is, its task says in the log, and to `taskengine result`.
--
-- Words stand between the white space of Unicode, lines end with \n, \r\n or
-- \r, and bytes that are no UTF-8 belong to words. Texts of any size take the
-- same memory: what travels is a path, and different words that do not fit go
-- to the spool folder (TMPDIR, or /tmp).

local recipe = require("recipe")
local te = require("taskengine")
local sys = require("taskengine.core").sys

local try = recipe.try
local app = te.app("filepipeline")

local BLOCK <const> = 256 << 10
local LOG_S <const> = 5 -- between two lines that say how far a file is
local COUNTS <const> = { "nombre_mots", "nombre_lignes", "mots_uniques" }
local PATTERN <const> = ("^" .. ("%s: (%%d+)\n"):rep(3) .. "$")
  :format(table.unpack(COUNTS))

-- The counts that were saved; nil when there are none, or older ones than the
-- text.
local function saved(source, out)
  local text, results = sys.stat(source), sys.stat(out)
  if not text or not results or results.mtime < text.mtime then
    return nil
  end
  local file <close> = io.open(out, "rb")
  local counts = { (file and file:read("a") or ""):match(PATTERN) }
  local stats = {}
  for i, count in ipairs(counts) do
    stats[COUNTS[i]] = math.tointeger(count)
  end
  return #counts > 0 and stats or nil
end

-- Step 1. The text itself stays where it is: it may be larger than what can
-- travel, and than memory.
local read_file = app:task("read_file", function(path)
  local found, problem = sys.stat(path)
  if not found or found.type ~= "file" then
    error(path .. ": " .. (problem or "is not a file"), 0)
  end
  local file <close> = try(io.open(path, "rb"))
  local _, why = file:read(0) -- nil at the end, too
  if why then
    error(path .. ": " .. why, 0)
  end
  return path
end)

local function is_same(a, b)
  return a and b and a.mtime == b.mtime and a.size == b.size
end

-- Returns a function to be told how many bytes more were read.
local function progress_of(self, path, size)
  local read, log_at = 0, sys.monotonic() + LOG_S
  return function(bytes)
    read = read + bytes
    local fraction = math.min(read / size, 1) -- it may grow meanwhile
    self:progress(fraction, path)
    if sys.monotonic() >= log_at then
      log_at = sys.monotonic() + LOG_S
      self:log("info", ("%s: %.0f %%"):format(path, 100 * fraction))
    end
  end
end

local function feed(counter, path, file, note)
  local block, why = file:read(BLOCK)
  while block do
    try(counter:feed(block))
    note(#block)
    block, why = file:read(BLOCK)
  end
  if why then
    error(path .. ": " .. why, 0)
  end
end

-- Step 2. With `out`, a text whose results are there is not counted again, as
-- may be when an interrupted run has left its chains.
local function count(self, path, spool, out)
  local done = out and saved(path, out)
  if done then
    return done
  end
  local file <close> = try(io.open(path, "rb"))
  local before = try(sys.stat(path))
  local counter <close> = recipe.native("textcount").new(spool)
  feed(counter, path, file, progress_of(self, path, before.size))
  if out and not is_same(before, sys.stat(path)) then
    error(path .. ": changed while it was read", 0)
  end
  local words, lines, different = try(counter:finish())
  return {
    nombre_mots = words, nombre_lignes = lines, mots_uniques = different,
  }
end

-- What has been begun goes first: when a run is killed, some files are done,
-- and not all of those under way half done.
local process_text = app:task("process_text", { bind = true, priority = 1 },
  count)

local function lines_of(stats)
  local lines = {}
  for i, name in ipairs(COUNTS) do
    lines[i] = ("%s: %d\n"):format(name, stats[name])
  end
  return table.concat(lines)
end

local function write_file(path, text)
  local file <close>, why = io.open(path, "wb")
  if not file then
    return nil, why
  end
  local ok
  ok, why = file:write(text)
  if ok then
    ok, why = file:close()
  end
  return ok, why
end

-- What a process needs beside results while it works. The name is short,
-- however long that of the results is.
local function beside(out, what)
  local folder, name = recipe.split(out)
  return ("%s/.%s.%s-%d.%s"):format(folder, sys.digest(name), sys.hostname(),
    sys.pid(), what)
end

-- What killed processes have left beside results, or beside all in a folder.
local function left(folder, name, what)
  return recipe.left(folder,
    "%." .. (name and sys.digest(name) or ("%x"):rep(16)) .. "%.",
    "%." .. what)
end

-- Removes files that were to become results; `name` is of one, or nil.
local function sweep(folder, name)
  for _, path in ipairs(left(folder, name, "part")) do
    os.remove(path)
  end
end

-- Step 3. The results are there as a whole or not at all.
local save_results = app:task("save_results", { priority = 2 }, function(stats,
  out)
  local part = beside(out, "part")
  local ok, why = sys.mkdir_p((recipe.split(out)))
  if ok then
    ok, why = write_file(part, lines_of(stats))
  end
  if ok then
    ok, why = os.rename(part, out)
  end
  if not ok then
    os.remove(part)
    error(out .. ": " .. why, 0)
  end
  return stats
end)

-- The files below a folder, in order: yields the path from there, or that and
-- why it cannot be read, or that, nil and what it is that is no file. Links to
-- folders are not followed, as they may lead in circles. The folder of the
-- results is left out, and rid of what killed processes have left in it.
local function walk(top, results)
  local function visit(folder)
    sweep(results .. folder)
    local names, why = sys.list(top .. folder .. "/")
    if not names then
      coroutine.yield(folder, why)
    end
    for _, name in ipairs(names or {}) do
      local path = folder .. "/" .. name
      local found, problem = sys.stat(top .. path)
      if not found then
        coroutine.yield(path, problem)
      elseif found.type == "file" then
        coroutine.yield(path)
      elseif found.type ~= "directory" then
        coroutine.yield(path, nil, found.type)
      elseif top .. path ~= results
        and sys.realpath(top .. path) == top .. path then
        visit(path)
      end
    end
  end
  return coroutine.wrap(function()
    visit("")
    while true do -- each of those who share it hears of the end
      coroutine.yield(nil)
    end
  end)
end

-- Sends a file through the steps; returns the counts, or nil and why not. In
-- `place` is noted what is under way, as long as it is.
local function run_chain(path, out, asked, sent, place)
  local result = te.chain(
    read_file:s(path),
    process_text:s(asked.spool, asked.is_tree and out or nil),
    save_results:s(out)
  )()
  sent:note(place, result.flow.id)
  local done, stats = result:wait()
  result:forget() -- Redis would keep it for a day
  if done then
    return stats
  end
  return nil, stats.cause or stats
end

local function fail(code, ...)
  io.stderr:write("filepipeline: ", ...)
  os.exit(code, true)
end

local USAGE <const> = "usage: taskengine run recipes/filepipeline.lua"
  .. " FILE|FOLDER [--out PATH] [--spool FOLDER]\n"

local function refuse(text, ...)
  fail(2, text:format(...), "\n", USAGE)
end

-- Why a file failed, for people; the path comes first, once.
local function told(path, problem)
  local text = problem.message or problem
  text = text:gsub("^%u+: ", "")
  if text:sub(1, #path + 2) == path .. ": " then
    text = text:sub(#path + 3)
  end
  return path .. ": " .. text .. "\n"
end

local function make_folder(path)
  local ok, why = sys.mkdir_p(path)
  if not ok then
    fail(1, told(path, why))
  end
end

-- Ends what killed runs have sent that saved beside `out`. Returns where this
-- one is to note what it sends.
local function take_over(out)
  local path = beside(out, "flows")
  local folder, name = recipe.split(out)
  local before = left(folder, name, "flows")
  -- In a container each run may have the same number.
  table.insert(before, path)
  for _, one in ipairs(before) do
    recipe.revoke(app, one)
    os.remove(one)
  end
  local sent, why = recipe.sent(path)
  return sent or fail(1, why, "\n")
end

-- How many files are under way at once: enough for many machines, and few
-- enough for a tree of any size.
local WINDOW <const> = 256

-- Counts the files below a folder; what they come to.
local function count_tree(top, results, asked)
  local found = { before = 0, now = 0, failed = {}, odd = {}, words = 0,
    lines = 0 }
  local function note(what, stats)
    found[what] = found[what] + 1
    found.words = found.words + stats.nombre_mots
    found.lines = found.lines + stats.nombre_lignes
  end
  local sent <close> = take_over(results .. "/")
  local files = walk(top, results)
  local function visit(path, place)
    local source, out = top .. path, results .. path
    local before = saved(source, out)
    if before then
      return note("before", before)
    end
    local stats, problem = run_chain(source, out, asked, sent, place)
    if stats then
      note("now", stats)
    end
    return problem
  end
  local function go_on(place)
    for path, problem, odd in files do
      if odd then
        table.insert(found.odd, { path = top .. path, why = odd })
      else
        problem = problem or visit(path, place)
      end
      if problem then
        table.insert(found.failed, { path = top .. path, why = problem })
      end
    end
  end
  local fibers = {}
  for i = 1, WINDOW do
    fibers[i] = te.spawn(go_on, i)
  end
  for _, one in ipairs(fibers) do
    one:get()
  end
  return found
end

-- Files and what is the matter with them, a line each, in order.
local function listed(list)
  table.sort(list, function(a, b)
    return a.path < b.path
  end)
  local lines = {}
  for i, one in ipairs(list) do
    lines[i] = "  " .. told(one.path, one.why)
  end
  return table.concat(lines)
end

local function run_tree(top, asked)
  local out = asked.out or "resultats"
  make_folder(out)
  local results = try(sys.realpath(out))
  -- A folder above would get results where texts are, too.
  if (top .. "/"):find(results == "/" and "/" or results .. "/", 1, true) == 1
  then
    refuse("%s: results must not go where the texts are", out)
  end
  local found = count_tree(top, results, asked)
  print(("Files: %d processed, %d processed before, %d failed"):format(
    found.now, found.before, #found.failed))
  print(("Words: %d, lines: %d"):format(found.words, found.lines))
  if #found.odd > 0 then
    io.stderr:write("filepipeline: these are no files, and were left out:\n",
      listed(found.odd))
  end
  if #found.failed > 0 then
    fail(1, "these files have failed:\n", listed(found.failed))
  end
end

local function run_file(path, asked)
  local out = asked.out or "resultats.txt"
  if out:sub(1, 1) ~= "/" then
    out = try(sys.realpath(".")) .. "/" .. out
  end
  if sys.realpath(out) == path then
    refuse("%s: results must not go where the text is", path)
  end
  local folder, name = recipe.split(out)
  make_folder(folder)
  sweep(folder, name)
  local stats, problem
  do
    local sent <close> = take_over(out)
    stats, problem = run_chain(path, out, asked, sent, 1)
  end
  if not stats then
    fail(1, told(path, problem))
  end
  io.write(lines_of(stats), "Saved in ", asked.out or "resultats.txt", "\n")
end

local function read(args)
  local asked = recipe.read(args, { ["--out"] = tostring,
    ["--spool"] = tostring }, refuse, 1)
  asked.path = asked[1] or refuse("FILE or FOLDER is missing")
  asked.spool = asked.spool or os.getenv("TMPDIR") or "/tmp"
  return asked
end

app:main(function(args)
  recipe.help(args, USAGE)
  local asked = read(args)
  local is_there, problem = pcall(recipe.native, "textcount")
  if not is_there then
    fail(1, problem, "\n")
  end
  local found, why = sys.stat(asked.path)
  if not found then
    fail(1, told(asked.path, why))
  end
  local path = try(sys.realpath(asked.path))
  if found.type == "directory" then
    asked.is_tree = true
    run_tree(path == "/" and "" or path, asked)
  else
    run_file(path, asked)
  end
end)

return app
