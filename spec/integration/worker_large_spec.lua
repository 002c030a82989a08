local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local BYTES <const> = 950000

describe("A worker of large tasks", function()
  local site = workers.for_each_spec()

  local function send_large(count)
    local list, text = {}, ("x"):rep(BYTES)
    for i = 1, count do
      list[i] = site:send("size", text)
    end
    return list
  end

  local function assert_done(list)
    for r in te.as_completed(list, 60) do
      assert.equal(BYTES, r:get())
    end
    assert.same({ 0, 0 }, { site:count("lost"), site:count("redelivered") })
  end

  it("runs them all when it has room for more than a reply holds", function()
    local list = send_large(150)
    site:worker { "-P", "2", "-c", "100" }
    assert_done(list)
  end)

  -- As /proc says it, in MiB: what is a process's own, and its share of the
  -- rest.
  local function memory(pid)
    local path = ("/proc/%d/smaps_rollup"):format(pid)
    local file <close> = assert(io.open(path))
    return tonumber(file:read("a"):match("Pss:%s*(%d+)")) // 1024
  end

  it("gives back what large results took", function()
    local worker = site:worker { "-P", "1" }
    local child = workers.children(worker)[1]
    assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
    local before = { memory(worker.pid), memory(child) }
    for _ = 1, 4 do
      local ok, text = site:outcome("large", 16 * 1024 * 1024 - 16)
      assert.is_true(ok)
      assert.equal(16 * 1024 * 1024 - 16, #text)
    end
    local slack = (os.getenv("TE_BUILD") or ""):find("asan") and 512 or 8
    wait_until(function()
      return memory(worker.pid) <= before[1] + slack
        and memory(child) <= before[2] + slack
    end, 20, "memory as before")
    assert.equal(child, workers.children(worker)[1])
  end)

  it("gives a child that computes no more than it is to hold", function()
    local worker = site:worker { "-P", "1", "-c", "1000" }
    local children = workers.children(worker)
    site:send("busy_until_file", "go", "notes")
    site:wait_lines("notes", 1)
    local list = send_large(100)
    -- 64 MiB, and what it computes.
    local held = 64 * 1024 * 1024 // BYTES + 1 + 1
    local in_flight = "f:" .. site:wids()[1]
    wait_until(function()
      return site:key("LLEN", "r:default") == 101 - held
        and site:key("HLEN", in_flight) == held
    end, 20, "what a child may hold")
    assert.same(children, workers.children(worker))
    site.place:write("go", "")
    assert_done(list)
    assert.same(children, workers.children(worker))
  end)

  it("tells a task when a reply is too large for it", function()
    site:worker { "-P", "1", "-c", "2" }
    local ids = {}
    for i = 1, 5 do
      local r = site:send("large", 15000000)
      assert.equal(15000000, #r:get { timeout = 20 })
      ids[i] = r.id
    end
    assert.same({ true, { false,
      "EREPLY: the reply is larger than a child can be sent", "EREPLY" } },
      { site:outcome("ask_outcomes", ids) })
    assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
  end)
end)
