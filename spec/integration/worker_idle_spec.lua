local core = require("taskengine.core")
local program = require("spec.support.program")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("A worker", function()
  local site = workers.for_each_spec()

  -- Hundredths of a second that a worker and its children compute while a spec
  -- watches.
  local function ticks_while(worker, seconds)
    local pids, began = workers.children(worker), core.sys.monotonic()
    pids[#pids + 1] = worker.pid
    local function ticks()
      local sum = 0
      for _, pid in ipairs(pids) do
        local file <close> = assert(io.open(("/proc/%d/stat"):format(pid)))
        local user, system = file:read("a"):match("%) %a"
          .. (" %S+"):rep(10) .. " (%d+) (%d+)")
        sum = sum + user + system
      end
      return sum
    end
    local before = ticks()
    wait_until(function()
      return core.sys.monotonic() - began >= seconds
    end)
    return ticks() - before
  end

  it("waits in peace for Redis, also in a new child", function()
    local kept <close> = workers.site { config = {
      "appendonly yes", "appendfsync always",
    } }
    -- The child knows how short tasks are, and gets several at a time.
    for i = 1, 50 do
      kept:apply("add", { i, i })
    end
    kept:apply("busy_until_file", { "go", "notes" })
    local r = kept:apply("ask", { 41 })
    local worker = kept:worker { "-P", "1" }
    kept:wait_lines("notes", 1)
    wait_until(function()
      return #kept:in_flight() == 2
    end)
    kept.server:kill("KILL")
    worker:heard("stderr", "trying again")
    -- The next one is given what waited behind the first, which asks Redis.
    local child = workers.children(worker)[1]
    workers.kill(child)
    wait_until(function()
      local pid = workers.children(worker)[1]
      return pid and pid ~= child
    end, 20, "a new child")
    assert.is_true(ticks_while(worker, 1) < 50)
    kept.server:restart()
    kept.place:write("go", "")
    assert.equal(42, r:get { timeout = 20 })
  end)

  describe("that is idle", function()
    local CALLS <const> = { "fcall", "blmpop", "ping" }
    local WATCHED_S <const> = 6
    local HEARTBEAT_S <const>, SILENCE_S <const>, BLOCK_S <const> = 5, 2, 1

    local function calls(...)
      local stats, sum = site.server:cli("INFO", "commandstats"), 0
      for _, name in ipairs { ... } do
        sum = sum + (tonumber(stats:match("cmdstat_" .. name .. ":calls=(%d+)"))
          or 0)
      end
      return sum
    end

    local function is_idle()
      return site:key("SCARD", "sl:default") == 1
        and site:key("HLEN", "hn") == 1
    end

    it("has two connections, for all of its children and queues", function()
      local worker = site:worker { "-P", "3", "-Q", "default,a,b,c" }
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
      local pid = tostring(worker.pid)
      local own, children = 0, #program.children(worker.pid)
      for name in site:call("CLIENT", "LIST"):gmatch("name=(%S+)") do
        own = own + (name:find("taskengine:.*" .. pid) and 1 or 0)
      end
      assert.same({ 2, 3 }, { own, children })
    end)

    it("asks Redis at most once a second, and does not compute", function()
      local worker = site:worker { "-P", "2" }
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
      wait_until(is_idle)
      local before = calls(table.unpack(CALLS))
      local ticks = ticks_while(worker, WATCHED_S)
      local after = calls(table.unpack(CALLS))
      assert.is_true(after - before <= WATCHED_S, after - before)
      assert.is_true(ticks <= 10, ticks)
    end)

    it("asks no more while a retry, a chord and a client wait", function()
      local function s(...)
        return site.app:signature("asks", table.pack("notes", ...))
      end
      site:worker({ "-P", "2" }, { file = "retries" })
      local retried = site:send("asks_at", 600)
      local chord = te.chord({ s(0), s(0):set { countdown = 600 } }, s(0))()
      wait_until(function()
        local info = chord.flow:info()
        return retried:state() == "RETRY" and info.nodes - info.left == 1
          and is_idle()
      end, 20)
      local function questions()
        return calls("fcall"), calls("blmpop")
      end
      local asked, blocked = questions()
      local began = core.sys.monotonic()
      assert.same({ n = 2, nil, "timeout" },
        table.pack(chord:wait(WATCHED_S)))
      local took = core.sys.monotonic() - began
      local asked_then, blocked_then = questions()
      -- Heartbeats; the client says what it waits for, and behind silences,
      -- each twice as long, asks whether that is still there.
      local bound = took // HEARTBEAT_S + 2
      local silence = SILENCE_S
      while took >= silence do
        bound, silence = bound + 1, 2 * silence + SILENCE_S
      end
      assert.is_true(asked_then - asked <= bound, asked_then - asked)
      -- The worker and the client have a connection each that blocks.
      assert.is_true(blocked_then - blocked <= 2 * (took // BLOCK_S + 1),
        blocked_then - blocked)
    end)
  end)
end)
