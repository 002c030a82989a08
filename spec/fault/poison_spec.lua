local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local program = require("spec.support.program")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

-- How each ends: a kind and what its message says; true: it succeeds; a list
-- of kinds, when chance decides.
local LOST <const>, SIGNAL <const> = "WorkerLost", "killed by signal "
local VERDICTS <const> = {
  segfault = { LOST, SIGNAL .. "11" },
  abort = { LOST, SIGNAL .. "6" },
  bus = { LOST, SIGNAL .. "7" },
  ill = { LOST, SIGNAL .. "4" },
  fpe = { LOST, SIGNAL .. "8" },
  exit_native = { LOST, "exited with status 9" },
  exit_0 = { LOST, "exited with status 0" },
  exit_7 = { LOST, "exited with status 7" },
  soft_busy_loop = { "SoftTimeLimitExceeded", "soft time limit of 0.05 s" },
  recursion = { "Error", "stack overflow" },
  c_recursion = { "Error", "C stack overflow" },
  metamethods = { "Error", "C stack overflow" },
  table_bomb = { "MemoryLimitExceeded", "not enough memory" },
  string_bomb = { "MemoryLimitExceeded", "not enough memory" },
  raise_nil = { "Error", "nil was raised, an error without a message" },
  raise_false = { "Error", "false" },
  raise_table = { "Error", "{}" },
  raise_userdata = { "Error", "file (0x" },
  raise_looping = { "Error", "whose __tostring fails" },
  raise_throwing = { "Error", "whose __tostring fails" },
  raise_large = { "Error", "xxxx" },
  raise_deep = { "Error", "a table" },
  return_cycle = { "CannotTravel", "result.self" },
  return_function = { "CannotTravel", "result[1]: a function" },
  return_thread = { "CannotTravel", "a coroutine" },
  return_userdata = { "CannotTravel", "result.file: " },
  return_large = { "TooLarge", "16777216" },
  return_deep = { "CannotTravel", "deep" },
  return_trap = true,
  print_much = true,
  close_all = false, -- what it says may be lost with its process, or not
  vandal = true,
}

-- Those that nothing but SIGKILL ends.
local ENDLESS <const> = {
  "busy_loop", "pcall_loop", "pattern", "sethook", "gc_loop", "coroutine_loop",
  "close_loop", "stop", "block",
}
local LIMIT_S <const> = 0.05
local LATE_S_MAX <const> = chaos.size(nil, 1) -- where the machine is quiet
for _, kind in ipairs(ENDLESS) do
  VERDICTS[kind] = { "TimeLimitExceeded", "time limit of 0.05 s" }
end

local TASKS <const> = core.sys.realpath("spec/support/tasks/poison.lua")
local IS_ASAN <const> = (os.getenv("TE_BUILD") or ""):find("asan") ~= nil
local POISON <const> = IS_ASAN and 100 or chaos.size(1000, 10000)
local GOOD_EACH <const> = 9
local WITH_OTHERS_MAX <const> = 3
local LAST_S <const> = chaos.size(240, 3600)
local PRINTED <const>, MUCH_PRINTED <const> = 4 << 20, 1 << 30
local RSS_KIB_MAX <const> = 5 * 1024

describe("A worker with poison among its tasks", function()
  local site, native, with_others

  before_each(function()
    site, with_others = workers.site(), 0
    native = site.dir .. "/poison.so"
    assert(os.execute(("cc -shared -fPIC -o '%s' spec/support/poison.c")
      :format(native)))
  end)

  after_each(function()
    site:close()
  end)

  local function start(...)
    -- A sanitizer would take the signal and report it.
    local options = (os.getenv("ASAN_OPTIONS") or "") .. ":handle_segv=0"
      .. ":handle_abort=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0"
    return site:worker({ "-P", "2", "--memory-limit", "96M", ... },
      { file = "poison", env = { ASAN_OPTIONS = options } })
  end

  local function is_endless(kind)
    return VERDICTS[kind][1] == "TimeLimitExceeded"
  end

  local function send(kind, bytes)
    return site.app:send_task("poison", { kind, native, bytes or PRINTED }, {
      time_limit = VERDICTS[kind] and VERDICTS[kind] ~= true
        and is_endless(kind) and LIMIT_S or nil,
      soft_time_limit = kind == "soft_busy_loop" and LIMIT_S or nil,
    })
  end

  -- A child that has closed its channel goes on until the master kills it, with
  -- what stood behind the task that did that. Few end so.
  local function has_ended_with_another(kind, e)
    if VERDICTS[kind][1] ~= LOST
      or not e.message:find(SIGNAL .. "9", 1, true) then
      return false
    end
    with_others = with_others + 1
    return with_others <= WITH_OTHERS_MAX
  end

  local function assert_verdict(kind, ok, e)
    local verdict = VERDICTS[kind]
    if verdict == true then
      assert.is_true(ok, kind .. ": " .. tostring(e))
    elseif verdict then
      assert.is_false(ok, kind)
      assert.equal(verdict[1], e.kind, kind .. ": " .. tostring(e))
      local expected = has_ended_with_another(kind, e) and SIGNAL or verdict[2]
      assert.matches(expected, e.message, 1, true)
      assert.is_true(#e.message <= 70000)
    else
      assert.is_true(ok or e.kind == LOST, kind .. ": " .. tostring(e))
    end
  end

  -- As /proc says it of a process.
  local function memory_kib(pid)
    local file <close> = assert(io.open(("/proc/%d/status"):format(pid)))
    return tonumber(file:read("a"):match("VmRSS:%s*(%d+)"))
  end

  local function has_zombies(worker)
    for _, pid in ipairs(workers.children(worker)) do
      local file <close> = io.open(("/proc/%d/stat"):format(pid))
      if file and file:read("a"):find("^%d+ %(.*%) Z") then
        return true
      end
    end
  end

  local function run_good(count)
    local list = {}
    for i = 1, count do
      list[i] = { i, 1 }
    end
    for i, r in ipairs(site.app:enqueue_many("good", list)) do
      assert.equal(i + 1, r:get { timeout = 120 })
    end
  end

  it("tells how each of them ended, and runs all others", function()
    local worker = start()
    local kinds, poison, good = {}, {}, {}
    for kind in pairs(VERDICTS) do
      kinds[#kinds + 1] = kind
    end
    table.sort(kinds)
    run_good(2000)
    local pool = #workers.children(worker)
    local descriptors = workers.descriptors(worker.pid)
    local before_kib = memory_kib(worker.pid)
    for i = 1, POISON do
      local kind = kinds[(i - 1) % #kinds + 1]
      poison[i] = { kind, send(kind) }
      for j = 1, GOOD_EACH do
        good[#good + 1] = { i + j, site:send("good", i, j) }
      end
    end
    for _, case in ipairs(poison) do
      assert_verdict(case[1], case[2]:wait(LAST_S))
    end
    for _, case in ipairs(good) do
      assert.equal(case[1], case[2]:get { timeout = LAST_S })
    end
    run_good(200)
    wait_until(function()
      return #workers.children(worker) == pool and not has_zombies(worker)
        and workers.descriptors(worker.pid) == descriptors
    end, 30, "the pool as it was")
    local more_kib = memory_kib(worker.pid) - before_kib
    io.write(("[F14 poison=%d good=%d master=%+d KiB]"):format(#poison, #good,
      more_kib))
    assert.is_true(IS_ASAN or more_kib <= RSS_KIB_MAX, more_kib .. " KiB more")
    assert.equal(0, site:stop(worker).code)
    assert.same({}, site:wids())
  end)

  it("keeps nothing of a gigabyte that one prints, and runs others", function()
    -- Its log goes where there is room for it.
    local worker = site.place:start({ "-c", 'exec "$@" 2>/dev/null', "sh",
      program.PATH, "worker", TASKS, "-P", "2" },
      { program = "sh" })
    run_good(2000)
    local before_kib = memory_kib(worker.pid)
    local began = core.sys.monotonic()
    local r = send("print_much", MUCH_PRINTED)
    local beside, most_kib = 0, 0
    repeat
      run_good(10)
      beside = beside + 10
      most_kib = math.max(most_kib, memory_kib(worker.pid))
    until r:ready()
    assert.is_nil(r:get())
    io.write(("[F14, printed=%d MB in %.1f s beside %d good master=%+d KiB]")
      :format(MUCH_PRINTED // 1000000, core.sys.monotonic() - began, beside,
        most_kib - before_kib))
    assert.is_true(beside >= 100)
    assert.is_true(IS_ASAN or most_kib - before_kib <= RSS_KIB_MAX)
    assert.equal(0, site:stop(worker).code)
  end)

  it("ends each that is endless at its limit, and for good", function()
    local worker = start()
    local latest_s = 0
    for _, kind in ipairs(ENDLESS) do
      run_good(10)
      local ok, e = site.app:send_task("timed_poison",
        { kind, native, kind .. ".txt" }, { time_limit = LIMIT_S }):wait(60)
      local began = site:lines(kind .. ".txt")
      latest_s = math.max(latest_s,
        core.sys.monotonic() - LIMIT_S - tonumber(began[1]))
      assert_verdict(kind, ok, e)
      assert.equal(1, #began, kind)
    end
    io.write(("[endless: %.2f s late at most]"):format(latest_s))
    if LATE_S_MAX then
      assert.is_true(latest_s <= LATE_S_MAX)
    end
    assert.equal(0, site:stop(worker).code)
  end)
end)
