local chaos = require("spec.support.chaos")
local ledger = require("spec.support.ledger")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("A worker that replaces its children", function()
  local site = workers.for_each_spec {} -- each with its own Redis
  local book

  before_each(function()
    book = ledger.new(site.dir .. "/ledger")
  end)

  local function send(name, count, ...)
    local list = {}
    for number = 1, count do
      list[number] = { number, book.path, ... }
    end
    return site.app:enqueue_many(name, list)
  end

  local function wait_done(count)
    wait_until(function()
      return site:count("done") + site:count("failed") >= count
    end, 120, "the end of all tasks")
    assert.same({ count, 0, 0, 0 }, { site:count("done"), site:count("failed"),
      site:count("lost"), site:count("redelivered") })
  end

  -- How many tasks each process has begun.
  local function tasks_of_processes()
    local of, processes, most = {}, 0, 0
    for _, pids in pairs((book:starts())) do
      for _, pid in ipairs(pids) do
        processes = processes + (of[pid] and 0 or 1)
        of[pid] = (of[pid] or 0) + 1
        most = math.max(most, of[pid])
      end
    end
    return processes, most
  end

  local function assert_whole(worker, sent)
    assert.same({ lost = 0, twice = 0, unexpected = 0 }, book:check(sent))
    wait_until(function()
      local children = workers.children(worker)
      return #children >= 2 and #children <= 4
    end, 20, "as many children as there are to be")
    assert.not_matches("warn ", worker:stderr())
    local ended = site:stop(worker)
    assert.equal(0, ended.code)
    assert.same({}, site:leftovers())
  end

  local function start(words, file)
    return site:worker({ "-P", "2", table.unpack(words) },
      { file = file or "ledger" })
  end

  it("does so after exactly so many tasks, and loses none", function()
    local COUNT <const> = chaos.size(2000, 100000)
    local worker = start { "--max-tasks-per-child", "50" }
    send("work", COUNT, 0.0005)
    wait_done(COUNT)
    local processes, most = tasks_of_processes()
    io.write(("[recycle TE_SEED=%d n=%d processes=%d]"):format(chaos.SEED,
      COUNT, processes))
    assert.equal(50, most)
    assert.is_true(processes <= COUNT / 50 + 4, processes)
    assert_whole(worker, COUNT)
  end)

  it("does so after each task", function()
    local worker = start { "--max-tasks-per-child", "1" }
    send("wait", 60, 0.001)
    wait_done(60)
    assert.same({ 60, 1 }, { tasks_of_processes() })
    assert_whole(worker, 60)
  end)

  it("does so with many at a time", function()
    local worker = start { "--max-tasks-per-child", "30", "-c", "10" }
    send("wait", 1500, 0.002)
    wait_done(1500)
    assert.equal(30, select(2, tasks_of_processes()))
    assert_whole(worker, 1500)
  end)

  it("runs no more tasks at a time meanwhile", function()
    start({ "--max-tasks-per-child", "3", "-c", "2" }, "basics")
    for i = 1, 14 do
      site:send("until_file", "go-" .. i, "notes", i)
    end
    for ended = 0, 9 do
      local lines = site:wait_lines("notes", ended + 4)
      assert.equal(ended + 4, #lines)
      local number = lines[ended + 1]:match("^%d+")
      site.place:write("go-" .. number, "")
      wait_until(function()
        return site:count("done") == ended + 1
      end, 20, "the end of a task")
    end
    for i = 1, 14 do
      site.place:write("go-" .. i, "")
    end
    wait_done(14)
  end)

  it("goes on with tasks that wait for others, however few they are", function()
    start({ "--max-tasks-per-child", "1", "-c", "1" }, "basics")
    local list, sum = {}, 0
    for i = 1, 100 do
      list[i] = site:send("ask", i)
    end
    for r in te.as_completed(list, 60) do
      sum = sum + r:get()
    end
    assert.equal(100 * 101 / 2 + 100, sum)
    wait_done(200)
  end)

  it("lets one go whose memory has grown, when it has ended all", function()
    local script = site.place:write("hog.lua", [[
      local core = require("taskengine.core")
      local te = require("taskengine")
      local app = te.app("hog")
      app:task("hog", function(bytes)
        _G.kept = ("x"):rep(bytes)
        return core.sys.pid()
      end)
      app:task("nap", function(path)
        local file <close> = io.open(path, "a")
        file:write(core.sys.pid(), "\n")
        file:flush()
        while not core.sys.stat("go") do
          te.sleep(0.005)
        end
        return core.sys.pid()
      end)
      app:task("pid", core.sys.pid)
      return app]])
    local worker = site.place:worker { script, "-P", "1", "-c", "2",
      "--max-memory-per-child", "80M" }
    local first = site:send("pid"):get { timeout = 20 }
    assert.equal(first, site:send("hog", 1 << 20):get { timeout = 20 })
    local nap = site:send("nap", "notes")
    site:wait_lines("notes", 1)
    assert.equal(first, site:send("hog", 100 << 20):get { timeout = 20 })
    local size = worker:heard("stderr",
      "info  child 0 is replaced: it has come to (%d+%.%d) MiB\n")
    assert.is_true(tonumber(size) > 100)
    assert.not_equal(first, site:send("pid"):get { timeout = 20 })
    site.place:write("go", "")
    assert.equal(first, nap:get { timeout = 20 })
    workers.wait_gone({ first }, 5)
    assert.equal(0, site:count("lost"))
    assert.equal(1, select(2, worker:stderr():gsub("is replaced", "")))
  end)

  it("says so when each has too much memory from the start", function()
    local worker = start { "--max-memory-per-child", "1M" }
    worker:heard("stderr", "warn  max_memory_per_child is 1%.0 MiB, and a child"
      .. " that has only loaded its files has come to %d+%.%d MiB")
    send("work", 1500, 0.001)
    wait_done(1500)
    assert.same({ lost = 0, twice = 0, unexpected = 0 }, book:check(1500))
    assert.is_true((tasks_of_processes()) > 4)
    assert.equal(1, select(2, worker:stderr():gsub("only loaded", "")))
  end)

  it("takes both limits from the settings, too", function()
    local worker = site:worker({ "-P", "1" }, {
      env = {
        TASKENGINE_MAX_TASKS_PER_CHILD = "2",
        TASKENGINE_MAX_MEMORY_PER_CHILD = "1.5G",
      },
    })
    local pids, different = {}, 0
    for _ = 1, 6 do
      local pid = site:send("pid"):get { timeout = 20 }
      different = different + (pids[pid] and 0 or 1)
      pids[pid] = true
    end
    assert.equal(3, different)
    assert.equal(0, site:stop(worker).code)
  end)

  it("kills one that does not end, and goes on meanwhile", function()
    local script = site.place:write("hanging.lua", [[
      local core = require("taskengine.core")
      local app = require("taskengine").app("hanging")
      _G.kept = setmetatable({}, { __gc = function() while true do end end })
      app:task("pid", core.sys.pid)
      return app]])
    local worker = site.place:worker { script, "-P", "1",
      "--max-tasks-per-child", "1" }
    local first = site:send("pid"):get { timeout = 20 }
    assert.not_equal(first, site:send("pid"):get { timeout = 20 })
    worker:heard("stderr", "warn  child %d has not ended 2 s after its last"
      .. " task: killed\n")
    workers.wait_gone({ first }, 5)
    assert.equal(0, site:count("lost"))
    worker:kill("TERM")
    assert.equal(0, worker:wait(20).code)
  end)

  it("goes on beyond the limit while no new one can be had", function()
    local script = site.place:write("shaky.lua", [[
      local core = require("taskengine.core")
      assert(not core.sys.stat("broken"), "broken")
      local app = require("taskengine").app("shaky")
      app:task("pid", core.sys.pid)
      return app]])
    local worker = site.place:worker { script, "-P", "1",
      "--max-tasks-per-child", "2" }
    local function pid()
      return site:send("pid"):get { timeout = 20 }
    end
    -- Before a task has ended nobody is prepared who may have loaded it whole:
    -- whoever is there stays; the next is tried for, and can then be had.
    site.place:write("broken", "")
    worker:kill("HUP")
    worker:heard("stderr", "reload failed")
    local one = pid()
    for _ = 1, 10 do
      assert.equal(one, pid())
    end
    worker:heard("stderr", "a new child cannot load its files, trying again:"
      .. " [^\n]*shaky.lua:2: broken")
    os.remove(site.dir .. "/broken")
    wait_until(function()
      return pid() ~= one
    end, 30, "another process")
    worker:heard("stderr", "new children load their files again")
    assert.equal(0, site:count("lost"))
  end)

  it("stops as always in between, and hands the rest back", function()
    local worker = start { "--max-tasks-per-child", "5" }
    send("work", 3000, 0.001)
    wait_until(function()
      return site:count("done") > 100
    end, 20, "some tasks")
    local children = workers.children(worker)
    local ended = site:stop(worker)
    assert.equal(0, ended.code)
    workers.wait_gone(children, 1)
    local begun = select(2, book:starts())
    assert.equal(begun, site:count("done"))
    assert.equal(3000 - begun, #site:ready())
    for _, envelope in ipairs(site:ready()) do
      assert.same({ 0, 0 }, { envelope.deaths, envelope.reaps })
    end
    assert.same({ "r:default" }, site:leftovers())
  end)

  it("loses nothing when they are killed besides", function()
    local worker = start { "--max-tasks-per-child", "20", "-c", "5" }
    local COUNT <const> = chaos.size(2000, 50000)
    local kills = 0
    math.randomseed(chaos.SEED)
    send("wait", COUNT, 0.005)
    while site:count("done") + site:count("failed") < COUNT do
      chaos.pause(0.05, 0.15)
      local pid = chaos.pick(workers.children(worker))
      if pid then
        workers.kill(pid)
        kills = kills + 1
      end
    end
    local found = book:check(COUNT)
    io.write(("[recycle and kill TE_SEED=%d n=%d kills=%d dup=%d]"):format(
      chaos.SEED, COUNT, kills, found.twice))
    assert.same({ 0, 0 }, { found.lost, found.unexpected })
    assert.is_true(found.twice <= kills * 5)
    assert.is_true(site:count("lost") <= kills)
    wait_until(function()
      local count = #workers.children(worker)
      return count >= 2 and count <= 4
    end, 20, "as many children as there are to be")
    assert.equal(0, site:stop(worker).code)
    assert.same({}, site:leftovers())
  end)
end)
