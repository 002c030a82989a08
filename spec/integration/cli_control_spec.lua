local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

describe("taskengine control", function()
  local server = redis_server.for_all_specs()
  local place = program.for_each_spec { server = server }

  local function run(...)
    return place:run { "control", ... }
  end

  local function send(...)
    local ended = place:run { "call", "any", ... }
    assert.equal(0, ended.code)
    return (ended.stdout:gsub("\n", ""))
  end

  describe("revoke", function()
    it("revokes tasks that wait", function()
      local ids = { send(), send("--countdown", "600"), send("--id", "mine") }
      local ended = run("revoke", table.unpack(ids))
      assert.same({ 0, "revoked 3 tasks\n", "" },
        { ended.code, ended.stdout, ended.stderr })
      for _, id in ipairs(ids) do
        local result = place:run { "result", id }
        assert.equal(1, result.code)
        assert.matches("Revoked: it was revoked", result.stderr, 1, true)
      end
    end)

    it("tells workflows from tasks", function()
      local app = te.app("x", { broker = server.url })
      local function flow()
        return (app:signature("any") | app:signature("any"))().flow.id
      end
      assert.equal("revoked 1 workflow\n", run("revoke", flow()).stdout)
      assert.equal("revoked 1 task and 2 workflows\n",
        run("revoke", flow(), send(), flow()).stdout)
      app:close()
    end)

    it("says which have ended, and which there are not", function()
      local id = send()
      run("revoke", id)
      local ended = run("revoke", id, "none", send())
      assert.same({ 1, "revoked 1 task\n" }, { ended.code, ended.stdout })
      assert.matches(id .. " has ended before", ended.stderr, 1, true)
      assert.matches("none was never enqueued", ended.stderr, 1, true)
    end)

    it("asks what runs to end, and ends it by force if told to", function()
      place:write("tasks.lua", [[
        local te = require("taskengine")
        te.app("x"):task("any", function()
          while true do pcall(te.sleep, 100) end
        end)]])
      place:worker { "tasks.lua", "-P", "1" }
      local id = send()
      wait_until(function()
        local status = place:run({ "status", "--json" }).stdout
        return status:find('"in_flight":1', 1, true)
      end, 20, "a task that runs")
      local ended = run("revoke", id)
      assert.same({ 0, "revoked 0 tasks\nasked 1 task to end\n" },
        { ended.code, ended.stdout })
      ended = run("revoke", id, "--terminate", "--json")
      assert.same({
        asked = 1, finished = 0, revoked = 0, unknown = 0,
        tasks = { { id = id, answer = "asked" } },
      }, (assert(core.json.decode(ended.stdout))))
      local result = place:run { "result", id, "--wait", "--timeout", "20" }
      assert.equal(1, result.code)
      assert.matches("Revoked: revoked while it ran", result.stderr, 1, true)
    end)

    it("prints numbers as JSON, also of nothing that could be done", function()
      local ended = run("revoke", "none", "--json")
      assert.equal(1, ended.code)
      assert.same({
        asked = 0, finished = 0, revoked = 0, unknown = 1,
        tasks = { { id = "none", answer = "unknown" } },
      }, (assert(core.json.decode(ended.stdout))))
    end)
  end)

  it("refuses what it cannot do", function()
    for _, case in ipairs {
      { { "revok", "x" }, "unknown 'revok'" },
      { { "revok", "x" }, "revoke" },
      { { "revoke" }, "revoke takes an ID" },
      { { "revoke", "a b" }, "control: ID" },
      { {}, "WHAT" },
    } do
      local ended = run(table.unpack(case[1]))
      assert.same({ 2, "" }, { ended.code, ended.stdout })
      assert.matches(case[2], ended.stderr, 1, true)
    end
  end)
end)
