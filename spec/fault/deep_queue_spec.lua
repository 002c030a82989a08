local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local program = require("spec.support.program")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local SHALLOW <const> = 10000
local DEEP <const> = chaos.size(100000, 1000000)
local DUE <const> = chaos.size(100000, 1000000)
local ROUNDS <const>, FETCHES <const>, FETCHED <const> = 5, 12, 100
local FETCHED_MAX <const> = 1000 -- by one call
local BATCH <const> = 5000
-- What the same call may cost more, for a busy machine.
local RATIO_MAX <const> = 2
local IS_ASAN <const> = (os.getenv("TE_BUILD") or ""):find("asan") ~= nil
-- Promoted, and in the end run, in a second of one processor.
local RATE_MIN <const> = chaos.size(0, IS_ASAN and 5000 or 20000)
local RUN_RATE_MIN <const> = chaos.size(0, IS_ASAN and 1000 or 10000)
-- A call makes a hundred tasks ready, with a command or two for each.
local COMMANDS_MAX <const> = 300
local CALL_MS_MAX <const> = 10
local LEAD_S <const> = chaos.size(5, 90) -- to send what is due then, at first
local DONE_S <const> = chaos.size(60, 600)
-- In which something else had the processor: of a thousand calls, some.
local LONG_SHARE_MAX <const> = chaos.size(1, 0.01)
local QUEUES <const> = 1000
local IDLE_CPU_MAX <const> = 0.01
-- For the look at the queues that begins with the wait at the bell.
local SETTLED_S <const> = 0.5
local IDLE_S <const> = 4
local TICKS <const> = 100 -- of a second, in /proc
local WID <const> = "workerAAAAAA"

describe("Very much at a time", function()
  local run

  before_each(function()
    run = chaos.run { processes = 2 }
  end)

  after_each(function()
    run:close()
  end)

  local function fill(count, options)
    for from = 1, count, BATCH do
      local list = {}
      for i = from, math.min(from + BATCH - 1, count) do
        list[#list + 1] = { i }
      end
      run.site.app:enqueue_many("nothing", list, options)
    end
    return count
  end

  local function fcall(name, ...)
    return run.site:fcall(name, ...)
  end

  -- Milliseconds of a processor that Redis has used, in its main thread.
  local function used_ms()
    local stats = run.site:call("INFO", "cpu")
    local ms = 0
    for _, name in ipairs { "sys", "user" } do
      ms = ms + 1000 * tonumber(stats:match("used_cpu_" .. name
        .. "_main_thread:([%d.]+)"))
    end
    return ms
  end

  local delivery = 0

  -- Microseconds of a processor that a fetch from the head of the queue takes
  -- Redis: the least of some rounds.
  local function cost_of_fetch()
    local least = math.huge
    for _ = 1, ROUNDS do
      local before = used_ms()
      for _ = 1, FETCHES do
        delivery = delivery + 1
        local reply = fcall("fetch", WID, 60000, FETCHED, delivery, 0,
          "default")
        assert.equal(FETCHED + 2, #reply)
      end
      least = math.min(least, (used_ms() - before) * 1000 / FETCHES)
      run.site:key("DEL", "f:" .. WID)
    end
    return least
  end

  it("is fetched from as fast as little is", function()
    fill(1) -- which declares the functions
    run.site:key("DEL", "r:default")
    fcall("register", WID, 60000, "", "default")
    fill(SHALLOW)
    local shallow = cost_of_fetch()
    fill(DEEP)
    local deep = cost_of_fetch()
    io.write(("[F29, queued n=%d fetch=%.0fus of %d: %.0fus]"):format(DEEP,
      deep, SHALLOW, shallow))
    assert.is_true(deep < RATIO_MAX * shallow)
  end)

  -- The share of calls that were long, and the longest, in ms.
  local function long_calls()
    local count, longest = 0, 0
    local stats = run.site:call("INFO", "commandstats")
    local calls = tonumber(stats:match("cmdstat_fcall:calls=(%d+)"))
    for _, entry in ipairs(run.site:call("SLOWLOG", "GET", 1000)) do
      count, longest = count + 1, math.max(longest, entry[3] / 1000)
    end
    return count / calls, longest
  end

  -- Waits until so many tasks are due, all at once. What is sent is there
  -- before, however slow the machine is: else it is sent again, for later.
  local function fill_due()
    local lead = LEAD_S
    while true do
      local due = te.now() + lead
      fill(DUE, { eta = due })
      if te.now() < due then
        assert.equal(DUE, run.site:key("ZCARD", "z"))
        wait_until(function()
          return te.now() >= due
        end, lead + 2, "the instant")
        return
      end
      for _, name in ipairs { "z", "t", "r:default" } do
        run.site:key("DEL", name)
      end
      lead = 2 * lead
    end
  end

  -- Nobody else has calls of Redis, so that what it used is that call's.
  it("becomes due at one instant, and no call takes long", function()
    fill(1)
    run.site:key("DEL", "r:default")
    fcall("register", WID, 60000, "", "default")
    fill_due()
    local calls, longest, all_ms, fetched, most = 0, 0, 0, 0, 0
    while fetched < DUE do
      delivery = delivery + 1
      local commands, before = run.site:commands(), used_ms()
      local reply = fcall("fetch", WID, 60000, FETCHED_MAX, delivery, 0,
        "default")
      local ms = used_ms() - before
      most = math.max(most, run.site:commands() - commands)
      calls, fetched = calls + 1, fetched + #reply - 2
      longest, all_ms = math.max(longest, ms), all_ms + ms
      assert.is_true(#reply > 2, "nothing was due")
      run.site:key("DEL", "f:" .. WID)
    end
    io.write(("[F29, due n=%d calls=%d longest=%.1f ms, %d commands"
      .. " rate=%.0f/s of a processor]"):format(DUE, calls, longest, most,
      DUE / all_ms * 1000))
    assert.equal(DUE, fetched)
    assert.is_true(most <= COMMANDS_MAX)
    assert.is_true(longest <= chaos.size(math.huge, CALL_MS_MAX))
    assert.is_true(DUE / all_ms * 1000 >= RATE_MIN)
  end)

  -- Seconds of processors that Redis has used, and a worker and its children.
  local function processor_s(pid)
    local ticks = 0
    for _, one in ipairs { run.site.server.pid, pid,
      table.unpack(pid and program.children(pid) or {}) } do
      local file <close> = assert(io.open(("/proc/%d/stat"):format(one)))
      local user, system = file:read("a"):match("%) %a"
        .. (" %S+"):rep(10) .. " (%d+) (%d+)")
      ticks = ticks + tonumber(user) + tonumber(system)
    end
    return ticks / TICKS
  end

  it("becomes due at one instant, and is soon done", function()
    run.site:call("CONFIG", "SET", "slowlog-log-slower-than",
      CALL_MS_MAX * 1000)
    run.site:call("CONFIG", "SET", "slowlog-max-len", 1000)
    fill_due()
    run.site:call("SLOWLOG", "RESET")
    run.site:call("CONFIG", "RESETSTAT")
    local before_s, began = processor_s(), core.sys.monotonic()
    run:start()
    wait_until(function()
      return run.site:count("done") == DUE
    end, DONE_S, "all that is due")
    local took = core.sys.monotonic() - began
    local used_s = processor_s(run.worker.pid) - before_s
    run.sent = DUE
    run:finish()
    local share, longest = long_calls()
    io.write(("[F29, due n=%d rate=%.0f/s, %.0f/s of a processor, calls over"
      .. " %d ms=%.1f%% (%.1f ms)]"):format(DUE, DUE / took, DUE / used_s,
      CALL_MS_MAX, 100 * share, longest))
    assert.is_true(DUE / used_s >= RUN_RATE_MIN)
    assert.is_true(share <= LONG_SHARE_MAX)
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)

  it("of queues costs nothing while they are empty", function()
    local names = {}
    for i = 1, QUEUES do
      names[i] = "q" .. i
    end
    local worker = run.site:worker({ "-Q", table.concat(names, ",") },
      { file = "ledger" })
    wait_until(function()
      return run.site:key("SCARD", "sl:q" .. QUEUES) == 1
        and run.site:call("INFO", "clients"):find("blocked_clients:1")
    end)
    chaos.pause(SETTLED_S, SETTLED_S)
    run.site:call("CONFIG", "RESETSTAT")
    local before_s = processor_s(worker.pid)
    chaos.pause(IDLE_S, IDLE_S)
    local share = (processor_s(worker.pid) - before_s) / IDLE_S
    local stats = run.site:call("INFO", "commandstats")
    local calls, inside = 0, 0
    for name, n in stats:gmatch("cmdstat_([%w|]+):calls=(%d+)") do
      if name == "fcall" or name == "blmpop" then
        calls = calls + tonumber(n)
      elseif name ~= "config|resetstat" then
        inside = inside + tonumber(n)
      end
    end
    io.write(("[F29, %d empty queues calls=%d inside=%d cpu=%.2f%% in %d s]")
      :format(QUEUES, calls, inside, 100 * share, IDLE_S))
    assert.is_true(calls <= IDLE_S)
    assert.is_true(share <= IDLE_CPU_MAX)
    -- Which do not ask for every queue.
    assert.is_true(inside < QUEUES / 10)
    local r = run.site.app:send_task("nothing", {}, { queue = "q500" })
    assert.is_nil(r:get { timeout = 10 })
    assert.equal(0, run.site:stop(worker).code)
  end)
end)
