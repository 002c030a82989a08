local core = require("taskengine.core")
local script = require("spec.support.script")

local testing = core.testing
local log, set_level = testing.log, core.log.set_level

describe("log", function()
  local prefix = "2026-11-22T09:00:00.123Z info  "

  before_each(function()
    testing.clock_set_fake { wall_ms = 1795338000123 }
    set_level("info")
    log.capture(true)
    log.captured()
  end)

  after_each(function()
    log.gather(false)
    log.capture(false)
    set_level("info")
    testing.clock_set_fake(nil)
  end)

  local function line(text)
    log.log("info", text)
    local written = log.captured()
    assert.equal(prefix, written:sub(1, #prefix))
    return written:sub(#prefix + 1)
  end

  it("writes the time in UTC, the level and the text", function()
    log.log("info", "worker ready")
    assert.same({ prefix .. "worker ready\n", 1 }, { log.captured() })
    log.log("error", "broken")
    assert.equal("2026-11-22T09:00:00.123Z error broken\n",
      (log.captured()))
  end)

  it("follows the clock, over midnight too", function()
    log.log("info", "a")
    testing.clock_set_fake { wall_ms = 1795391999999 }
    log.log("info", "b")
    testing.clock_set_fake { wall_ms = 1795392000007 }
    log.log("info", "c")
    assert.equal(prefix .. "a\n"
      .. "2026-11-22T23:59:59.999Z info  b\n"
      .. "2026-11-23T00:00:00.007Z info  c\n", (log.captured()))
  end)

  it("leaves out what lies below the level", function()
    local levels = { "debug", "info", "warn", "error" }
    for at, level in ipairs { "debug", "info", "warn", "error", "off" } do
      set_level(level)
      for i, other in ipairs(levels) do
        assert.equal(i >= at, log.enabled(other))
        log.log(other, "text")
        assert.equal(i >= at, log.captured() ~= "")
      end
    end
    assert.is_false(log.enabled("off"))
  end)

  it("knows no other levels", function()
    assert.error_matches(function()
      set_level("loud")
    end, "not a level")
  end)

  it("keeps a text in its line, whatever it holds", function()
    assert.equal("a\\nb\\rc\\td\n", line("a\nb\rc\td"))
    assert.equal("\\x1b[31mred\\x7f\n", line("\27[31mred\127"))
    assert.equal("\\x01\\x1f \n", line("\1\31 "))
    assert.equal("\n", line(""))
  end)

  it("passes UTF-8 and escapes what is none", function()
    assert.equal("größe 木 😀\n", line("größe 木 😀"))
    assert.equal("a\\xffb\\xc3\n", line("a\xffb\xc3"))
    assert.equal("\\xc0\\x80\n", line("\xc0\x80"))
  end)

  it("escapes the control characters above ASCII", function()
    assert.equal("\\xc2\\x9b31m\u{a0}\n", line("\u{9b}31m\u{a0}"))
  end)

  it("cuts a text that is too long", function()
    local long = ("x"):rep(log.TEXT_BYTES_MAX - 1)
    assert.equal(long .. "\n", line(long))
    assert.equal(long .. "...\n", line(long .. "y"))
  end)

  describe("as JSON", function()
    before_each(function()
      core.log.set_json(true, "w-1")
    end)

    after_each(function()
      core.log.set_json(false)
    end)

    local head = '{"time":"2026-11-22T09:00:00.123Z","level":"info","message":'
    local tail = (',"pid":%d,"worker":"w-1"}\n'):format(core.sys.pid())

    local function message(text)
      log.log("info", text)
      local written = log.captured()
      assert.equal(head, written:sub(1, #head))
      assert.equal(tail, written:sub(-#tail))
      assert(core.json.decode(written))
      return written:sub(#head + 1, -#tail - 1)
    end

    it("is an object on each line", function()
      assert.equal('"worker ready"', message("worker ready"))
      core.log.set_json(true)
      log.log("error", "x")
      assert.equal('{"time":"2026-11-22T09:00:00.123Z","level":"error",'
        .. ('"message":"x","pid":%d}\n'):format(core.sys.pid()),
        (log.captured()))
    end)

    it("holds any text, in valid UTF-8", function()
      assert.equal([["\"a\\b\"\u000a\u001b[31m\u007f"]],
        message('"a\\b"\n\27[31m\127'))
      assert.equal('"größe 木 😀"', message("größe 木 😀"))
      assert.equal('"a\u{fffd}b\u{fffd}"', message("a\xffb\xc3"))
      assert.equal([["\u009b31m]] .. '\u{a0}"', message("\u{9b}31m\u{a0}"))
      local all = {}
      for byte = 1, 255 do
        all[byte] = string.char(byte)
      end
      assert.truthy(utf8.len(message(table.concat(all))))
    end)

    it("says of a text that is too long that it is cut", function()
      local long = ("x"):rep(log.TEXT_BYTES_MAX - 1)
      assert.equal(('"%s"'):format(long), message(long))
      assert.equal(('"%s","truncated":true'):format(long), message(long .. "y"))
    end)
  end)

  it("gathers lines until they are flushed", function()
    log.gather(true)
    log.log("info", "a")
    log.log("warn", "b")
    assert.same({ "", 0 }, { log.captured() })
    log.flush()
    local lines, writes = log.captured()
    assert.equal(prefix .. "a\n2026-11-22T09:00:00.123Z warn  b\n", lines)
    assert.equal(1, writes)
    log.flush()
    assert.same({ "", 0 }, { log.captured() })
  end)

  it("lets an error and what came before it out at once", function()
    log.gather(true)
    log.log("info", "a")
    log.log("error", "b")
    local lines, writes = log.captured()
    assert.truthy(lines:find("a\n.*b\n$"))
    assert.equal(1, writes)
  end)

  it("does not gather without bound", function()
    log.gather(true)
    for _ = 1, 1000 do
      log.log("info", ("x"):rep(100))
    end
    local lines, writes = log.captured()
    assert.is_true(writes >= 1 and #lines >= 64 * 1024)
  end)

  it("stops gathering with what was gathered", function()
    log.gather(true)
    log.log("info", "a")
    log.gather(false)
    assert.equal(prefix .. "a\n", (log.captured()))
  end)

  it("clears a terminal's line first where that is asked for", function()
    core.log.set_erases(true)
    log.log("info", "a")
    core.log.set_erases(false)
    assert.equal("\27[K" .. prefix .. "a\n", (log.captured()))
  end)

  it("writes to stderr, what is gathered at exit", function()
    local process <close> = assert(io.popen([[lua5.4 -e '
      local log = require("taskengine.core").testing.log
      log.log("info", "now")
      log.gather(true)
      log.log("info", "later")
      io.stderr:write("printed\n")
    ' 2>&1]]))
    assert.truthy(process:read("a"):find("info  now\nprinted\n.*later\n$"))
  end)

  describe("whose reader has stopped", function()
    local LINES <const> = 400
    -- Its stderr is a FIFO with a reader (itself) that never reads.
    local SCRIPT <const> = [[
      local core = require("taskengine.core")
      local log = core.testing.log
      log.gather(true)
      for i = 1, %d do
        log.log("info", i .. ("x"):rep(10000))
        log.flush()
      end
      io.write("written\n")
      io.stdout:flush()
      io.read()
      log.log("info", "after")
      log.flush()
    ]]
    local folder, fifo

    before_each(function()
      folder = script.folder { ["log.lua"] = SCRIPT:format(LINES) }
      fifo = folder.dir .. "/fifo"
      assert(os.execute("mkfifo " .. fifo))
    end)

    after_each(function()
      getmetatable(folder).__close(folder)
    end)

    -- Calls fn(file) when all is logged and none of it was read.
    local function with_logger(fn)
      local go = folder.dir .. "/go"
      assert(os.execute("mkfifo " .. go))
      local logger <close> = assert(io.popen(
        ("lua5.4 %s/log.lua 2<>%s <%s"):format(folder.dir, fifo, go)))
      local input <close> = assert(io.open(go, "w"))
      assert.equal("written", logger:read())
      fn(logger, input)
    end

    it("does not wait for it, and not long at its end", function()
      with_logger(function(logger, input)
        local began = core.sys.monotonic()
        input:write("\n")
        input:flush()
        assert.equal("", logger:read("a"))
        assert.is_true(core.sys.monotonic() - began < 8)
      end)
    end)

    it("says how many lines it left out, when it is read again", function()
      with_logger(function(logger, input)
        local reader <close> = assert(io.open(fifo))
        input:write("\n")
        input:flush()
        local text = reader:read("a")
        assert.equal("", logger:read("a"))
        local whole, dropped = 0, 0
        for one in text:gmatch("([^\n]*)\n") do
          if one:find("info  %d+x+$") or one:find("info  after$") then
            whole = whole + 1
          else
            dropped = dropped + tonumber(one:match(
              "warn  (%d+) log lines? %a+ left out here: nobody read stderr$"))
          end
        end
        assert.is_true(dropped > 0)
        assert.equal(LINES + 1, whole + dropped)
      end)
    end)
  end)

  it("takes what children write past it once at a time", function()
    assert.is_true(core.log.take_stray())
    assert.equal("EBUSY", select(3, core.log.take_stray()))
    core.log.release_stray()
  end)
end)
