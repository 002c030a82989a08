local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local ledger = require("spec.support.ledger")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

-- A file and a module that it requires, both with the same version; a task
-- says which it has seen when it began and when it ended.
local SCRIPT <const> = [[
  local core = require("taskengine.core")
  local te = require("taskengine")
  local part = require("part")
  local VERSION <const> = %d
  local app = te.app("versions")

  app:task("look", function(number, path, seconds)
    local begun = { VERSION, part.version }
    local file <close> = assert(io.open(path, "a"))
    file:write(number, " ", core.sys.pid(), "\n")
    te.sleep(seconds)
    return { begun = begun, ended = { VERSION, require("part").version },
      pid = core.sys.pid() }
  end)

  app:task("until_file", function(path, notes)
    local file <close> = assert(io.open(notes, "a"))
    file:write(core.sys.pid(), "\n")
    file:flush()
    while not core.sys.stat(path) do
      te.sleep(0.005)
    end
    return VERSION
  end)

  app:task("compute", function()
    while true do
      math.random()
    end
  end)

  %s
  local file <close> = assert(io.open("loaded", "a"))
  file:write(VERSION, "\n")
  return app
]]

describe("A worker that loads its files anew", function()
  local site = workers.for_each_spec {} -- each with its own Redis
  local worker, versions

  -- Complete before anybody can see it.
  local function replace(name, text)
    site.place:write(name .. ".new", text)
    assert(os.rename(site.dir .. "/" .. name .. ".new",
      site.dir .. "/" .. name))
  end

  local function write_version(version, more)
    versions = version
    replace("part.lua", ("return { version = %d }"):format(version))
    replace("versions.lua", SCRIPT:format(version, more or ""))
  end

  -- Until all of its children have loaded the files.
  local function start(_, processes, ...)
    worker = site.place:worker { "versions.lua", "-P", processes, ... }
    site:wait_lines("loaded", tonumber(processes))
  end

  local function count(pattern)
    return select(2, worker:stderr():gsub(pattern, ""))
  end

  local RELOADED <const> = "info  reloaded %("

  -- Until its log says that it is done.
  local function reload()
    local before = count(RELOADED)
    worker:kill("HUP")
    wait_until(function()
      return count(RELOADED) > before
    end, 30, "a reload")
  end

  local function look()
    return site:send("look", 0, site.dir .. "/looks", 0)
      :get { timeout = 20 }
  end

  local function assert_version(version)
    for _ = 1, 8 do
      local seen = look()
      assert.same({ version, version }, seen.begun)
    end
  end

  it("mixes no code, and loses nothing, under load", function()
    local RELOADS <const> = chaos.size(8, 100)
    write_version(1)
    start("-P", "2", "-c", "10")
    local book = ledger.new(site.dir .. "/ledger")
    local producers, list, sent = { site.app }, {}, 0
    for i = 2, 3 do
      producers[i] = te.app("site", { broker = site.server.url })
    end
    local function send(many)
      for _ = 1, many do
        sent = sent + 1
        list[sent] = producers[sent % #producers + 1]:send_task("look",
          { sent, book.path, 0.02 })
      end
    end
    local marks = {} -- how many were sent when a version was complete
    for version = 2, RELOADS + 1 do
      send(100)
      write_version(version)
      local before = count(RELOADED)
      worker:kill("HUP")
      wait_until(function()
        send(5)
        return count(RELOADED) > before
      end, 60, "a reload under load")
      marks[version] = sent
    end
    send(100)
    local last = {}
    for number, r in ipairs(list) do
      local seen = r:get { timeout = 60 }
      local version = seen.begun[1]
      assert.same({ version, version }, seen.begun)
      assert.same(seen.begun, seen.ended)
      assert.equal(last[seen.pid] or version, version)
      last[seen.pid] = version
      for complete, mark in pairs(marks) do
        assert.is_true(number <= mark or version >= complete)
      end
    end
    for _, producer in ipairs(producers) do
      if producer ~= site.app then
        producer:close()
      end
    end
    local found = book:check(sent)
    io.write(("[reload TE_SEED=%d n=%d reloads=%d lost=%d dup=%d]"):format(
      chaos.SEED, sent, RELOADS, found.lost, found.twice))
    assert.same({ lost = 0, twice = 0, unexpected = 0 }, found)
    assert.same({ sent, 0, 0 }, { site:count("done"), site:count("lost"),
      site:count("redelivered") })
    assert.equal(RELOADS, count(RELOADED))
    assert.equal(0, site:stop(worker).code)
    assert.same({}, site:leftovers())
  end)

  it("says what it does", function()
    write_version(1)
    start("-P", "3")
    reload()
    assert.matches("info  reloading versions.lua\n[^\n]* info  reloaded"
      .. " %(3 children%), queue default\n", worker:stderr())
    site:stop(worker)
    assert.not_matches("child %d", worker:stderr())
  end)

  it("lets what has begun end on the old code", function()
    write_version(1)
    start("-P", "2")
    local old = site:send("until_file", "go", "notes")
    site:wait_lines("notes", 1)
    write_version(2)
    reload()
    assert_version(2)
    site.place:write("go", "")
    assert.equal(1, old:get { timeout = 20 })
    wait_until(function()
      return #workers.children(worker) == 2
    end, 20, "the end of the old children")
  end)

  it("runs no more tasks at a time meanwhile", function()
    write_version(1)
    start("-P", "2", "-c", "2")
    for _ = 1, 2 do
      site:send("until_file", "go", "notes")
    end
    site:wait_lines("notes", 2)
    reload()
    for _ = 1, 6 do
      site:send("until_file", "go", "notes")
    end
    site:wait_lines("notes", 4)
    -- The next one would be there long before this one.
    local soon = site:send("look", 0, site.dir .. "/looks", 0)
    assert.same({ nil, "timeout" }, { soon:wait(0.2) })
    assert.equal(4, #site:lines("notes"))
    site.place:write("go", "")
    assert.is_table(soon:get { timeout = 20 })
  end)

  it("kills an old child, too, whose task takes too long", function()
    write_version(1)
    start("-P", "2")
    local before = workers.children(worker)
    local slow = site.app:send_task("compute", {}, { time_limit = 1 })
    wait_until(function()
      return #site:in_flight() == 1
    end)
    reload()
    local ok, e = slow:wait(20)
    assert.same({ false, "TimeLimitExceeded" }, { ok, e.kind })
    workers.wait_gone(before, 5)
    assert.equal(2, #workers.children(worker))
    assert.equal(0, site:count("lost"))
  end)

  describe("which cannot be loaded", function()
    for what, case in pairs {
      ["for their syntax"] = { "this is no Lua", "versions.lua:%d+: syntax"
        .. " error near 'is'" },
      ["for an error"] = { 'error("no luck")', "versions.lua:%d+: no luck" },
      ["for an error without a message"] = { "error()", "nil was raised, an"
        .. " error without a message" },
      ["for a process that ends"] = { "os.exit(9)", "exited with status 9" },
    } do
      it("keeps the old code at work, " .. what, function()
        write_version(1)
        start("-P", "2")
        local before = workers.children(worker)
        write_version(2, case[1])
        worker:kill("HUP")
        worker:heard("stderr", "error reload failed, the old processes stay: "
          .. "[^\n]*" .. case[2])
        assert_version(1)
        wait_until(function()
          return #workers.children(worker) == 2
        end)
        assert.same(before, workers.children(worker))
        write_version(3)
        reload()
        assert_version(3)
        assert.equal(1, count("reload failed"))
        assert.equal(0, count("cannot load its files"))
        assert.equal(0, site:stop(worker).code)
      end)
    end

    it("says which file takes so long", function()
      write_version(1)
      start("-P", "2")
      write_version(2, "while true do end")
      worker:kill("HUP")
      worker:heard("stderr", "warn  still loading versions.lua after 5 s: the"
        .. " reload waits until it has returned, and the old processes go on\n")
      assert_version(1)
      write_version(3)
      reload()
      assert_version(3)
      assert.equal(1, count("still loading"))
    end)

    it("does not wait for ever when asked again", function()
      write_version(1)
      start("-P", "2")
      write_version(2, "while true do end")
      worker:kill("HUP")
      wait_until(function()
        return #workers.children(worker) == 3
      end, 20, "a child that loads")
      assert_version(1)
      write_version(3)
      reload()
      assert_version(3)
      wait_until(function()
        return #workers.children(worker) == 2
      end, 20, "no child that loads")
      assert.equal(0, count("child %d"))
    end)
  end)

  it("takes the last of several requests in a row", function()
    write_version(1)
    start("-P", "2")
    for version = 2, 6 do
      write_version(version)
      worker:kill("HUP")
      if version % 2 == 0 then
        look()
      end
    end
    wait_until(function()
      return look().begun[1] == versions
    end, 20, "the last version")
    wait_until(function()
      return count(RELOADED) >= 1 and #workers.children(worker) == 2
    end, 20, "two children")
    assert_version(6)
    assert.equal(0, count("failed"))
  end)

  it("does it while children die", function()
    write_version(1)
    start("-P", "2")
    for version = 2, 6 do
      write_version(version)
      local before = workers.children(worker)
      workers.kill(before[1])
      worker:kill("HUP")
      workers.kill(before[2])
      wait_until(function()
        return count(RELOADED) == version - 1
      end, 30, "a reload among deaths")
      assert_version(version)
      wait_until(function()
        return #workers.children(worker) == 2
      end, 20, "two children")
    end
    assert.equal(0, site:stop(worker).code)
    assert.same({}, site:leftovers())
  end)

  it("does it after its lease was lost meanwhile", function()
    write_version(1)
    worker = site.place:start({ "worker", "versions.lua", "-P", "2" }, {
      env = { TASKENGINE_LEASE = "1" },
    })
    worker:heard("stderr", "ready: ")
    write_version(2)
    site:fcall("reap", site:wids()[1], "1", "F\x80", "-")
    reload()
    assert_version(2)
    worker:heard("stderr", "the lease was lost")
    assert_version(2)
    assert.equal(0, site:stop(worker).code)
    assert.same({}, site:leftovers())
  end)

  describe("and is stopped", function()
    it("does not load them any more", function()
      write_version(1)
      start("-P", "1")
      local r = site:send("until_file", "go", "notes")
      site:wait_lines("notes", 1)
      worker:kill("TERM")
      worker:heard("stderr", "stopping: ")
      worker:kill("HUP")
      worker:heard("stderr", "info  not reloading: it is stopping\n")
      site.place:write("go", "")
      assert.equal(0, worker:wait(20).code)
      assert.equal(1, r:get { timeout = 1 })
      assert.equal(0, count("reloading %a"))
    end)

    for signal, is_warm in pairs { TERM = true, QUIT = false } do
      it("meanwhile by " .. signal .. ", ends as always", function()
        write_version(1)
        start("-P", "2")
        local old = site:send("until_file", "go", "notes")
        site:wait_lines("notes", 1)
        write_version(2, "while true do end")
        local before = #workers.children(worker)
        worker:kill("HUP")
        wait_until(function()
          return #workers.children(worker) > before
        end, 20, "a child that loads")
        local children = workers.children(worker)
        worker:kill(signal)
        worker:heard("stderr", "stopping")
        if is_warm then
          site.place:write("go", "")
        end
        assert.equal(0, worker:wait(20).code)
        workers.wait_gone(children, 1)
        if is_warm then
          assert.equal(1, old:get { timeout = 1 })
          assert.same({}, site:leftovers())
        else
          assert.equal(0, site:ready()[1].deaths)
          assert.same({ "r:default" }, site:leftovers())
        end
      end)
    end
  end)

  it("publishes the tasks, options and queues that are new", function()
    write_version(1, [[
      app:task("leaving", { queue = "former" }, print)
      app:task("staying", { time_limit = 5 }, print)]])
    start("-P", "1")
    local wid = site:wids()[1]
    local function described()
      return assert(core.codec.decode(site:key("HGET", "wi", wid)))
    end
    assert.equal("former", described().tasks.leaving.queue)
    write_version(2, [[
      app:task("coming", { queue = "latter" }, function() return "came" end)
      app:task("staying", { time_limit = 6 }, print)]])
    local early = site.app:send_task("coming", {}, { queue = "latter" })
    reload()
    assert.equal("came", early:get { timeout = 20 })
    local now = described()
    assert.is_nil(now.tasks.leaving)
    assert.same({ "latter", 6 }, { now.tasks.coming.queue,
      now.tasks.staying.time_limit })
    assert.same({ "default", "latter" }, now.queues)
    assert.same({ 0, 1 }, { site:key("EXISTS", "ws:former"),
      site:key("SISMEMBER", "ws:latter", wid) })
    assert.same({ wid }, site:wids())
    -- Its bell rings for the queue that it had not.
    wait_until(function()
      return site:key("SISMEMBER", "sl:latter", wid) == 1
    end)
    assert.equal("came", site.app:send_task("coming", {}, { queue = "latter" })
      :get { timeout = 20 })
  end)

  it("tells Redis when it can be reached again", function()
    write_version(1)
    start("-P", "1")
    write_version(2, 'app:task("coming", { queue = "latter" }, print)')
    site:call("CONFIG", "SET", "min-replicas-to-write", "1")
    reload()
    worker:heard("stderr", "Redis refuses")
    site:call("CONFIG", "SET", "min-replicas-to-write", "0")
    wait_until(function()
      return site:key("EXISTS", "ws:latter") == 1
    end, 20, "the new queue")
  end)

  it("says what takes a restart, and takes over the rest", function()
    write_version(1)
    start("-P", "1")
    write_version(2, [[app:configure { lease = 20, namespace = "other",
      max_tasks_per_child = 1 }]])
    reload()
    assert.equal(2, count("that takes a restart of this worker"))
    worker:heard("stderr", "warn  the setting 'lease' has changed: that takes a"
      .. " restart of this worker\n")
    assert.not_equal(look().pid, look().pid)
    reload()
    assert.equal(4, count("that takes a restart of this worker"))
  end)
end)
