local wakes = require("bench.wakes")

local function waking(who, us, comm, pid)
  return ("  %s [000] d..5. 1.%06d: sched_waking: comm=%s pid=%d prio=120"
    .. " target_cpu=001\n"):format(who, us, comm, pid)
end

local function switch(who, us, from, to)
  return ("  %s [000] d..2. 1.%06d: sched_switch: prev_comm=x prev_pid=%d"
    .. " prev_prio=120 prev_state=S ==> next_comm=y next_pid=%d"
    .. " next_prio=120\n"):format(who, us, from, to)
end

-- Two calls: a client (10) wakes Redis (20), once on a core that was idle, and
-- is woken by it.
local TRACE <const> = "# tracer: nop\n"
  .. waking("lua5.4-10", 0, "redis", 20)
  .. switch("lua5.4-10", 10, 10, 0)
  .. switch("<idle>-0", 40, 0, 20)
  .. waking("redis-20", 60, "lua5.4", 10)
  .. switch("redis-20", 65, 20, 0)
  .. switch("<idle>-0", 100, 0, 10)
  .. waking("lua5.4-10", 120, "redis", 20)
  .. waking("lua5.4-10", 121, "sshd", 99)
  .. switch("lua5.4-10", 124, 10, 20)

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
