local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

-- Renewed three times in its length: it is not over within half of that.
local LEASE_S <const> = 60

describe("A worker that is killed and started again", function()
  it("loses no task and starts few twice", function()
    local run <close> = chaos.run { processes = 2, concurrency = 2 }
    local kills_max = chaos.size(30, 200)
    local env, slowest_s = { TASKENGINE_LEASE = tostring(LEASE_S) }, 0
    run:send("wait", chaos.size(10000, 100000), 0.004)
    run:start(env)
    while run.kills < kills_max do
      if run:is_done() then
        run:send("wait", 1000, 0.004)
      end
      chaos.pause(0.02, 0.3)
      local dead = run.site:wids()[1]
      run:kill_worker()
      local began = core.sys.monotonic()
      run:start(env)
      wait_until(function()
        return run.site:key("EXISTS", "f:" .. dead) == 0
      end, LEASE_S / 2, "the tasks of the dead one, at once")
      slowest_s = math.max(slowest_s, core.sys.monotonic() - began)
    end
    run:finish()

    local bound = run.kills * run.processes * run.concurrency
    local found = run:report("F2", bound, ("back=%.2fs"):format(slowest_s))
    assert.same({ 0, 0 }, { found.lost, found.unexpected })
    assert.is_true(found.twice <= bound)
    assert.equal(run.sent, found.done)
    -- What was handed out and had not begun counts nothing.
    assert.is_true(run.site:count("lost") <= bound)
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)

  describe("takes over", function()
    local site = workers.for_each_spec {} -- each with its own Redis

    local function kill(worker)
      local children = workers.children(worker)
      workers.kill(worker.pid)
      worker:wait()
      workers.wait_gone(children, 1)
    end

    -- The same worker again, as far as its claims go; it runs nothing.
    local function start_idle_heir()
      return site:worker { "-P", "1", "-Q", "other" }
    end

    it("what had not begun, in its order and uncounted", function()
      -- The child computes in the first; the others have its slots.
      local slots = 20
      site:send("busy_until_file", "go", "notes", "first")
      for i = 1, 50 do
        site:send("note", "notes", i)
      end
      local worker = site:worker { "-P", "1", "-c", tostring(slots) }
      site:wait_lines("notes", 1)
      wait_until(function()
        return #site:in_flight() >= slots
      end)
      kill(worker)
      start_idle_heir()
      wait_until(function()
        return #site:ready() == 51
      end)
      for i, envelope in ipairs(site:ready()) do
        local is_first = i == 1
        assert.equal(is_first and "busy_until_file" or "note", envelope.name)
        assert.same({ 0, is_first and 1 or 0 },
          { envelope.deaths, envelope.reaps })
        assert.is_true(i > slots or envelope.delivery > 0)
      end
      assert.equal(1, site:count("lost"))

      site.place:write("go", "")
      site:worker { "-P", "1" }
      local lines = site:wait_lines("notes", 52)
      for i = 1, 50 do
        assert.equal(tostring(i), lines[2 + i])
      end
    end)

    it("what had ended, without doing it again", function()
      local worker = site:worker { "-P", "1" }
      local r = site:send("busy_until_file", "go", "notes")
      site:wait_lines("notes", 1)
      site.server:kill("STOP")
      site.place:write("go", "")
      worker:heard("stderr", "busy_until_file%S+ succeeded")
      kill(worker)
      site.server:kill("CONT")
      start_idle_heir()
      assert.equal("seen", r:get { timeout = 20 })
      assert.equal(1, #site:lines("notes"))
      assert.equal(0, site:count("lost"))
    end)

    -- Of the calls that Redis has written down, the most tasks that one ended
    -- one by one. Behind 31 words stands only how many more there were.
    local function most_finished()
      local most = 0
      for _, entry in ipairs(site:call("SLOWLOG", "GET", "-1")) do
        local words = entry[4]
        if words[2] == "te1_finish" then
          local more = words[#words]:match("^%.%.%. %((%d+) more")
          local count = more and 31 + tonumber(more) or #words
          most = math.max(most, (count - 6) // 3)
        end
      end
      return most
    end

    it("what had ended, a few hundred in each call", function()
      local tasks <const>, told_max <const> = 600, 250
      local worker = site:worker { "-P", "1", "-c", tostring(tasks + 1) }
      site:send("busy_until_file", "go", "notes")
      site:wait_lines("notes", 1)
      local results = {}
      for i = 1, tasks do
        results[i] = site:send("add", i, 1)
      end
      wait_until(function()
        return #site:in_flight() == tasks + 1
      end)
      site.server:kill("STOP")
      site.place:write("go", "")
      wait_until(function()
        return select(2, worker:stderr():gsub("add%S+ succeeded", "")) == tasks
      end)
      kill(worker)
      site.server:kill("CONT")
      site:call("CONFIG", "SET", "slowlog-log-slower-than", "0")
      site:call("CONFIG", "SET", "slowlog-max-len", "100000")
      start_idle_heir()
      for i, r in ipairs(results) do
        assert.equal(i + 1, r:get { timeout = 20 })
      end
      local most = most_finished()
      assert.is_true(most > 1 and most <= told_max, most)
    end)

    it("again, when Redis was lost on the way", function()
      local kept <close> = workers.site { config = {
        "appendonly yes", "appendfsync always",
      } }
      local worker = kept:worker { "-P", "1" }
      kept:send("busy_until_file", "go", "notes")
      kept:wait_lines("notes", 1)
      kill(worker)
      -- It finds the dead one only now that Redis refuses to hear of it.
      kept.server:cli("CONFIG", "SET", "min-replicas-to-write", "1")
      local heir = kept:start { "-P", "1", "-Q", "other" }
      heir:heard("stderr", "Redis refuses")
      kept.server:kill("KILL")
      kept.server:restart()
      wait_until(function()
        return #kept:ready() == 1
      end)
      assert.equal(1, kept:ready()[1].reaps)
    end)

    -- The names of what lies with the claims of a site's workers.
    local function claims_folder()
      local found <close> = io.popen(("find '%s' -path '*/workers*' | sort")
        :format(site.place.home.path))
      local folder, names = found:read("l"), {}
      for path in found:lines() do
        names[#names + 1] = path:sub(#folder + 2)
      end
      return folder, names
    end

    it("as begun what its claims tell nonsense of", function()
      local worker = site:worker { "-P", "1" }
      site:send("busy_until_file", "go", "notes")
      site:wait_lines("notes", 1)
      local id = site:in_flight()[1].id
      kill(worker)
      local folder, names = claims_folder()
      local file <close> = assert(io.open(folder .. "/" .. names[1], "r+b"))
      -- In the claim, see engine/claims.c: its state, its time, the field, the
      -- size of the outcome, the outcome.
      local at = file:read("a"):find(id, 1, true) - 1 - 16
      file:seek("set", at)
      file:write(string.pack("<I4", 3))
      file:seek("set", at + 40)
      file:write(string.pack("<s8", "nonsense"))
      file:flush()
      start_idle_heir()
      wait_until(function()
        return #site:ready() == 1
      end)
      assert.equal(1, site:ready()[1].reaps)
    end)

    it("what is a claims file, and sweeps what was to be one", function()
      kill(site:worker { "-P", "1" })
      local folder, names = claims_folder()
      assert.equal(1, #names)
      for name, text in pairs {
        ["empty.claims"] = "", ["odd.claims"] = "\1\2\3",
        ["dead.claims.new"] = "", ["notes"] = "x",
      } do
        local file <close> = assert(io.open(folder .. "/" .. name, "wb"))
        file:write(text)
      end
      assert(os.execute(("mkfifo '%s/fifo.claims'"):format(folder)))
      assert(os.execute(("mkdir '%s/sub.claims'"):format(folder)))
      local heir = site:worker { "-P", "1" }
      assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
      assert.equal(0, site:stop(heir).code)
      assert.same({ "fifo.claims", "notes", "sub.claims" },
        select(2, claims_folder()))
    end)

    it("nothing from one that served another namespace, or broker", function()
      local worker = site:worker { "-P", "1" }
      site:send("busy_until_file", "go", "notes")
      site:wait_lines("notes", 1)
      kill(worker)
      site.place:write("beta.lua", [[
        local app = require("taskengine").app("b", { namespace = "beta" })
        app:task("nothing", function() end)
      ]])
      for _, words in ipairs {
        { "beta.lua", "-P", "1" },
        { "beta.lua", "-P", "1", "-b", site.server.url .. "?db=1" },
      } do
        assert.equal(0, site:stop(site.place:worker(words)).code)
        assert.equal(1, #select(2, claims_folder()))
      end
      assert.equal(1, #site:in_flight())
      start_idle_heir()
      wait_until(function()
        return #site:ready() == 1
      end)
      assert.equal(1, site:ready()[1].reaps)
    end)

    it("nothing from one that lives", function()
      local worker = site:worker { "-P", "1" }
      site:send("busy_until_file", "go", "notes")
      site:wait_lines("notes", 1)
      start_idle_heir()
      wait_until(function()
        return site:key("SCARD", "sl:other") == 1
      end)
      assert.equal(1, #site:in_flight())
      site.place:write("go", "")
      wait_until(function()
        return site:count("done") == 1
      end)
      assert.equal(0, site:stop(worker).code)
    end)
  end)

  it("ends a task with which ten of it were lost", function()
    local site <close> = workers.site()
    local r = site:send("busy_until_file", "go", "notes")
    for i = 1, 10 do
      local worker = site:worker { "-P", "1" }
      site:wait_lines("notes", i)
      workers.kill(worker.pid)
      worker:wait()
    end
    site:worker { "-P", "1" }
    local ok, e = r:wait(20)
    assert.is_false(ok)
    assert.same({ "WorkerLost",
      "worker after worker was lost while it held the task" },
      { e.kind, e.message })
    assert.equal(10, #site:lines("notes"))
  end)
end)
