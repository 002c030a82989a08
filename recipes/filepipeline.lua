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
-- it is newer than its results. What cannot be read is listed at the end. How
-- far a large file is, its task says in the log, and to `taskengine result`.
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

local process_text = app:task("process_text", { bind = true }, count)

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

-- Removes files that were to become results; `name` is of one, or nil.
local function sweep(folder, name)
  local before = name and recipe.literal(name) or ".*"
  for _, path in ipairs(recipe.left(folder, before .. "%.", "%.part")) do
    os.remove(path)
  end
end

-- Step 3. The results are there as a whole or not at all.
local save_results = app:task("save_results", function(stats, out)
  local part = ("%s.%s-%d.part"):format(out, sys.hostname(), sys.pid())
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
-- why it cannot be read. Links to folders are not followed, as they may lead
-- in circles. The folder of the results is left out, and rid of what killed
-- processes have left in it.
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
      elseif found.type == "directory" and top .. path ~= results
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

-- Sends a file through the steps; returns the counts, or nil and why not.
local function run_chain(path, asked, out, is_known)
  local result = te.chain(
    read_file:s(path),
    process_text:s(asked.spool, is_known and out or nil),
    save_results:s(out)
  )()
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

local function refuse(text, ...)
  fail(2, text:format(...), "\nusage: taskengine run recipes/filepipeline.lua"
    .. " FILE|FOLDER [--out PATH] [--spool FOLDER]\n")
end

-- How many files are under way at once: enough for many machines, and few
-- enough for a tree of any size.
local WINDOW <const> = 256

-- Counts the files below a folder; what they come to.
local function count_tree(top, results, asked)
  local found = { before = 0, now = 0, failed = {}, words = 0, lines = 0 }
  local function note(what, stats)
    found[what] = found[what] + 1
    found.words = found.words + stats.nombre_mots
    found.lines = found.lines + stats.nombre_lignes
  end
  local files = walk(top, results)
  local function go_on()
    for path, problem in files do
      local source, out = top .. path, results .. path
      local stats = not problem and saved(source, out)
      if stats then
        note("before", stats)
      elseif not problem then
        stats, problem = run_chain(source, asked, out, true)
        if stats then
          note("now", stats)
        end
      end
      if problem then
        table.insert(found.failed, { path = source, why = problem })
      end
    end
  end
  local beside = {}
  for i = 1, WINDOW do
    beside[i] = te.spawn(go_on)
  end
  for _, one in ipairs(beside) do
    one:get()
  end
  return found
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

local function run_tree(top, asked)
  local out = asked.out or "resultats"
  try(sys.mkdir_p(out))
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
  if #found.failed == 0 then
    return
  end
  table.sort(found.failed, function(a, b)
    return a.path < b.path
  end)
  local lines = {}
  for i, one in ipairs(found.failed) do
    lines[i] = "  " .. told(one.path, one.why)
  end
  fail(1, "these files have failed:\n", table.concat(lines))
end

local function run_file(path, asked)
  local out = asked.out or "resultats.txt"
  if out:sub(1, 1) ~= "/" then
    out = try(sys.realpath(".")) .. "/" .. out
  end
  if sys.realpath(out) == path then
    refuse("%s: results must not go where the text is", path)
  end
  sweep(recipe.split(out))
  local stats, problem = run_chain(path, asked, out)
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
    run_tree(path == "/" and "" or path, asked)
  else
    run_file(path, asked)
  end
end)

return app
