local te = require("taskengine")
local workers = require("spec.support.workers")

describe("The children of a worker", function()
  local site = workers.for_each_spec()

  for name, seconds in pairs { compute = 0.002, nap = 0.004 } do
    it(("run 100 that %s as if a long one were alone on its child")
      :format(name), function()
      local worker = site:worker { "-P", "2" }
      site:send("busy_until_file", "go", "long")
      local busy = tonumber(site:wait_lines("long", 1)[1]:match("%d+$"))
      local list = {}
      for i = 1, 100 do
        list[i] = site:send(name, seconds, "short", i)
      end
      for r in te.as_completed(list, 30) do
        r:get()
      end
      local children = workers.children(worker)
      local free = children[1] == busy and children[2] or children[1]
      local lines = site:lines("short")
      assert.equal(100, #lines)
      for _, line in ipairs(lines) do
        assert.equal(free, tonumber(line:match("%d+$")))
      end
      -- It computes still: not one of them was behind it.
      assert.equal(1, #site:in_flight())
      site.place:write("go", "")
    end)
  end

  it("tell of a short task while a long one behind it computes", function()
    site:worker { "-P", "1" }
    for i = 1, 20 do -- with such it may get several at a time
      assert.same({ true, 2 * i }, { site:outcome("add", i, i) })
    end
    -- Both are with the child before it begins one.
    site:send("compute", 0.02)
    local group = te.group {
      site.app:signature("add", { 1, 2 }),
      site.app:signature("busy_until_file", { "go", "long" }),
    }()
    local first = group:iter(20)()
    assert.equal(3, first:get())
    assert.equal(1, #site:in_flight())
    site.place:write("go", "")
    assert.same({ 3, "seen", n = 2 }, group:get { timeout = 20 })
  end)

  it("share tasks that take longer than those of their name did", function()
    local worker = site:worker { "-P", "2" }
    local function run(count, ...)
      local calls = {}
      for i = 1, count do
        calls[i] = { ... }
      end
      for r in te.as_completed(site.app:enqueue_many("compute", calls), 20) do
        r:get()
      end
    end
    run(500, 0)
    run(12, 0.008, "notes")
    local of = {}
    for _, line in ipairs(site:lines("notes")) do
      local pid = tonumber(line:match("%d+$"))
      of[pid] = (of[pid] or 0) + 1
    end
    for _, pid in ipairs(workers.children(worker)) do
      assert.is_true((of[pid] or 0) >= 2, "one child had nearly nothing")
    end
  end)

  it("finish 1,000 tasks that each wait for one of their own", function()
    local worker = site:worker { "-P", "2", "-c", "1" }
    local list, sum = {}, 0
    for i = 1, 1000 do
      list[i] = site:send("ask", i)
    end
    for r in te.as_completed(list, 120) do
      sum = sum + r:get()
    end
    assert.equal(1000 * 1001 / 2 + 1000, sum)
    assert.same({ 2000, 0, 0 }, { site:count("done"), site:count("failed"),
      site:count("redelivered") })
    assert.equal(0, site:stop(worker).code)
  end)

  it("run another task while one sleeps, with -c 2", function()
    site:worker { "-P", "1", "-c", "2" }
    local sleeper = site:send("until_file", "go", "notes")
    site:wait_lines("notes", 1)
    for i = 1, 20 do
      assert.equal(2 * i, site:send("add", i, i):get { timeout = 20 })
    end
    assert.same({ nil, "timeout" }, { sleeper:wait(0) })
    site.place:write("go", "")
    assert.equal("seen", sleeper:get { timeout = 20 })
  end)

  for _, concurrency in ipairs { 1, 2, 7 } do
    it(("run as many at a time as --concurrency %d says"):format(concurrency),
      function()
        site:worker { "-P", "2", "--concurrency", concurrency }
        local list = {}
        for i = 1, 2 * concurrency + 3 do
          list[i] = site:send("until_file", "go", "notes", i)
        end
        local lines = site:wait_lines("notes", 2 * concurrency)
        local of = {}
        for _, line in ipairs(lines) do
          local pid = line:match("%d+$")
          of[pid] = (of[pid] or 0) + 1
        end
        for _, count in pairs(of) do
          assert.equal(concurrency, count)
        end
        assert.same({ nil, "timeout" }, { list[#list]:wait(0.2) })
        assert.equal(2 * concurrency, #site:lines("notes"))
        site.place:write("go", "")
        for _, r in ipairs(list) do
          assert.equal("seen", r:get { timeout = 20 })
        end
      end)
  end

  it("leave what had begun to a successor on the same host", function()
    local long = { env = { TASKENGINE_LEASE = "600" } }
    local worker = site:worker({ "-P", "2" }, long)
    local begun = site:send("until_file", "go", "notes")
    site:wait_lines("notes", 1)
    workers.kill(worker.pid)
    worker:wait()
    site:worker({ "-P", "2" }, long)
    site:wait_lines("notes", 2)
    site.place:write("go", "")
    assert.equal("seen", begun:get { timeout = 20 })
    assert.equal(1, site:count("lost"))
  end)
end)
