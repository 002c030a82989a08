local chaos = require("spec.support.chaos")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local SHALLOW <const> = 10000
local DEEP <const> = chaos.size(100000, 1000000)
local DUE <const> = chaos.size(20000, 1000000)
local ROUNDS <const>, FETCHES <const>, FETCHED <const> = 5, 12, 100
local BATCH <const> = 5000
-- What the same call may cost more, for a busy machine.
local RATIO_MAX <const> = 2
local RATE_MIN <const> = chaos.size(5000, 20000) -- promoted a second
local CALL_MS_MAX <const> = 10
-- In which something else had the processor: of a few hundred calls, some.
local LONG_SHARE_MAX <const> = chaos.size(0.1, 0.01)
local QUEUES <const> = 1000
-- For the look at the queues that begins with the wait at the bell.
local SETTLED_S <const> = 0.5
local IDLE_S <const> = 4
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
    return run.site:call("FCALL", "te1_" .. name, 1, "te:{default.0}:", ...)
  end

  local delivery = 0

  -- Microseconds of Redis for a fetch from the head of the queue: the least
  -- of some rounds, in which nobody else had its processor.
  local function cost_of_fetch()
    local least = math.huge
    for _ = 1, ROUNDS do
      run.site:call("CONFIG", "RESETSTAT")
      for _ = 1, FETCHES do
        delivery = delivery + 1
        local reply = fcall("fetch", WID, 60000, FETCHED, delivery, 0,
          "default")
        assert.equal(FETCHED + 2, #reply)
      end
      local stats = run.site:call("INFO", "commandstats")
      least = math.min(least,
        tonumber(stats:match("cmdstat_fcall:[^\n]*usec_per_call=([%d.]+)")))
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

  it("becomes due at one instant, and no call is long", function()
    run:start()
    run.site:call("CONFIG", "SET", "slowlog-log-slower-than",
      CALL_MS_MAX * 1000)
    run.site:call("CONFIG", "SET", "slowlog-max-len", 1000)
    local due = te.now() + chaos.size(2, 150)
    fill(DUE, { eta = due })
    assert.equal(DUE, run.site:key("ZCARD", "z"))
    wait_until(function()
      return te.now() >= due
    end, chaos.size(4, 160), "the instant")
    run.site:call("SLOWLOG", "RESET")
    run.site:call("CONFIG", "RESETSTAT")
    wait_until(function()
      return run.site:key("ZCARD", "z") == 0
    end, DUE / RATE_MIN + 1, "all that is due")
    local took = te.now() - due
    run.sent = DUE
    run:finish()
    local share, longest = long_calls()
    io.write(("[F29, due n=%d rate=%.0f/s calls over %d ms=%.1f%% (%.1f ms)]")
      :format(DUE, DUE / took, CALL_MS_MAX, 100 * share, longest))
    assert.is_true(DUE / took >= RATE_MIN)
    assert.is_true(share <= LONG_SHARE_MAX)
    assert.equal(DUE, run.site:count("done"))
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
    chaos.pause(IDLE_S, IDLE_S)
    local stats = run.site:call("INFO", "commandstats")
    local calls, inside = 0, 0
    for name, n in stats:gmatch("cmdstat_([%w|]+):calls=(%d+)") do
      if name == "fcall" or name == "blmpop" then
        calls = calls + tonumber(n)
      elseif name ~= "config|resetstat" then
        inside = inside + tonumber(n)
      end
    end
    io.write(("[F29, %d empty queues calls=%d inside=%d in %d s]"):format(
      QUEUES, calls, inside, IDLE_S))
    assert.is_true(calls <= IDLE_S)
    -- Which do not ask for every queue.
    assert.is_true(inside < QUEUES / 10)
    local r = run.site.app:send_task("nothing", {}, { queue = "q500" })
    assert.is_nil(r:get { timeout = 10 })
    assert.equal(0, run.site:stop(worker).code)
  end)
end)
