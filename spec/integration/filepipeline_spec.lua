local core = require("taskengine.core")
local files = require("spec.support.files")
local loader = require("taskengine.loader")
local memory = require("spec.support.memory")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local wait_until = require("spec.support.wait").wait_until

local IS_FULL <const> = os.getenv("TE_FULL") == "1"
local MOST_MB <const> = 64 + memory.KEPT_MB
local RECIPE <const> = assert(core.sys.realpath("recipes/filepipeline.lua"))

loader.add_paths(RECIPE)

local USAGE <const> = "usage: taskengine run recipes/filepipeline.lua"
  .. " FILE|FOLDER [--out PATH] [--spool FOLDER]\n"

local function results(words, lines, different)
  return ("nombre_mots: %d\nnombre_lignes: %d\nmots_uniques: %d\n"):format(
    words, lines, different)
end

local ODD <const> = {
  ["empty"] = { "", 0, 0, 0 },
  ["open"] = { "un deux\ntrois un", 4, 1, 3 },
  ["closed"] = { "un deux\ntrois un\n", 4, 2, 3 },
  ["crlf"] = { "un\r\ndeux un\r\n\r\n", 3, 3, 2 },
  ["cr"] = { "un\rdeux", 2, 1, 2 },
  ["unicode"] = { "\u{e9}t\u{e9}\u{a0}\u{e9}t\u{e9}\u{3000}x", 3, 0, 2 },
  ["invalid"] = { "\xff \xfe\xff \xff\xe2\x80", 3, 0, 3 },
  ["with space"] = { "a", 1, 0, 1 },
}

describe("recipes/filepipeline.lua", function()
  local place

  before_each(function()
    place = program.place {}
  end)

  after_each(function()
    place:close()
  end)

  local function start(...)
    return place:start { "run", "-q", "-P", "1", "-l", "error", RECIPE, ... }
  end

  local function run(...)
    local ended = start(...):wait(60)
    return ended.stdout, ended.stderr, ended.code
  end

  local function put(path, text)
    path = place.dir .. "/" .. path
    assert(core.sys.mkdir_p(path:match("^(.*)/")))
    files.write(path, text)
    return path
  end

  local function get(path)
    return files.read(place.dir .. "/" .. path)
  end

  describe("of a file", function()
    it("saves the three counts in their order", function()
      put("document.txt", "un deux\ntrois un\n")
      assert.same({ results(4, 2, 3) .. "Saved in resultats.txt\n", "", 0 },
        { run("document.txt") })
      assert.equal(results(4, 2, 3), get("resultats.txt"))
      put("document.txt", "un")
      run("document.txt", "--out", "some/where/counts")
      assert.equal(results(1, 0, 1), get("some/where/counts"))
      run("document.txt")
      assert.equal(results(1, 0, 1), get("resultats.txt"))
      put("--out", "one two")
      run("--", "--out")
      assert.equal(results(2, 0, 2), get("resultats.txt"))
    end)

    it("says what cannot be read or written", function()
      local path = put("document.txt", "un")
      os.execute(("ln -s /proc/self/mem '%s/mem'; ln -s gone '%s/link'")
        :format(place.dir, place.dir))
      for _, case in ipairs {
        { "none: no such file or directory", "none" },
        { "link: no such file or directory", "link" },
        { "/proc/%d+/mem: Input/output error", "mem" },
        { path:gsub("%p", "%%%0") .. ": not a directory", "document.txt",
          "--out", "document.txt/x" },
      } do
        local out, err, code = run(table.unpack(case, 2))
        assert.matches("^filepipeline: " .. case[1] .. "\n$", err)
        assert.same({ "", 1 }, { out, code })
      end
    end)
  end)

  it("does not put results in the place of texts", function()
    local text = "un deux\n"
    local path = put("document.txt", text)
    put("texts/one", text)
    put("resultats.txt", text)
    os.execute(("ln -s document.txt '%s/link'"):format(place.dir))
    for _, words in ipairs {
      { "document.txt", "--out", "document.txt" },
      { "document.txt", "--out", path },
      { "document.txt", "--out", "link" },
      { "resultats.txt" },
      { "texts", "--out", "texts" },
      { "texts", "--out", "." },
    } do
      local _, err, code = run(table.unpack(words))
      assert.matches("results must not go where the texts? ", err)
      assert.equal(2, code)
    end
    assert.same({ text, text, text }, { get("document.txt"),
      get("texts/one"), get("resultats.txt") })
  end)

  it("takes little memory, however many words there are", function()
    local blocks <const> = IS_FULL and 60000 or 1500 -- 1 GB or 25 MB
    local list = {}
    for i = 1, 1000 do
      list[i] = "-" .. i
    end
    local block = table.concat(list, "#") .. "\n"
    do
      local file <close> = assert(io.open(place.dir .. "/large", "wb"))
      for i = 1, 2 * blocks do
        assert(file:write((block:gsub("#", ":" .. i % blocks .. " "))))
      end
    end
    local process = start("large", "--spool", ".")
    for _, most in ipairs(memory.most(process, 300)) do
      assert.is_true(most < MOST_MB, ("%.1f MB"):format(most))
    end
    assert.equal(0, process:wait().code, process:stderr())
    -- All have the last word, which ends with no number, in common.
    assert.equal(results(2000 * blocks, 2 * blocks, 999 * blocks + 1),
      get("resultats.txt"))
  end)

  it("saves no counts of a text that has changed meanwhile", function()
    local app = assert(loadfile(RECIPE))()
    local process_text = app.tasks.process_text
    local path, out = put("texts/a", "one two"), place.dir .. "/out"
    assert.equal(2, process_text(path, place.dir, out).nombre_mots)
    local stat, calls = core.sys.stat, 0
    finally(function()
      core.sys.stat = stat
    end)
    core.sys.stat = function(name)
      calls = calls + 1
      if calls == 4 then -- of the text and of the results, and then of the text
        put("texts/a", "one two three")
      end
      return stat(name)
    end
    assert.error_matches(function()
      process_text(path, place.dir, out)
    end, path .. ": changed while it was read", nil, true)
    assert.equal(4, calls)
  end)

  describe("says how far a large file is", function()
    local process_text

    before_each(function()
      process_text = assert(loadfile(RECIPE))().tasks.process_text
    end)

    -- Runs it on four blocks and a half; `now` is the time after each.
    local function run_on_blocks(now)
      local path = put("large", ("one two\n"):rep(147456))
      local clock, said, logged = core.sys.monotonic, {}, {}
      finally(function()
        core.sys.monotonic = clock
      end)
      core.sys.monotonic = function()
        return now[#said] or 0
      end
      local self = {
        progress = function(_, fraction, text)
          said[#said + 1] = { fraction, text }
        end,
        log = function(_, level, text)
          logged[#logged + 1] = level .. " " .. text
        end,
      }
      local stats = process_text.run(self, path, place.dir)
      assert.equal(147456, stats.nombre_lignes)
      return path, said, logged
    end

    it("as the part of its bytes that were read", function()
      local path, said = run_on_blocks({})
      assert.same({ { 2 / 9, path }, { 4 / 9, path }, { 6 / 9, path },
        { 8 / 9, path }, { 1, path } }, said)
    end)

    it("in the log every five seconds", function()
      local path, _, logged = run_on_blocks { 4.9, 5, 9.9, 10, 10.1 }
      assert.same({ "info " .. path .. ": 44 %", "info " .. path .. ": 89 %" },
        logged)
    end)

    it("to whoever asks for the task", function()
      os.execute(("truncate -s 20G '%s'"):format(put("sparse", "")))
      place:worker { RECIPE, "-P", "1" }
      local id = place:run({ "call", "process_text",
        ('["%s/sparse", "."]'):format(place.dir) }).stdout:match("%S+")
      wait_until(function()
        return place:run({ "result", id }).stderr:find(
          "PROGRESS %d+ %%: /.+/sparse")
      end, 30)
    end)
  end)

  describe("of a folder", function()
    it("saves the results of each file in a folder like it", function()
      local words, lines = 0, 0
      for name, odd in pairs(ODD) do
        put("texts/" .. name, odd[1])
        put("texts/deep/down/" .. name, odd[1])
        words, lines = words + 2 * odd[2], lines + 2 * odd[3]
      end
      os.execute(("cd '%s/texts' && mkfifo pipe && ln -s .. up && ln -s open"
        .. " link"):format(place.dir))
      local out, err, code = run("texts")
      assert.same({ "filepipeline: these are no files, and were left out:\n"
        .. "  " .. place.dir .. "/texts/pipe: fifo\n", 0 }, { err, code })
      assert.equal(("Files: 17 processed, 0 processed before, 0 failed\n"
        .. "Words: %d, lines: %d\n"):format(words + 4, lines + 1), out)
      for name, odd in pairs(ODD) do
        assert.equal(results(odd[2], odd[3], odd[4]), get("resultats/" .. name))
        assert.equal(results(odd[2], odd[3], odd[4]),
          get("resultats/deep/down/" .. name))
      end
      assert.equal(results(4, 1, 3), get("resultats/link"))
      assert.is_nil(get("resultats/pipe"))
    end)

    it("processes what is newer than its results, and no more", function()
      local a = put("texts/a", "one")
      put("texts/b", "two")
      put("texts/c", "three")
      local out = "texts/counted" -- is not processed itself
      assert.matches("^Files: 3 processed, 0 ", run("texts", "--out", out))
      assert.matches("^Files: 0 processed, 3 ", run("texts", "--out", out))
      put("texts/a", "one more")
      os.execute(("touch -d 'now + 1 hour' '%s'"):format(a))
      put("texts/counted/b", "nombre_mots: 1\n") -- cut off
      os.remove(place.dir .. "/texts/counted/c")
      assert.matches("^Files: 3 processed, 0 ", run("texts", "--out", out))
      assert.equal(results(2, 0, 2), get("texts/counted/a"))
      assert.equal(results(1, 0, 1), get("texts/counted/b"))
    end)

    it("fails for files that cannot be read only, and lists them", function()
      put("texts/good", "one two")
      put("texts/z/good", "one two")
      put("resultats/m/x", "a folder stands where results are to be")
      put("texts/m", "one")
      os.execute(("cd '%s/texts' && ln -s gone broken && ln -s /proc/self/mem"
        .. " mem"):format(place.dir))
      local out, err, code = run("texts")
      assert.equal("Files: 2 processed, 0 processed before, 3 failed\n"
        .. "Words: 4, lines: 0\n", out)
      local top = place.dir .. "/texts/"
      assert.equal("filepipeline: these files have failed:\n"
        .. "  " .. top .. "broken: no such file or directory\n"
        .. "  " .. top .. "m: " .. place.dir .. "/resultats/m: Is a directory\n"
        .. "  " .. top .. "mem: Input/output error\n", err)
      assert.equal(1, code)
      assert.equal(results(2, 0, 2), get("resultats/z/good"))
    end)

    it("says so when its results cannot go where they are to", function()
      put("texts/a", "one")
      put("results", "")
      assert.same({ "", "filepipeline: results: not a directory\n", 1 },
        { run("texts", "--out", "results") })
    end)

    it("takes names as long as there may be", function()
      local name = ("x"):rep(255)
      put("texts/" .. name, "one two")
      assert.same({ "", 0 }, { select(2, run("texts")) })
      assert.equal(results(2, 0, 2), get("resultats/" .. name))
    end)

    it("removes what was to become results, of processes that are gone",
      function()
        local process = start("none")
        process:wait()
        local host = core.sys.hostname()
        local function part(name, pid, on)
          return (".%s.%s-%d.part"):format(core.sys.digest(name), on or host,
            pid)
        end
        local gone, there = part("a", process.pid), part("a", core.sys.pid())
        local elsewhere = part("b", process.pid, "host")
        put("texts/deep/a", "one")
        put("resultats/" .. gone, "nombre")
        put("resultats/deep/" .. gone, "nombre")
        put("resultats/" .. there, "nombre")
        put("resultats/" .. elsewhere, "nombre")
        run("texts")
        assert.same({ "a" }, core.sys.list(place.dir .. "/resultats/deep"))
        local left = { "deep", elsewhere, there }
        table.sort(left)
        assert.same(left, core.sys.list(place.dir .. "/resultats"))

        put(part("out", process.pid), "nombre")
        put(gone, "nombre")
        run("texts/deep/a", "--out", "out")
        assert.is_nil(get(part("out", process.pid)))
        assert.truthy(get(gone))
      end)

    it("goes on where a kill -9 has ended it", function()
      local function name(i)
        return ("a%03d"):format(i)
      end
      local function find(i)
        return core.sys.stat(place.dir .. "/resultats/" .. name(i))
      end
      for i = 1, 300 do
        put("texts/" .. name(i), ("one two\n"):rep(i))
      end
      -- So large that it is not done before the others were seen, and so far
      -- behind them that it has not begun.
      os.execute(("truncate -s 400M '%s'"):format(put("texts/z", "")))
      local process = start("texts")
      wait_until(function()
        return find(200) or process.ended
      end, 30)
      process:kill_all()
      assert.is_nil(get("resultats/z"))
      local known = 0
      for i = 1, 300 do
        known = known + (find(i) and 1 or 0)
      end
      assert.is_true(known > 100)

      local out, err, code = run("texts")
      assert.equal(0, code, err)
      local now, before, rest = out:match("^Files: (%d+) processed, (%d+)"
        .. " processed before, 0 failed\n(.*)$")
      assert.equal("Words: 90301, lines: 45150\n", rest)
      assert.equal(301, now + before)
      -- More than were there when what was left in the queue was quicker.
      assert.is_true(tonumber(before) >= known)
      for i = 1, 300 do
        assert.equal(results(2 * i, i, 2), get("resultats/" .. name(i)))
      end
      assert.equal(results(1, 0, 1), get("resultats/z"))
      assert.not_matches("%.flows", table.concat(core.sys.list(place.dir
        .. "/resultats"), " "))
    end)
  end)

  describe("revokes what a kill -9 has left in the queue", function()
    -- Runs it on what takes long, until that many chains were sent, and kills
    -- it. Returns their ids.
    local function kill_one(count, folder, ...)
      local process, ids = start(...), nil
      local own = ("%%-%d%%.flows$"):format(process.pid)
      wait_until(function()
        ids = {}
        for _, name in ipairs(core.sys.list(place.dir .. "/" .. folder) or {})
        do
          local noted = name:find(own) and get(folder .. "/" .. name)
          for id in (noted or ""):gmatch("%S+") do
            ids[#ids + 1] = id
          end
        end
        return #ids >= count or process.ended
      end, 30)
      process:kill_all()
      assert.equal(count, #ids, process:stderr())
      return ids
    end

    local function check_revoked(ids)
      for _, id in ipairs(ids) do
        assert.matches("^%S+  revoked", place:run({ "flow", id }).stdout)
      end
    end

    local server

    setup(function()
      server = redis_server.start()
    end)

    teardown(function()
      server:stop()
    end)

    before_each(function()
      place.env.TASKENGINE_BROKER = server.url
    end)

    it("of a folder, each time", function()
      local long = put("texts/a", "")
      os.execute(("truncate -s 20G '%s'"):format(long))
      for i = 1, 20 do
        put("texts/b" .. i, "one")
      end
      local first = kill_one(21, "resultats", "texts", "--spool", ".")
      local second = kill_one(21, "resultats", "texts", "--spool", ".")
      check_revoked(first)
      os.execute(("truncate -s 0 '%s'"):format(long))
      assert.matches("^Files: %d+ processed, %d+ processed before, 0 failed\n"
        .. "Words: 20, lines: 0\n$", run("texts"))
      check_revoked(second)
    end)

    it("of a file", function()
      os.execute(("truncate -s 20G '%s'"):format(put("long", "")))
      local ids = kill_one(1, ".", "long", "--spool", ".")
      put("long", "one")
      assert.same({ "", 0 }, { select(2, run("long")) })
      check_revoked(ids)
    end)
  end)

  it("says how it is used", function()
    assert.same({ USAGE, "", 0 }, { run("x", "--help") })
    assert.same({ "", "filepipeline: --help: no such file or directory\n", 1 },
      { run("--", "--help") })
  end)

  it("says what is wrong with its arguments", function()
    for _, case in ipairs {
      { "FILE or FOLDER is missing" },
      { "unknown argument '--of'", "--of", "x" },
      { "unknown argument 'y'", "x", "y" },
      { "--out: its value is missing", "x", "--out" },
    } do
      assert.same({ "", "filepipeline: " .. case[1] .. "\n" .. USAGE, 2 },
        { run(table.unpack(case, 2)) })
    end
  end)
end)
