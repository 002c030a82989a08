local core = require("taskengine.core")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local assert_failed = workers.assert_failed

-- What begins to be killed is dead a second later; and for a busy machine.
local KILL_S <const>, SLACK_S <const> = 1, 20

describe("Revoking", function()
  local site = workers.for_each_spec()

  local function start(...)
    return site:worker({ ... }, { file = "revoked" })
  end

  -- Sends a task, which notes when it has begun, and waits for that.
  local function begin(name, ...)
    local before = #site:lines("notes")
    local r = site:send(name, site.dir .. "/notes", ...)
    site:wait_lines("notes", before + 1)
    return r
  end

  local function assert_revoked(r, text)
    assert_failed("Revoked", text or "revoked while it ran", r:wait(SLACK_S))
    assert.equal("REVOKED", r:state())
  end

  describe("what runs", function()
    it("raises an error in it, whatever it does", function()
      local worker = start("-P", "1", "-c", "2")
      local before = workers.children(worker)
      for _, what in ipairs {
        "compute", "sleep", "coroutines", "ask", "questions", "spawned",
        "computes_spawned",
      } do
        local r = begin("does", what)
        assert.same({ true, "asked" }, { r:revoke() })
        assert_revoked(r)
        assert.matches("revoked.lua", r:traceback(), 1, true)
      end
      assert.same(before, workers.children(worker))
      assert.equal(7, site:count("revoked"))
    end)

    it("lets it ask, and end in its own way", function()
      start("-P", "1")
      local r = begin("asks")
      assert.same({ true, "asked" }, { r:revoke() })
      assert.same({ false, "Revoked", true }, r:get { timeout = SLACK_S })
      assert.equal("SUCCESS", r:state())
    end)

    it("lets it catch the error, tidy up and return", function()
      start("-P", "1")
      for _, what in ipairs { "compute", "sleep" } do
        local r = begin("tidies_up", what)
        r:revoke()
        assert.same({ false, "Revoked" }, r:get { timeout = SLACK_S })
        assert.equal("SUCCESS", r:state())
      end
    end)

    it("lets it fail by an error of its own", function()
      start("-P", "1")
      local r = begin("raises_another")
      r:revoke()
      assert_failed("Sulky", "not Revoked", r:wait(SLACK_S))
      assert.equal("FAILURE", r:state())
    end)

    it("lets it ask for more, which it does not get", function()
      local worker = start("-P", "1")
      for _, name in ipairs { "runs_again", "is_replaced" } do
        local r = begin(name)
        r:revoke()
        assert_failed("Revoked", "revoked", r:wait(SLACK_S))
        local how = worker:heard("stderr", name .. "%[%w+%] ([^\n]*)")
        assert.matches("^ended in [%d.]+ ms, as it was asked to$", how)
      end
    end)

    it("raises the error once, in the right one of several", function()
      start("-P", "1", "-c", "3")
      local other, r = begin("tidies_up", "sleep"), begin("goes_on", "sleep")
      r:revoke()
      assert.equal("caught", site:wait_lines("notes", 3)[3])
      r:revoke()
      begin("notes", "later") -- told behind the request
      assert.equal("later", site:lines("notes")[4])
      assert.is_nil((other:wait(0)))
      assert.is_nil((r:wait(0)))
    end)

    it("kills it a second later if that is asked for", function()
      local worker = start("-P", "1")
      local before = workers.children(worker)
      local r = begin("goes_on", "compute")
      local began = core.sys.monotonic()
      assert.same({ true, "asked" }, { r:revoke { terminate = true } })
      assert_revoked(r)
      assert.is_true(core.sys.monotonic() - began >= KILL_S * 0.95)
      workers.wait_gone(before)
      -- Nobody is to blame, and there is another process.
      assert.equal(0, site:count("lost"))
      begin("notes", "another")
    end)

    it("ends it where it waits before it kills its process", function()
      local worker = start("-P", "1", "-c", "2")
      local before = workers.children(worker)
      local r, other = begin("goes_on", "sleep"), begin("beside", "sleep")
      r:revoke()
      assert.equal("caught", site:wait_lines("notes", 3)[3])
      r:revoke { terminate = true }
      assert_revoked(r)
      assert.is_nil((other:wait(0)))
      assert.same(before, workers.children(worker))
    end)

    it("gives back what ran beside one that is killed", function()
      start("-P", "1", "-c", "2")
      local other = begin("beside", "sleep")
      local r = begin("goes_on", "compute")
      r:revoke { terminate = true }
      assert_revoked(r)
      assert.same({ "beside", "begun" },
        table.move(site:lines("notes"), 1, 2, 1, {}))
      wait_until(function()
        local lines = site:lines("notes")
        return lines[#lines] == "beside" and #lines > 2
      end, SLACK_S, "the other one to begin again")
      assert.is_nil((other:wait(0)))
      assert.equal(1, site:count("redelivered"))
    end)

    it("can be done from a task", function()
      start("-P", "2")
      local r = begin("does", "sleep")
      assert.same({ true, "asked" },
        site:send("revokes", r.id):get { timeout = SLACK_S })
      assert_revoked(r)
    end)

    it("reaches a worker whose bell was lost, by its heartbeat", function()
      site:worker({ "-P", "1" },
        { file = "revoked", env = { TASKENGINE_LEASE = "3" } })
      local r = begin("does", "sleep")
      local wid = site:wids()[1]
      local field = site:key("HKEYS", "f:" .. wid)[1]
      site:key("HSET", "cr:" .. wid, field, "cR\x80")
      assert_revoked(r)
    end)
  end)

  describe("what waits", function()
    it("keeps it from ever beginning", function()
      local waiting = {}
      for i = 1, 500 do
        waiting[i] = site:send("notes", site.dir .. "/notes", "began")
      end
      for i, r in ipairs(waiting) do
        if i % 2 == 0 then
          assert.same({ true, "revoked" }, { r:revoke() })
        end
      end
      start("-P", "2")
      site:wait_lines("notes", 250)
      for i, r in ipairs(waiting) do
        assert.equal(i % 2 ~= 0, (r:wait(SLACK_S)))
      end
      assert.equal(250, #site:lines("notes"))
    end)

    it("ends all of a workflow, also where no worker serves", function()
      local function idle(queue)
        return site.app:signature("idle"):set { queue = queue }
      end
      local members = te.group { idle("nobody"), idle("nowhere") }()
      local step = (idle("nobody") | idle())()
      for _, r in ipairs { members, step } do
        assert.same({ true, "revoked" }, { r.flow:revoke() })
        assert_revoked(r, "revoked")
        assert.equal(0, r.flow:info().left)
      end
      assert.same({ false, "finished" }, { step.flow:revoke() })
      assert.equal(2, members:completed_count())
    end)

    it("also where a worker has it in hand and has not begun it", function()
      local waiting = { site:send("does", site.dir .. "/notes", "compute") }
      for i = 2, 20 do
        waiting[i] = site:send("notes", site.dir .. "/notes", "began")
      end
      -- The child computes in the first; the others have its slots.
      local worker = start("-P", "1", "-c", "20")
      wait_until(function()
        return #site:in_flight() == 20
      end, SLACK_S, "all in one hand")
      local ids = {}
      for i = 2, 20 do
        ids[#ids + 1] = waiting[i].id
      end
      local counts = site.app:revoke(ids)
      assert.equal(19, counts.revoked + counts.asked)
      for i = 2, 20 do
        assert_revoked(waiting[i], "revoked")
      end
      waiting[1]:revoke()
      assert_revoked(waiting[1])
      assert.equal(0, site:stop(worker).code)
      assert.same({ "begun" }, site:lines("notes"))
      assert.same({}, site:leftovers())
    end)
  end)

  describe("many", function()
    it("tells how many were answered how", function()
      start("-P", "1", "-c", "1")
      local running = begin("does", "sleep")
      local done = site:send("idle")
      local due = site:apply("idle", {}, { countdown = 600 })
      local waiting = site:apply("idle", {}, { queue = "nobody" })
      site:apply("idle", {}, { queue = "nobody" })
      done:revoke()
      done:wait(SLACK_S)
      assert.same({ asked = 1, finished = 1, revoked = 2, unknown = 1 },
        site.app:revoke { running.id, done.id, due.id, waiting.id, "none" })
      assert.same({ false, "unknown" }, { site.app:revoke("none") })
    end)

    it("takes all results of a list", function()
      local list = {}
      for i = 1, 1001 do
        list[i] = {}
      end
      local all = site.app:enqueue_many("idle", list)
      assert.same({ asked = 0, finished = 0, revoked = 1001, unknown = 0 },
        all:revoke())
      assert.same({ asked = 0, finished = 1001, revoked = 0, unknown = 0 },
        all:revoke { terminate = true })
    end)
  end)
end)
