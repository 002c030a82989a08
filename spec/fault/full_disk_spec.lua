--- A disk is full. A limit on the size of files does for one where nobody may
-- mount anything: what they cannot hold any more, a write is refused.

local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local program = require("spec.support.program")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local TASKS <const> = 20000
local REFUSED_MIN <const> = 20
-- After there is room again; Redis tries each second.
local BACK_S <const> = chaos.size(math.huge, 2)
local WAIT_S <const> = 20
local MAY_MOUNT <const> = os.execute("unshare -rm true 2>/dev/null")

local function size_of(path)
  return assert(core.sys.stat(path)).size
end

-- No file that this process writes may be larger from now on; nil: any may.
local function limit_files(pid, bytes)
  assert(os.execute(("prlimit --pid %d --fsize=%s:"):format(pid,
    bytes or "unlimited")))
end

describe("A full disk", function()
  it("of Redis refuses tasks, and loses none that were accepted", function()
    local run <close> = chaos.run {
      config = { "appendonly yes", "appendfsync everysec" },
    }
    local server = run.site.server
    run:start()
    run:send("work", TASKS, 0.0005)
    limit_files(server.pid, size_of(server.dir
      .. "/appendonlydir/appendonly.aof.1.incr.aof") + 100000)
    local refused, doubtful = 0, 0
    while refused < REFUSED_MIN do
      local number = run.sent + 1
      local ok, e = pcall(run.site.app.send_task, run.site.app, "work",
        { number, run.ledger.path, 0 })
      if ok then
        run.sent = number
      else
        assert.same({ "BrokerUnavailable",
          "Redis refused it: it cannot write to its disk" },
          { e.kind, e.message })
        refused = refused + 1
        doubtful = doubtful + (e.indeterminate and 1 or 0)
      end
    end
    run.worker:heard("stderr", "warn  Redis refuses: MISCONF")
    limit_files(server.pid)
    local began, size = core.sys.monotonic(), run.ledger:size()
    wait_until(function()
      return pcall(run.site.app.send_task, run.site.app, "nothing")
    end, WAIT_S, "a Redis that takes tasks")
    wait_until(function()
      return run:is_done() or run.ledger:size() > size
    end, WAIT_S, "a worker that is back")
    local back_s = core.sys.monotonic() - began
    wait_until(function()
      return run.site:count("done") == run.sent + 1
    end, 60, "the end of all tasks")

    local found = run:report("F12", 0, ("refused=%d back=%.2fs"):format(
      refused, back_s))
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.equal(0, doubtful)
    assert.is_true(back_s <= BACK_S)
    assert.is_nil(run.worker.ended)
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)

  describe("of a worker", function()
    local site

    before_each(function()
      site = workers.site()
    end)

    after_each(function()
      site:close()
    end)

    -- Its tasks log lines of so many bytes.
    local function start(shell, env)
      local tasks = site.place:write("tasks.lua", [[
        local app = require("taskengine").app("tasks")
        app:task("say", function(bytes) print(("x"):rep(bytes)) end)
      ]])
      return site.place:start({ "-c", shell, "sh", program.PATH, "worker",
        tasks, "-P", "1" }, { program = "sh", env = env })
    end

    local function say(count, bytes)
      local results = {}
      for i = 1, count do
        results[i] = site:send("say", bytes)
      end
      for _, r in ipairs(results) do
        assert.is_nil(r:get { timeout = 20 })
      end
    end

    it("leaves log lines out, counts them, and it goes on", function()
      local worker = start('trap "" XFSZ; exec "$@"')
      worker:heard("stderr", "ready: ")
      say(3, 10)
      -- Room for some, and a part of the next.
      limit_files(worker.pid, #worker:stderr() + 2500)
      say(100, 1000)
      local before = worker:stderr()
      assert.is_true(#before > 2500)
      limit_files(worker.pid)
      say(1, 1000)
      local count = tonumber(worker:heard("stderr", "warn  (%d+) log lines were"
        .. " left out here: stderr could not be written: file too large\n"))
      assert.equal(0, site:stop(worker).code)
      -- Those of the 104 tasks, what they say and how they ended; the lines
      -- that begin with a time are whole but for one, which was cut.
      local whole = 0
      for line in worker:stderr():gmatch("[^\n]+") do
        assert.matches("^%d%d%d%d%-%d%d%-%d%dT", line)
        local said = line:find((" x+$")) and #line:match("x+$")
        whole = whole + ((said == 10 or said == 1000
          or line:find("succeeded in [%d.]+ ms$")) and 1 or 0)
      end
      assert.equal(208, whole + count)
    end)

    it("keeps its claims out of the file for a successor, and says so",
      function()
        local folder, why = site.dir .. "/runtime", "no space left on device"
        local shell = 'exec unshare -rm sh -c \'mount -t tmpfs -o size=1m none'
          .. ' "$XDG_RUNTIME_DIR" && exec "$@"\' sh "$@"'
        assert(core.sys.mkdir_p(folder .. "/taskengine/workers", 448))
        if not MAY_MOUNT then
          -- Another reason for which a file cannot be made, for root as well.
          why = "permission denied"
          shell = 'chmod 500 "$XDG_RUNTIME_DIR/taskengine/workers"; exec '
            .. (core.sys.euid() == 0
              and "setpriv --bounding-set=-all --inh-caps=-all " or "")
            .. '"$@"'
        end
        local worker = start(shell, { XDG_RUNTIME_DIR = folder })
        worker:heard("stderr", "warn  " .. folder:gsub("%p", "%%%0")
          .. "/taskengine/workers: " .. why .. ": if this worker is killed,"
          .. " its tasks come back when its lease ends, not before\n")
        worker:heard("stderr", "ready: ")
        say(100, 1)
        assert.equal(0, site:stop(worker).code)
      end)
  end)
end)
