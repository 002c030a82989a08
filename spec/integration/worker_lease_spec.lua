local program = require("spec.support.program")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("A worker", function()
  local site = workers.for_each_spec()

  describe("whose lease is taken from it", function()
    local function reap(wid)
      return site:fcall("reap", wid, "1", "F\x80", "-")
    end

    -- What takes the lease away, by name.
    local ways = {
      ["by another worker"] = reap,
      ["by a hand that deletes its key"] = function(wid)
        site:key("ZREM", "w", wid)
      end,
    }

    for name, take in pairs(ways) do
      it("starts anew and loses nothing, " .. name, function()
        local worker = site:worker({ "-P", "2" }, {
          env = { TASKENGINE_LEASE = "1" }, -- it asks three times a second
        })
        local list = {}
        for i = 1, 2 do
          list[i] = site:apply("until_file", { "go", "notes", i })
        end
        site:wait_lines("notes", 2)
        for i = 3, 6 do
          list[i] = site:apply("add", { i, i })
        end
        local wid, children = site:wids()[1], workers.children(worker)
        take(wid)
        worker:heard("stderr", "the lease was lost")
        workers.wait_gone(children)
        site:wait_lines("notes", 4)
        assert.not_equal(wid, site:wids()[1])
        assert.equal(1, #site:wids())
        site.place:write("go", "")
        for i = 1, 6 do
          assert.equal(i < 3 and "seen" or 2 * i, list[i]:get { timeout = 20 })
        end
        assert.equal(6, site:count("done"))
        assert.equal(0, site:stop(worker).code)
        assert.same({}, site:leftovers())
      end)
    end

    it("can be stopped meanwhile", function()
      local worker = site:worker({ "-P", "2" }, {
        env = { TASKENGINE_LEASE = "1" },
      })
      local r = site:apply("until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      reap(site:wids()[1])
      assert.equal(0, site:stop(worker).code)
      assert.same({ "h:" .. r.id, "r:default" }, site:leftovers())
    end)

    it("finds out when it stops, too", function()
      local worker = site:worker { "-P", "1" }
      local r = site:apply("until_file", { "go", "notes" })
      site:wait_lines("notes", 1)
      worker:kill("TERM")
      worker:heard("stderr", "stopping: waiting")
      reap(site:wids()[1])
      site.place:write("go", "")
      assert.equal(0, worker:wait(20).code)
      assert.same({ nil, "timeout" }, { r:wait(0) })
      assert.equal(1, site:ready()[1].reaps)
      assert.same({ "h:" .. r.id, "r:default" }, site:leftovers())
    end)
  end)

  it("reaps another whatever bytes its name has", function()
    site:key("ZADD", "w", 1, "sixth\0zero\xff\n")
    site:worker { "-P", "1" }
    wait_until(function()
      return site:key("ZCARD", "w") == 1
    end, 10, "that the other is gone")
  end)

  it("keeps its lease while its tasks compute for longer", function()
    local env = { TASKENGINE_LEASE = "2" }
    local worker = site:worker({ "-P", "1" }, { env = env })
    local other = site:worker({ "-P", "1" }, { env = env })
    local wids = site:wids()
    table.sort(wids)
    assert.equal(2, #wids)
    local r = site:apply("compute", { 5, "notes" })
    assert.equal("computed", r:get { timeout = 30 })
    local after = site:wids()
    table.sort(after)
    assert.same(wids, after)
    assert.equal(1, #site:lines("notes"))
    assert.same({ 0, 0 }, { site:count("lost"), site:count("redelivered") })
    assert.is_true(program.is_alive(worker.pid))
    assert.is_true(program.is_alive(other.pid))
  end)
end)
