local core = require("taskengine.core")
local program = require("spec.support.program")
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

    local function calls()
      local stats, sum = site.server:cli("INFO", "commandstats"), 0
      for _, name in ipairs(CALLS) do
        sum = sum + (tonumber(stats:match("cmdstat_" .. name .. ":calls=(%d+)"))
          or 0)
      end
      return sum
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
      wait_until(function()
        return site:key("SCARD", "sl:default") == 1
          and site:key("HLEN", "hn") == 1
      end)
      local before = calls()
      local ticks = ticks_while(worker, WATCHED_S)
      assert.is_true(calls() - before <= WATCHED_S, calls() - before)
      assert.is_true(ticks <= 10, ticks)
    end)
  end)
end)
