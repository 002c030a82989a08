local core = require("taskengine.core")
local files = require("spec.support.files")
local support = require("spec.support.embedded")
local wait_until = require("spec.support.wait").wait_until
local loop, sys, testing = core.loop, core.sys, core.testing

-- As root nothing is forbidden, unless this right is given away.
local function powerless()
  return sys.euid() == 0
    and "setpriv --bounding-set=-dac_override,-dac_read_search" or ""
end

-- A program whose only command is `supervise NAME`.
local PROGRAM <const> = [[
#!/bin/sh
[ "$1" = supervise ] || exit 2
exec lua5.4 - "$@" <<'END'
local core = require("taskengine.core")
os.exit(core.embedded.supervise(arg[2]), true)
END
]]

describe("taskengine.core.embedded", function()
  local home

  before_each(function()
    home = support.home()
  end)

  after_each(function()
    home:close()
  end)

  describe("a server", function()
    it("is there for the first who asks, in folders of its own", function()
      local user = home:open()
      assert.is_nil(user:socket())
      local answer = home:ensure(user)
      assert.same({ true, n = 1 }, answer)
      assert.equal(home.runtime .. "/spec.sock", user:socket())
      assert.equal("PONG", home:ask(user:socket(), "PING"))
      for _, folder in ipairs {
        home.state, home.state .. "/spec", home.runtime,
      } do
        assert.equal(448, sys.stat(folder).mode, folder) -- 0700
      end
      for _, file in ipairs {
        home.runtime .. "/spec.sock", home.state .. "/spec/supervisor.lock",
        home.state .. "/spec/supervisor.log", home.state .. "/spec/redis.log",
      } do
        assert.equal(0, sys.stat(file).mode & 63, file) -- none for others
      end
    end)

    it("keeps what it gets, for its user alone", function()
      local socket = home:ready():socket()
      local function config(name)
        return home:ask(socket, "CONFIG GET " .. name):match("\n(.*)$")
      end
      assert.equal("0", config("port"))
      assert.equal("yes", config("appendonly"))
      assert.equal("everysec", config("appendfsync"))
      assert.equal("yes", config("aof-use-rdb-preamble"))
      assert.equal("", config("save") or "")
      assert.equal("noeviction", config("maxmemory-policy"))
      assert.equal(home.state .. "/spec", config("dir"))
      assert.equal("600", config("unixsocketperm"))
    end)

    it("bears folders of any name", function()
      local odd = home.path .. '/a "b" \\c\t#d'
      assert(sys.mkdir_p(odd .. "/run", 448))
      home:setenv("XDG_STATE_HOME", odd)
      home:setenv("XDG_RUNTIME_DIR", odd .. "/run")
      local user = home:open()
      assert.same({ true, n = 1 }, home:ensure(user))
      assert.equal(odd .. "/run/taskengine/spec.sock", user:socket())
      assert.equal("PONG", home:ask(user:socket(), "PING"))
      assert.equal("directory",
        sys.stat(odd .. "/taskengine/spec/appendonlydir").type)
    end)

    it("does not let its logs grow", function()
      assert(sys.mkdir_p(home.state .. "/spec", 448))
      local folder = "state/taskengine/spec"
      home:write(folder .. "/supervisor.log", ("old\n"):rep(100000))
      home:write(folder .. "/redis.log", ("old\n"):rep(300000))
      home:ready()
      for _, log in ipairs { "supervisor.log", "redis.log" } do
        local text = files.read(home.state .. "/spec/" .. log)
        assert.is_true(#text > 0 and #text < 10000)
        assert.not_matches("old", text)
      end
      assert.equal(1200000, sys.stat(home.state .. "/spec/redis.log.old").size)
    end)

    it("answers at once who asks again", function()
      local user = home:ready()
      local _, server = home:note_pids()
      home:ensure(user, 0)
      assert.same({ true, n = 1 }, home:ensure(user))
      assert.equal(server, select(2, home:note_pids()))
    end)

    it("is shared by all who name it, and by no others", function()
      local one, two = home:ready("one"), home:ready("one")
      local other = home:ready("other")
      home:ask(one:socket(), "SET key value")
      assert.equal("value", home:ask(two:socket(), "GET key"))
      assert.equal("", home:ask(other:socket(), "GET key"))
      home:note_pids("one")
      home:note_pids("other")
    end)

    it("keeps what was queued over a stop", function()
      local user = home:ready()
      home:ask(user:socket(), "RPUSH queue a b c")
      user:close()
      home:wait_for_end()
      assert.is_nil(sys.stat(home.runtime .. "/spec.sock"))
      assert.is_nil(sys.stat(home.runtime .. "/spec.ctl"))
      user = home:ready()
      assert.equal("a\nb\nc", home:ask(user:socket(), "LRANGE queue 0 -1"))
    end)

    it("stays as long as one user does", function()
      local first, second = home:ready(), home:ready()
      local supervisor, server = home:note_pids()
      first:close()
      -- The supervisor has handled the first's end when it greets the third.
      home:ready():close()
      assert.same({ true, n = 1 }, home:ensure(second))
      assert.same({ supervisor, server }, { home:note_pids() })
      assert.equal("PONG", home:ask(second:socket(), "PING"))
    end)

    it("stays for the linger time after the last", function()
      home:setenv("TASKENGINE_EMBEDDED_LINGER", "1")
      local user = home:ready()
      local socket = user:socket()
      local closed = sys.monotonic()
      user:close()
      loop.run("nowait")
      assert.equal("PONG", home:ask(socket, "PING"))
      home:wait_for_end()
      assert.is_true(sys.monotonic() - closed >= 1)
    end)

    it("is let go by a user that is killed", function()
      local user = home:user("spec", "stay")
      home:heard(user, "^ready (.*)")
      user.kill()
      home:wait_for_end()
    end)
  end)

  describe("the sockets", function()
    it("lie with the data when there is no runtime folder", function()
      for _, value in ipairs { "run", "/nonexistent", false } do
        home:setenv("XDG_RUNTIME_DIR", value or nil)
        local user = home:ready()
        assert.equal(home.state .. "/spec/redis.sock", user:socket())
        assert.equal("PONG", home:ask(user:socket(), "PING"))
        user:close()
        home:wait_for_end()
      end
    end)

    it("are found by who has another runtime folder, or none", function()
      local first = home:ready()
      local before = { home:note_pids() }
      home:setenv("XDG_RUNTIME_DIR", nil)
      assert.equal(first:socket(), home:ready():socket())
      assert.same(before, { home:note_pids() })
    end)

    it("need a path that the system can take", function()
      local long = ("x"):rep(100)
      local answer = home:ensure(home:open(long))
      assert.equal("ENAMETOOLONG", answer[3])
      assert.matches("the socket .*/" .. long .. ".sock has a path of %d+ "
        .. "bytes and the system allows 107", answer[2])
    end)
  end)

  describe("the supervisor", function()
    it("holds nothing of the program that it was forked from", function()
      local file <close> = assert(io.open(home:write("file", "text")))
      home:ready()
      local supervisor, server = home:note_pids()
      for _, pid in ipairs { supervisor, server } do
        local open = support.run(("ls -l /proc/%d/fd"):format(pid))
        assert.matches(home.state, open, 1, true)
        assert.not_matches(home.path .. "/file", open, 1, true)
      end
      assert.equal("text", file:read("a"))
      local session = files.read(("/proc/%d/stat"):format(supervisor))
        :match("%) %S+ (%d+)")
      assert.are_not.equal(sys.pid(), tonumber(session), "is our child")
    end)

    it("is a process of the program's where there is one", function()
      local program = home:write("program", PROGRAM)
      assert(os.execute("chmod +x " .. program))
      home:setenv("TASKENGINE_PROGRAM", program)
      local user = home:ready()
      assert.equal("PONG", home:ask(user:socket(), "PING"))
      local command = files.read(
        ("/proc/%d/cmdline"):format((home:note_pids())))
      assert.matches("\0supervise\0spec\0", command, 1, true)
      user:close()
      home:wait_for_end()
    end)

    it("does without a program that is of no help", function()
      local other = home:write("program", "#!/bin/sh\necho usage >&2; exit 2\n")
      assert(os.execute("chmod +x " .. other))
      for _, program in ipairs { "/nonexistent", other } do
        home:setenv("TASKENGINE_PROGRAM", program)
        local user = home:ready()
        assert.equal("PONG", home:ask(user:socket(), "PING"))
        user:close()
        home:wait_for_end()
      end
    end)

    it("hands on no environment but what a server needs", function()
      home:setenv("SECRET", "swordfish")
      home:ready()
      local _, server = home:note_pids()
      local environment = files.read(("/proc/%d/environ"):format(server))
      assert.not_matches("swordfish", environment)
    end)

    it("leaves the field to one that runs", function()
      home:ready()
      assert.equal("0", support.run([[lua5.4 -e '
        print(require("taskengine.core").embedded.supervise("spec"))']]))
    end)

    it("says on stderr what keeps it from beginning", function()
      assert.matches('^failed %-22 "%.%." is no name .*\n1$', support.run(
        [[lua5.4 -e '
          print(require("taskengine.core").embedded.supervise(".."))']]))
    end)

    it("is not put off by somebody who talks to it", function()
      local user = home:ready()
      local before = { home:note_pids() }
      assert.matches('got "r" as reply', support.run(
        ("redis-cli -s %s/spec.ctl PING"):format(home.runtime)))
      assert.same({ true, n = 1 }, home:ensure(home:open()))
      assert.same({ true, n = 1 }, home:ensure(user))
      assert.same(before, { home:note_pids() })
    end)
  end)

  describe("what cannot work", function()
    local function failure(name, timeout_ms)
      local answer = home:ensure(home:open(name), timeout_ms)
      assert.is_nil(answer[1])
      assert.equal(answer[3] .. ": ", answer[2]:match("^%u+: "))
      return answer[3], answer[2]
    end

    it("is a name that could lead elsewhere", function()
      for _, name in ipairs {
        "", ".", "..", ".a", "a/b", "a b", "ü", "a\nb", ("x"):rep(129),
      } do
        local code, why = failure(name)
        assert.equal("EINVAL", code)
        assert.same({ nil, why, code }, { core.embedded.paths(name) })
      end
    end)

    it("is a system without redis-server, whose package is named", function()
      home:setenv("PATH", "/nonexistent")
      local name, text = failure("spec")
      assert.equal("ENOSERVER", name)
      assert.equal("ENOSERVER: redis-server is not installed: "
        .. "apt install redis-server", text)
    end)

    it("is told also to a user who comes later", function()
      local log = home.state .. "/spec/supervisor.log"
      assert(os.execute([[PATH=/nonexistent $(command -v lua5.4) -e '
        require("taskengine.core").embedded.supervise("spec")' &]]))
      wait_until(function()
        return (files.read(log) or ""):find("not installed", 1, true)
      end, 20, "the failure")
      assert.equal("ENOSERVER", (failure("spec")))
      wait_until(function()
        return files.read(log):find("ends\n")
      end, 20, "its end")
      local _, begins = files.read(log):gsub(" begins\n", "")
      assert.equal(1, begins)
    end)

    it("is a folder that we may not write to", function()
      local folder = home.path .. "/locked"
      assert(sys.mkdir_p(folder, 320)) -- 0500
      home:setenv("XDG_STATE_HOME", folder)
      local user = home:user("spec", "stay", powerless())
      assert.equal("EACCES: cannot make the folder " .. folder
        .. "/taskengine: permission denied", home:heard(user, "^failed (.*)"))
      wait_until(user.has_ended, 20, "its end")
    end)

    it("is a folder that others may write to", function()
      assert(sys.mkdir_p(home.state))
      assert(os.execute("chmod 777 " .. home.state))
      local name, text = failure("spec")
      assert.equal("EACCES", name)
      assert.matches("others may write to the folder " .. home.state, text, 1,
        true)
    end)

    it("is a path with a line break", function()
      home:setenv("XDG_STATE_HOME", home.path .. "/a\nb")
      assert.equal("EINVAL", (failure("spec")))
    end)

    it("is a file where a folder belongs", function()
      home:setenv("XDG_STATE_HOME", home:write("file", ""))
      assert.equal("ENOTDIR", (failure("spec")))
    end)

    it("is a server that ends at once, which says why", function()
      local user = home:ready()
      home:ask(user:socket(), "SET key value")
      user:close()
      home:wait_for_end()
      assert(os.execute(("echo rubbish >>%s/spec/appendonlydir/"
        .. "appendonly.aof.1.incr.aof"):format(home.state)))
      local name, text = failure("spec")
      assert.equal("EDOWN", name)
      assert.matches("redis-server on " .. home.state .. "/spec ended "
        .. "(exit code 1) Bad file format", text, 1, true)
    end)
  end)

  describe("a handle", function()
    it("answers what is under way when it is closed, once", function()
      loop.run("nowait") -- what was closed before is freed
      local blocks = testing.alloc_live()
      local answers = {}
      do
        local user <close> = core.embedded.new("spec")
        for i = 1, 3 do
          user:ensure(20000, function(...)
            answers[i] = table.pack(...)
          end)
        end
      end
      for i = 1, 3 do
        assert.equal("ECLOSED", answers[i][3])
      end
      loop.run()
      assert.equal(blocks, testing.alloc_live())
    end)

    it("can be closed by its own answer", function()
      loop.run("nowait") -- what was closed before is freed
      local blocks = testing.alloc_live()
      local user = core.embedded.new("spec")
      local second
      user:ensure(20000, function()
        home:note_pids()
        user:close()
      end)
      user:ensure(20000, function(_, _, name)
        second = name
      end)
      loop.run()
      assert.equal("ECLOSED", second)
      assert.equal(blocks, testing.alloc_live())
    end)

    it("is of no use once closed", function()
      local user = core.embedded.new("spec")
      user:close()
      user:close()
      for _, method in ipairs { "ensure", "socket" } do
        assert.error_matches(function()
          user[method](user, 1, print)
        end, "closed")
      end
    end)

    it("takes a time and a function", function()
      local user <close> = core.embedded.new("spec")
      for _, time in ipairs { -1, 0 / 0, 1 / 0, "soon" } do
        assert.has_error(function()
          user:ensure(time, print)
        end)
      end
      assert.has_error(function()
        user:ensure(1)
      end)
      assert.has_error(function()
        core.embedded.new()
      end)
    end)

    it("tells where an instance lives without starting it", function()
      assert.same({ home.state .. "/spec", home.runtime .. "/spec.sock" },
        { core.embedded.paths("spec") })
      assert.is_nil(sys.stat(home.state))
    end)

    it("gives up in time", function()
      assert.equal("ETIMEDOUT", home:ensure(home:open(), 0)[3])
    end)
  end)
end)
