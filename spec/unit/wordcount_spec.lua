local core = require("taskengine.core")
local files = require("spec.support.files")
local seed = require("spec.support.seed")
local wordcount = require("native.wordcount")
local wordmerge = require("native.wordmerge")
local words = require("spec.support.words")

local SEED <const> = 42
local BLOCK <const> = 256 << 10
local WORD_MAX <const> = 1 << 20
local ARENA_MIN <const> = 2 << 20

describe("the word count of recipes", function()
  local folder

  before_each(function()
    folder = assert(os.tmpname())
    os.remove(folder)
    assert(core.sys.mkdir_p(folder))
  end)

  after_each(function()
    for _, name in ipairs(core.sys.list(folder)) do
      os.remove(folder .. "/" .. name)
    end
    os.remove(folder)
  end)

  -- Counts a text by ranges; returns the paths of the runs, and the words.
  local function count(text, range, parts, bytes_max)
    local path = folder .. "/text"
    files.write(path, text)
    local runs, sum = {}, 0
    for from = 0, #text - 1, range do
      local out = ("%s/from-%d"):format(folder, from)
      local n, found = assert(wordcount.count(path, from,
        math.min(from + range, #text), out, parts, SEED, bytes_max))
      for i = 1, n do
        runs[#runs + 1] = out .. "." .. i
      end
      sum = sum + found
    end
    return runs, sum
  end

  -- Merges, by parts and then into a text, as many at once as may be.
  local function merge(runs, parts)
    local results = {}
    for part = 1, parts do
      local list = table.move(runs, 1, #runs, 1, {})
      local i = 0
      repeat
        i = i + 1
        local out = ("%s/part-%d.%d"):format(folder, part, i)
        local some = {}
        while #list > 0 and #some < wordmerge.runs_max do
          some[#some + 1] = table.remove(list, 1)
        end
        assert(wordmerge.merge(some, part, out))
        list[#list + 1] = out
      until #list == 1
      results[part] = list[1]
    end
    local file <close> = assert(io.tmpfile())
    local different, all = assert(wordmerge.write(file, results))
    file:seek("set")
    return file:read("a"), different, all
  end

  local function check(text, range, parts, bytes_max)
    local runs, sum = count(text, range, parts, bytes_max)
    local found, different, all = merge(runs, parts)
    local expected = words.counted { text }
    if found ~= expected then
      assert.equal(expected, found) -- slow when they are long
    end
    local _, lines = expected:gsub("\n", "\n")
    assert.same({ lines, sum }, { different, all })
    return #runs
  end

  it("counts what stands between white space", function()
    for _, text in ipairs {
      "", " ", "\n\n", "a", "a\n", "\na", "a a", "b a b\n", "a\tb\vc\fd\re a",
      "nul\0nul a\0\0", "\xff\xfe \xc3\xa9t\xc3\xa9", "A a", "a-b a_b, a.",
      "\xc2\xa0 \xe2\x80\xa8", "10000000 1",
    } do
      check(text, 1000, 1)
      check(text, 1, 3)
    end
    assert.equal("      2 a\n      1 b\n", (merge(count("a b\na", 9, 1), 1)))
  end)

  it("counts any text in ranges and parts of any number", function()
    seed.begin()
    for _ = 1, 60 do
      local text = words.shuffled({
        "a", "b", "ab", "abcdefg", "abcdefgh", "abcdefghi", "abcdefghijklmnopq",
        " ", " ", "\n", "\n", "\r\n", "\t", "\0", "\255", "\xe2\x80\xa8",
      }, math.random(0, 300))
      check(text, math.random(1, #text + 1), math.random(1, 5))
    end
  end)

  it("counts as tr, sort and uniq do", function()
    seed.begin()
    local path = folder .. "/text"
    local file <close> = assert(io.open(path, "w+b"))
    words.write(5000, 400000, file)
    file:seek("set")
    local text = file:read("a")
    local pipe <close> = assert(io.popen("tr -s '[:space:]' '\\n' <" .. path
      .. " | sed '/^$/d' | LC_ALL=C sort | LC_ALL=C uniq -c"))
    local runs = count(text, 30000, 4)
    assert.is_true(pipe:read("a") == (merge(runs, 4)))
  end)

  it("knows a line, and a word, across the borders of blocks", function()
    for size = BLOCK - 3, BLOCK + 3 do
      local line = ("x"):rep(size)
      check(line .. " y\nz", BLOCK // 3, 2)
      check("y " .. line .. "\n" .. line, BLOCK, 2)
      check((" "):rep(size) .. "y y", BLOCK, 2)
      check(("y "):rep(size // 2) .. "\nz", BLOCK // 2, 2)
    end
  end)

  it("counts a line in the range where it begins", function()
    local text = "one two\nthree\n\nfour"
    files.write(folder .. "/text", text)
    for cut = 1, #text - 1 do
      local found = {}
      for i, range in ipairs { { 0, cut }, { cut, #text } } do
        local _, sum = assert(wordcount.count(folder .. "/text", range[1],
          range[2], folder .. "/cut", 1, SEED))
        found[i] = sum
      end
      assert.same(cut <= 8 and { 2, 2 } or cut <= 15 and { 3, 1 } or { 4, 0 },
        found)
    end
  end)

  it("takes words of up to 1 MiB", function()
    local word = ("w"):rep(WORD_MAX)
    for _, text in ipairs { word, "a " .. word .. "\n", word .. " " .. word } do
      check(text, #text, 1)
    end
    for _, text in ipairs { word .. "w", "a " .. word .. "w a", word:rep(3) } do
      files.write(folder .. "/text", text)
      assert.same({ nil, folder .. "/text: a word of over 1048576 bytes" },
        { wordcount.count(folder .. "/text", 0, #text, folder .. "/run", 1,
          SEED) })
    end
  end)

  it("needs no more memory for more words", function()
    local list = {}
    for i = 1, 90000 do
      list[i] = ("%040d"):format(i * 7919 % 100003)
    end
    assert.is_true(check(table.concat(list, "\n"), 1 << 30, 3, ARENA_MIN) > 2)
    local long = {}
    for i = 1, 40 do
      long[i] = ("%d"):format(i % 7):rep(BLOCK // 2)
    end
    check(table.concat(long, " "), 1 << 30, 2, ARENA_MIN)
  end)

  it("merges as many as may be at once, and no more", function()
    local runs = {}
    for i = 1, wordmerge.runs_max do
      runs[i] = count(("w%d w "):format(i % 5), 100, 1)[1] .. i
      os.rename(runs[i]:sub(1, -#tostring(i) - 1), runs[i])
    end
    assert.matches("w\n.*w0\n.*w4\n$", (merge(runs, 1)))
    runs[#runs + 1] = runs[1]
    assert.error_matches(function()
      wordmerge.merge(runs, 1, folder .. "/out")
    end, "too many runs at once")
  end)

  it("says what cannot be read or written", function()
    local text, none = folder .. "/text", folder .. "/none"
    files.write(text, "a b a")
    local run = folder .. "/run"
    assert.equal(1, wordcount.count(text, 0, 5, run, 1, SEED))
    os.execute(("ln -s /dev/full %s/full; ln -s full %s/full.1"):format(folder,
      folder))
    local full = folder .. "/full"
    for _, case in ipairs {
      { none .. ": No such file or directory",
        wordcount.count(none, 0, 5, run, 1, SEED) },
      { folder .. ": Is a directory",
        wordcount.count(folder, 0, 5, run, 1, SEED) },
      { none .. "/run.1: No such file or directory",
        wordcount.count(text, 0, 5, none .. "/run", 1, SEED) },
      { full .. ".1: No space left on device",
        wordcount.count(text, 0, 5, full, 1, SEED) },
      { none .. ": No such file or directory",
        wordmerge.merge({ none }, 1, run) },
      { none .. "/run: No such file or directory",
        wordmerge.merge({ run .. ".1" }, 1, none .. "/run") },
      { full .. ": No space left on device",
        wordmerge.merge({ run .. ".1" }, 1, full) },
      { text .. ": damaged", wordmerge.merge({ text }, 1, run) },
      { "the output: No space left on device",
        wordmerge.write(assert(io.open(full, "w")), { run .. ".1" }) },
    } do
      assert.same({ nil, case[1] }, { case[2], case[3] })
    end
  end)

  it("takes no damaged run for a good one of another length", function()
    seed.begin()
    local path = count(words.shuffled({ "abc", "d", "abce", " ", "\n" }, 60),
      10000, 3)[1]
    local whole = files.read(path)
    local out = folder .. "/out"
    local function merged(run)
      files.write(path, run)
      return wordmerge.merge({ path }, 3, out)
    end
    assert.is_truthy(merged(whole))
    for size = 0, #whole - 1 do
      assert.same({ nil, path .. ": damaged" }, { merged(whole:sub(1, size)) })
    end
    assert.same({ nil, path .. ": damaged" }, { merged(whole .. "x") })
    for _ = 1, 400 do -- no crash, whatever comes out
      local at = math.random(#whole)
      local different, why = merged(whole:sub(1, at - 1)
        .. string.char(math.random(0, 255)) .. whole:sub(at + 1))
      assert.is_truthy(different or why == path .. ": damaged")
    end
  end)

  it("knows a damaged run by another part than the one it takes", function()
    local path = count("abc", 10000, 4)[1] -- one word: three parts are empty
    local whole = files.read(path)
    local size = #whole
    for part = 1, 4 do
      local function merged(run)
        files.write(path, run)
        return wordmerge.merge({ path }, part, folder .. "/out")
      end
      local different = assert(merged(whole))
      assert.is_true(different <= 1)
      for cut = 0, size - 1 do
        assert.same({ nil, path .. ": damaged" },
          { merged(whole:sub(1, cut)) })
      end
      -- The ends of the parts lie behind the mark and the number of parts.
      for i = 1, 4 do
        for _, wrong in ipairs { 0, size + 1, -1 } do
          assert.same({ nil, path .. ": damaged" }, { merged(
            whole:sub(1, 4 + 8 * i) .. (">i8"):pack(wrong)
              .. whole:sub(13 + 8 * i)) })
        end
      end
    end
  end)

  it("raises when it is misused", function()
    local closed = assert(io.tmpfile())
    closed:close()
    for _, case in ipairs {
      { "position below 0", wordcount.count, "x", -1, 2, "y", 1, SEED },
      { "position below 0", wordcount.count, "x", 1, -2, "y", 1, SEED },
      { "1 to 1024 expected", wordcount.count, "x", 1, 2, "y", 0, SEED },
      { "1 to 1024 expected", wordcount.count, "x", 1, 2, "y", 1025, SEED },
      { "2 MiB to 1 GiB", wordcount.count, "x", 1, 2, "y", 1, SEED, 1000 },
      { "1 to 1024 expected", wordmerge.merge, {}, 0, "x" },
      { "not a path", wordmerge.merge, { {} }, 1, "x" },
      { "table expected", wordmerge.merge, "x", 1, "x" },
      { "a closed file", wordmerge.write, closed, {} },
    } do
      assert.error_matches(function()
        case[2](table.unpack(case, 3, 9))
      end, "bad argument #%d .*" .. case[1])
    end
  end)
end)
