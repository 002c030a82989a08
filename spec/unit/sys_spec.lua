local core = require("taskengine.core")
local wait_until = require("spec.support.wait").wait_until

local loop, sys, testing = core.loop, core.sys, core.testing

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function output(command)
  local process <close> = assert(io.popen(command))
  return (process:read("a"):gsub("\n$", ""))
end

describe("taskengine.core.sys", function()
  local folder

  before_each(function()
    folder = output("mktemp -d")
  end)

  after_each(function()
    os.execute("rm -rf " .. folder)
  end)

  it("knows the host and the process", function()
    assert.equal(output("uname -n"), sys.hostname())
    assert.equal(output("echo $PPID"), tostring(sys.pid()))
    assert.equal(tonumber(output("id -u")), sys.euid())
    assert.equal(tonumber(output("nproc")), sys.ncpus())
  end)

  it("ends with the process that started it, if that is still there", function()
    local ask = [[lua5.4 -e 'io.write(tostring(
      require("taskengine.core").sys.end_with_parent(%s)))'; :]]
    assert.equal("true", output(ask:format("'$$'")))
    assert.equal("false", output(ask:format("1")))
  end)

  it("counts only the processors that it may use", function()
    assert.equal("1", output([[taskset -c 0 lua5.4 -e '
      print(require("taskengine.core").sys.ncpus())']]))
  end)

  it("tells the time of day and a time that never steps back", function()
    local before, last = os.time(), sys.monotonic()
    local wall = sys.wall()
    assert.is_true(wall >= before and wall < os.time() + 1)
    assert.equal("float", math.type(wall))
    for _ = 1, 1000 do
      local now = sys.monotonic()
      assert.is_true(now >= last)
      last = now
    end
  end)

  it("resolves paths", function()
    os.execute(("cd %s && touch file && ln -s file link"):format(folder))
    assert.equal(sys.realpath(folder .. "/file"),
      sys.realpath(folder .. "/./link"))
    assert.same({ n = 3, nil, "ENOENT: no such file or directory", "ENOENT" },
      table.pack(sys.realpath(folder .. "/nothing")))
  end)

  it("lists a folder", function()
    os.execute(("mkdir %s/list && cd %s/list && touch b a .c && mkdir d")
      :format(folder, folder))
    assert.same({ ".c", "a", "b", "d" }, sys.list(folder .. "/list"))
    assert.same({}, sys.list(folder .. "/list/d"))
    assert.same({ n = 3, nil, "ENOTDIR: not a directory", "ENOTDIR" },
      table.pack(sys.list(folder .. "/list/a")))
  end)

  it("says what a path names", function()
    os.execute(("cd %s && printf hello >file && chmod 640 file"
      .. " && touch -d @1234567890.5 file && mkfifo fifo"):format(folder))
    assert.same({ type = "file", size = 5, mtime = 1234567890.5,
      uid = sys.euid(), mode = 416,
      inode = tonumber(output(("stat -c %%i %s/file"):format(folder))),
    }, sys.stat(folder .. "/file"))
    assert.equal("directory", sys.stat(folder).type)
    assert.equal("fifo", sys.stat(folder .. "/fifo").type)
    assert.equal("other", sys.stat("/dev/null").type)
    assert.same({ n = 3, nil, "ENOENT: no such file or directory", "ENOENT" },
      table.pack(sys.stat(folder .. "/nothing")))
  end)

  it("makes folders and those above", function()
    local path = folder .. "/a//b/c/"
    assert.is_true(sys.mkdir_p(path, 448))
    assert.equal("directory", sys.stat(path).type)
    assert.equal(448, sys.stat(folder .. "/a").mode)
    assert.is_true(sys.mkdir_p(path))
    assert.is_true(sys.mkdir_p("/"))
  end)

  it("says why a folder cannot be made", function()
    os.execute(("touch %s/file"):format(folder))
    local function why(path)
      local ok, _, name = sys.mkdir_p(path)
      assert.is_nil(ok)
      return name
    end
    assert.equal("ENOTDIR", why(folder .. "/file"))
    assert.equal("ENOTDIR", why(folder .. "/file/below"))
    assert.equal("ENOENT", why(""))
    assert.equal("ENAMETOOLONG", why(("a/"):rep(4096)))
  end)

  it("knows no terminal where there is none", function()
    local file <close> = assert(io.open("/dev/null"))
    assert.is_false(sys.isatty(-1))
    assert.equal("EBADF", (select(3, sys.term_width(-1))))
    assert.equal("false ENOTTY", output([[lua5.4 -e '
      local sys = require("taskengine.core").sys
      print(tostring(sys.isatty(0)) .. " " .. select(3, sys.term_width(0)))
    ' </dev/null]]))
    assert.truthy(file)
  end)

  it("knows a terminal and its width", function()
    local script = folder .. "/script.lua"
    local file <close> = assert(io.open(script, "w"))
    file:write([[local sys = require("taskengine.core").sys
      print(sys.isatty(0), sys.isatty(1), sys.term_width(1))]])
    file:close()
    assert.equal("true\ttrue\t93\r", output(
      ("script -qec 'stty cols 93; lua5.4 %s' /dev/null"):format(script)))
  end)

  it("reads and sets the environment", function()
    assert.is_nil(sys.getenv("TE_SPEC_VARIABLE"))
    assert.is_true(sys.setenv("TE_SPEC_VARIABLE", "a b"))
    assert.equal("a b", sys.getenv("TE_SPEC_VARIABLE"))
    assert.equal("a b", output("echo \"$TE_SPEC_VARIABLE\""))
    assert.is_true(sys.setenv("TE_SPEC_VARIABLE", nil))
    assert.is_nil(sys.getenv("TE_SPEC_VARIABLE"))
    assert.same({ n = 3, nil, "EINVAL: invalid argument", "EINVAL" },
      table.pack(sys.setenv("A=B", "c")))
  end)

  it("digests as FNV-1a does", function()
    assert.equal("cbf29ce484222325", sys.digest(""))
    assert.equal("af63dc4c8601ec8c", sys.digest("a"))
    assert.equal("85944171f73967e8", sys.digest("foobar"))
  end)

  it("digests as SHA-256 does", function()
    local function hex(text)
      return (sys.sha256(text):gsub(".", function(c)
        return ("%02x"):format(c:byte())
      end))
    end
    for text, digest in pairs {
      [""] = "e3b0c44298fc1c149afbf4c8996fb924"
        .. "27ae41e4649b934ca495991b7852b855",
      abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      ["abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"] =
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
      [("a"):rep(55)] =
        "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318",
      [("a"):rep(64)] =
        "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb",
      [("a"):rep(1000000)] =
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    } do
      assert.equal(digest, hex(text))
    end
  end)

  describe("spawn", function()
    -- Runs until it has ended: exit code and signal.
    local function finish(args, opts)
      local ended
      opts = opts or {}
      opts.on_exit = function(...)
        ended = { ... }
        loop.stop()
      end
      local process, message, name = sys.spawn(args, opts)
      if not process then
        return nil, message, name
      end
      local limit <close> = loop.timer(10000, loop.stop)
      loop.run()
      limit:close()
      return ended
    end

    it("tells the exit code", function()
      assert.same({ 0, 0 }, finish { "true" })
      assert.same({ 7, 0 }, finish { "sh", "-c", "exit 7" })
    end)

    it("tells the signal that ended a process", function()
      local ended
      local process = assert(sys.spawn({ "sleep", "1000" }, {
        on_exit = function(...)
          ended = { ... }
        end,
      }))
      assert.equal("sleep", output(
        ("cat /proc/%d/comm"):format(process:pid())))
      assert.is_true(process:kill("KILL"))
      loop.run()
      assert.same({ 0, 9 }, ended)
      assert.is_nil(process:pid())
      assert.same({ n = 3, nil, "ESRCH: no such process", "ESRCH" },
        table.pack(process:kill()))
      process:close()
    end)

    it("hands arguments on as they are", function()
      finish { "sh", "-c", "printf '%s|' \"$@\" >" .. folder .. "/out",
        "sh", "a b", "", "$HOME", "'" }
      assert.equal("a b||$HOME|'|", read(folder .. "/out"))
    end)

    it("connects standard input and output", function()
      local out = folder .. "/out"
      local script = [[
        local core = require("taskengine.core")
        core.sys.spawn({ "sh", "-c", "cat; echo out; echo err >&2" },
          { stdio = { [0] = "null", [1] = 2, [2] = "null" } })
        core.loop.run()
        core.sys.spawn({ "cat" }, { stdio = { [1] = 2, [2] = "inherit" } })
        core.loop.run()]]
      os.execute(("echo in | lua5.4 -e '%s' 2>%s"):format(script, out))
      assert.equal("out\nin\n", read(out))
    end)

    it("changes the environment that it hands on", function()
      sys.setenv("TE_SPEC_KEPT", "kept")
      sys.setenv("TE_SPEC_GONE", "gone")
      sys.setenv("TE_SPEC_CHANGED", "old")
      finish({ "sh", "-c", "env | grep ^TE_SPEC | sort >" .. folder .. "/out" },
        { env = { TE_SPEC_CHANGED = "new", TE_SPEC_GONE = false,
          TE_SPEC_MADE = 5 } })
      assert.equal("TE_SPEC_CHANGED=new\nTE_SPEC_KEPT=kept\n"
        .. "TE_SPEC_MADE=5\n", read(folder .. "/out"))
      for _, name in ipairs { "KEPT", "GONE", "CHANGED" } do
        sys.setenv("TE_SPEC_" .. name, nil)
      end
    end)

    it("starts in another folder, in a session of its own", function()
      finish({ "sh", "-c", "(pwd -P; ps -o sid= -p $$; echo $$) >out" },
        { cwd = folder, detached = true })
      local where, session, pid = read(folder .. "/out")
        :match("^(.-)\n%s*(%d+)\n(%d+)\n$")
      assert.equal(sys.realpath(folder), where)
      assert.equal(pid, session)
    end)

    it("says when there is no such program or folder", function()
      assert.same({ n = 3, nil, "ENOENT: no such file or directory", "ENOENT" },
        table.pack(finish { "te-spec-no-such-program" }))
      assert.equal("ENOENT", (select(3, finish({ "true" },
        { cwd = folder .. "/nothing" }))))
    end)

    it("lets go of a process that goes on", function()
      local process = assert(sys.spawn({ "sleep", "1000" },
        { on_exit = error }))
      local pid = process:pid()
      process:close()
      process:close()
      assert.is_nil(process:pid())
      assert.equal("ESRCH", select(3, process:kill()))
      loop.run()
      assert.is_true(os.execute("kill -KILL " .. pid))
      -- Its place in the table of processes is given back, too.
      wait_until(function()
        return not sys.stat("/proc/" .. pid)
      end)
    end)

    it("leaves one that was let go, and runs, to whom it may concern",
      function()
        local ended <close> = io.popen("lua5.4 -e '"
          .. "local sys = require(\"taskengine.core\").sys;"
          .. "local p = sys.spawn({ \"sleep\", \"1000\" },"
          .. " { stdio = { [1] = \"null\", [2] = \"null\" } });"
          .. "print(p:pid()); p:close()' 2>&1; echo $?")
        local pid = ended:read("l")
        assert.equal("0", ended:read("l"))
        assert.is_true(os.execute("kill -KILL " .. pid))
      end)

    it("refuses arguments of the wrong kind", function()
      local made_up = setmetatable({}, {
        __len = function()
          return 1
        end,
        __index = function()
          return "true"
        end,
      })
      for _, case in ipairs {
        { made_up, nil, "empty" },
        { nil, nil, "table expected" },
        { {}, nil, "empty" },
        { { "true", 5 }, nil, "list of strings" },
        { { "true" }, 5, "table expected" },
        { { "true" }, { on_exit = 5 }, "on_exit: a function expected" },
        { { "true" }, { stdio = { [1] = "closed" } }, "stdio%[1%]" },
        { { "true" }, { env = { "A=B" } }, "env: not a name" },
      } do
        assert.error_matches(function()
          sys.spawn(case[1], case[2])
        end, case[3])
      end
    end)

    it("gives everything back", function()
      local before = testing.alloc_live()
      for _ = 1, 3 do
        finish { "true" }
        finish { "te-spec-no-such-program" }
      end
      loop.run("nowait")
      assert.equal(before, testing.alloc_live())
    end)
  end)
end)
