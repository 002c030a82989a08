local wakes = require("bench.wakes")

local function line(who, core, us, text, ...)
  return ("  %s [00%d] d..2. 1.%06d: "):format(who, core, us)
    .. text:format(...) .. "\n"
end

local function waking(who, core, us, pid)
  return line(who, core, us, "sched_waking: comm=x pid=%d prio=120", pid)
end

local function switch(who, core, us, from, to)
  return line(who, core, us, "sched_switch: prev_comm=x prev_pid=%d"
    .. " prev_prio=120 prev_state=S ==> next_comm=y next_pid=%d"
    .. " next_prio=120", from, to)
end

-- Two calls: a client (10) wakes Redis (20), once on a core that slept, and is
-- woken by it, on a core that does not tell of the switch.
local TRACE <const> = "# tracer: nop\n"
  .. waking("lua5.4-10", 0, 0, 20)
  .. switch("lua5.4-10", 0, 10, 10, 0)
  .. switch("<idle>-0", 1, 40, 0, 20)
  .. waking("redis-20", 1, 60, 10)
  .. switch("redis-20", 1, 65, 20, 0)
  .. line("lua5.4-10", 0, 100, "sys_epoll_wait -> 0x1")
  .. waking("lua5.4-10", 0, 120, 20)
  .. waking("lua5.4-10", 0, 121, 99)
  .. switch("lua5.4-10", 0, 124, 10, 20)
  .. waking("sshd-99", 1, 130, 20)
  .. waking("redis-20", 0, 131, 20)
  .. switch("redis-20", 0, 140, 20, 0)
  .. switch("<idle>-0", 0, 200, 0, 20)

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
    assert.equal(34, rounded(ran.client))
    assert.equal(41, rounded(ran.Redis))
  end)
end)
