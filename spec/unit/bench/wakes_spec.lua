local wakes = require("bench.wakes")

-- Two calls: a client (10) wakes Redis (20), once on a core that was idle, and
-- is woken by it.
local TRACE <const> = [[
# tracer: nop
  lua5.4-10  [000] d..5. 1.000000: sched_waking: comm=redis pid=20 prio=120 target_cpu=001
  lua5.4-10  [000] d..2. 1.000010: sched_switch: prev_comm=lua5.4 prev_pid=10 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120
  <idle>-0   [001] d..2. 1.000040: sched_switch: prev_comm=swapper/1 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=redis next_pid=20 next_prio=120
  redis-20   [001] d..5. 1.000060: sched_waking: comm=lua5.4 pid=10 prio=120 target_cpu=000
  redis-20   [001] d..2. 1.000065: sched_switch: prev_comm=redis prev_pid=20 prev_prio=120 prev_state=S ==> next_comm=swapper/1 next_pid=0 next_prio=120
  <idle>-0   [000] d..2. 1.000100: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=lua5.4 next_pid=10 next_prio=120
  lua5.4-10  [000] d..5. 1.000120: sched_waking: comm=redis pid=20 prio=120 target_cpu=000
  lua5.4-10  [000] d..5. 1.000121: sched_waking: comm=sshd pid=99 prio=120 target_cpu=000
  lua5.4-10  [000] d..2. 1.000124: sched_switch: prev_comm=lua5.4 prev_pid=10 prev_prio=120 prev_state=S ==> next_comm=redis next_pid=20 next_prio=120
]]

describe("bench.wakes", function()
  local found, ran = wakes.read(TRACE, { [10] = "client", [20] = "Redis" })

  local function rounded(us)
    return math.floor(us + 0.5)
  end

  it("tells who wakes whom, how often and on which cores", function()
    assert.equal(2, #found)
    assert.same({ "client > Redis", 2, 1 },
      { found[1].name, found[1].count, found[1].halted })
    assert.same({ "Redis > client", 1, 1 },
      { found[2].name, found[2].count, found[2].halted })
  end)

  it("measures from the waking to the running", function()
    table.sort(found[1].times)
    assert.same({ 4, 40 }, { rounded(found[1].times[1]),
      rounded(found[1].times[2]) })
    assert.equal(40, rounded(found[2].us))
  end)

  it("measures how long each one runs", function()
    assert.equal(24, rounded(ran.client))
    assert.equal(25, rounded(ran.Redis))
  end)
end)
