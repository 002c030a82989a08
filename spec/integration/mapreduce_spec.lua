local core = require("taskengine.core")
local files = require("spec.support.files")
local memory = require("spec.support.memory")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local seed = require("spec.support.seed")
local wait_until = require("spec.support.wait").wait_until
local words = require("spec.support.words")

local IS_FULL <const> = os.getenv("TE_FULL") == "1"
local RECIPE <const> = assert(core.sys.realpath("recipes/mapreduce.lua"))
local USAGE <const> = [[
usage: taskengine run recipes/mapreduce.lua squares [N] [--chunk C]
       taskengine run recipes/mapreduce.lua wordcount FILE...
         [--reducers R] [--range BYTES] [--spool FOLDER]
]]

describe("recipes/mapreduce.lua", function()
  local server, place

  setup(function()
    server = redis_server.start()
    place = program.place { broker = server.url }
    assert(core.sys.mkdir_p(place.dir .. "/spool"))
  end)

  teardown(function()
    place:close()
    server:stop()
  end)

  local function start(...)
    return place:start({ "run", "-q", "-P", "2", "-l", "error", RECIPE, ... },
      { env = { TMPDIR = place.dir .. "/spool" } })
  end

  local function run(...)
    local ended = start(...):wait(60)
    return ended.stdout, ended.stderr, ended.code
  end

  describe("squares", function()
    it("sums up those of the numbers below 1000", function()
      assert.same({ "Sum of squares: 332833500\n", "", 0 }, { run() })
    end)

    it("sums up as many as it is told, in parts of any size", function()
      for _, case in ipairs {
        { "0", "100", 0 }, { "1", "100", 0 }, { "2", "1", 1 }, { "5", "2", 30 },
        { "1000", "999", 332833500 }, { "10000", "10000", 333283335000 },
        { "50000", "1000", 41665416675000 },
      } do
        assert.same({ ("Sum of squares: %d\n"):format(case[3]), "", 0 },
          { run("squares", case[1], "--chunk", case[2]) })
      end
    end)
  end)

  describe("wordcount", function()
    local ODD <const> = {
      empty = "",
      spaces = " \n\t\n",
      open = "one two\nthree",
      crlf = "one\r\ntwo\r\n\r\n",
      bytes = "\xff\0 one \xe2\x80\xa8 \xc3\xa9t\xc3\xa9\n\n one",
      ["with space"] = "one\vtwo\ftwo",
      ["--reducers"] = "no option",
    }

    local function put(texts)
      local names, list = {}, {}
      for name, text in pairs(texts) do
        files.write(place.dir .. "/" .. name, text)
        names[#names + 1] = name
        list[#list + 1] = text
      end
      return names, words.counted(list)
    end

    it("counts the words of any files", function()
      local names, expected = put(ODD)
      for _, options in ipairs {
        {}, { "--range", "1" }, { "--reducers", "1" },
        { "--reducers", "32", "--range", "7" },
      } do
        local all = table.move({ "--", table.unpack(names) }, 1, #names + 1,
          #options + 1, table.move(options, 1, #options, 1, {}))
        assert.same({ expected, "", 0 }, { run("wordcount",
          table.unpack(all)) })
      end
      for name, text in pairs(ODD) do
        assert.same({ words.counted { text }, "", 0 },
          { run("wordcount", "--", name) })
      end
      assert.same({ words.counted { ODD.open, ODD.open }, "", 0 },
        { run("wordcount", "open", "open") })
    end)

    it("merges more runs than may be merged at once", function()
      seed.begin()
      local text = words.shuffled({ "a", "b", "ab", " ", "\n" }, 3000)
      local _, expected = put { text = text }
      assert.same({ expected, "", 0 },
        { run("wordcount", "text", "--range", "20") })
    end)

    it("leaves nothing in the spool folder", function()
      put { text = "a b c" }
      run("wordcount", "text", "--spool", ".")
      run("wordcount", "text", "none")
      assert.same({}, core.sys.list(place.dir .. "/spool"))
      for _, name in ipairs(core.sys.list(place.dir)) do
        assert.not_matches("^taskengine%-wordcount", name)
      end
    end)

    it("says which file it cannot read, or where it cannot write", function()
      put { text = "a b c" }
      os.execute(("ln -sf /proc/self/mem '%s/mem'; mkfifo '%s/pipe'"):format(
        place.dir, place.dir))
      for _, case in ipairs {
        { "none: no such file or directory", "text", "none" },
        { ".: is not a file, but of type directory", "." },
        { "pipe: is not a file, but of type fifo", "text", "pipe" },
        { "/proc/none/taskengine%-wordcount%-.-%x+: no such file or directory",
          "text", "--spool", "/proc/none" },
      } do
        local out, err, code = run("wordcount", table.unpack(case, 2))
        assert.matches("^mapreduce: " .. case[1] .. "\n$", err)
        assert.same({ "", 1 }, { out, code })
      end
      local word = ("x"):rep(1 << 20)
      put { long = word .. "x" }
      assert.same({ "", "mapreduce: " .. place.dir
        .. "/long: a word of over 1048576 bytes\n", 1 },
        { run("wordcount", "long") })
    end)

    -- Starts one of 5,000 maps. Returns the name of its folder, and its flow.
    local function start_long()
      put { text = ("some words to be counted\n"):rep(5000) }
      local spool = place.dir .. "/spool"
      local process = start("wordcount", "text", "--range", "25")
      local path, id
      wait_until(function()
        path = core.sys.list(spool)[1]
        id = path and files.read(spool .. "/" .. path .. "/flow")
        return id and #id > 0 or process.ended
      end, 30)
      return process, path, id
    end

    local function asked(command, id)
      local ended = place:run { command, "--json", id }
      return assert(core.json.decode(ended.stdout))
    end

    it("leaves nothing to be done when it is interrupted", function()
      local process, _, id = start_long()
      process:kill("INT")
      assert.equal(130, process:wait().code)
      assert.equal("revoked", asked("flow", id).state)
      assert.same({}, core.sys.list(place.dir .. "/spool"))
    end)

    it("leaves nothing to be done when a part of it fails", function()
      server:cli("FLUSHALL")
      put { bad = ("x"):rep((1 << 20) + 1) .. ("\nword"):rep(5000) }
      local worker = place:worker { RECIPE, "-P", "2" }
      local _, why = run("wordcount", "bad", "--range", "500")
      assert.matches("a word of over 1048576 bytes\n$", why)
      local queue
      wait_until(function()
        queue = asked("queues").queues[1]
        return queue.ready == 0 and queue.in_flight == 0
      end, 30)
      worker:kill("TERM")
      assert.same({ 1, 1 }, { queue.failed, #asked("dead").dead })
      assert.equal(0, worker:wait().code)
    end)

    it("ends and removes what a kill -9 has left of another one", function()
      put { small = "a b c" }
      local spool = place.dir .. "/spool"
      local process, path, id = start_long()
      process:kill_all()
      files.write(spool .. "/" .. path .. "/other", "is not ours")
      assert.same({ words.counted { "a b c" }, "", 0 },
        { run("wordcount", "small") })
      assert.same({ "other" }, core.sys.list(spool .. "/" .. path))
      assert.matches("map_words  REVOKED %d+", place:run({ "flow", id }).stdout)
      os.execute(("rm -r '%s/%s'"):format(spool, path))
    end)

    local function check_memory(process, megabytes)
      local list = memory.most(process, 600)
      assert.is_true(#list >= 4, "run, its worker and two children")
      for _, most in ipairs(list) do
        assert.is_true(most < megabytes, ("%.1f MB"):format(most))
      end
    end

    -- What it says against tr, sort and uniq, for a text too large for Lua. Of
    -- white space in front of the first word these make a line of their own,
    -- the first one.
    local function check_large(write, limit_mb, begins_with_space)
      local path = place.dir .. "/large"
      do
        local file <close> = assert(io.open(path, "wb"))
        write(file)
      end
      local process = start("wordcount", "large")
      check_memory(process, limit_mb)
      assert.equal(0, process.ended.code, process:stderr())
      local pipe = assert(io.popen(("tr -s '[:space:]' '\\n' <'%s' |"
        .. " LC_ALL=C sort -T '%s' | LC_ALL=C uniq -c | tail -n +%d |"
        .. " cmp - '%s' 2>&1"):format(path, place.dir,
        begins_with_space and 2 or 1, process.path .. ".out")))
      assert.equal("", pipe:read("a"))
      assert.is_true(pipe:close())
      os.remove(path)
    end

    it("counts as tr, sort and uniq do, in little memory", function()
      seed.begin()
      check_large(function(file)
        file:write(" \n")
        words.write(20000, IS_FULL and 200000000 or 5000000, file)
      end, 64, true)
    end)

    it("does so when each word is another one", function()
      seed.begin()
      check_large(function(file)
        for i = 1, IS_FULL and 8000000 or 300000 do
          file:write(("%x-%d"):format(math.random(0), i),
            i % 7 == 0 and "\n" or " ")
        end
      end, 72) -- an idle process has up to 8 MB
    end)
  end)

  it("says how it is used", function()
    assert.same({ USAGE, "", 0 }, { run("wordcount", "--help") })
  end)

  it("says what is wrong with its arguments", function()
    for _, case in ipairs {
      { "'squares' or 'wordcount' expected, got 'count'", "count" },
      { "FILE is missing", "wordcount" },
      { "unknown argument '--pure'", "wordcount", "--pure", "x" },
      { "--range: an integer from 1 to 1099511627776 expected, got '0'",
        "wordcount", "x", "--range", "0" },
      { "--reducers: an integer from 1 to 32 expected, got '33'", "wordcount",
        "x", "--reducers", "33" },
      { "--spool: its value is missing", "wordcount", "x", "--spool" },
      { "N: an integer from 0 to 3000000 expected, got 'ten'", "squares",
        "ten" },
      { "unknown argument '20'", "squares", "10", "20" },
      { "--chunk: an integer from 1 to 10000 expected, got '-1'", "squares",
        "--chunk", "-1" },
    } do
      assert.same({ "", "mapreduce: " .. case[1] .. "\n" .. USAGE, 2 },
        { run(table.unpack(case, 2)) })
    end
  end)

  it("says so when its output cannot be written", function()
    files.write(place.dir .. "/text", "a b")
    local ended = place:run({ "-c", "exec \"$0\" run -q -P 1 \"$@\" >/dev/full",
      program.PATH, RECIPE, "wordcount", "text" }, { program = "/bin/sh" })
    assert.equal("mapreduce: the output: No space left on device\n",
      ended.stderr)
    assert.equal(1, ended.code)
  end)
end)
