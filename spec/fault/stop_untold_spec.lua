local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("A worker that stops while Redis", function()
  local site = workers.for_each_spec {
    config = { "appendonly yes", "appendfsync always" },
  }

  it("is gone says what it could not tell, and leaves it to the next",
    function()
      local worker = site:worker { "-P", "2", "--grace", "0" }
      for i = 1, 2 do
        site:send("until_file", "go", "notes", i)
      end
      site:wait_lines("notes", 2)
      site.server:kill("KILL")
      local ended = site:stop(worker)
      assert.equal(3, ended.code)
      assert.matches("warn  Redis could not be told of 2 tasks, 0 of which"
        .. " ended: they come back when this worker starts again, or when its"
        .. " lease ends\n$", ended.stderr)
      site.server:restart()
      site:worker { "-P", "1", "-Q", "other" }
      wait_until(function()
        return #site:ready() == 2
      end)
    end)

  it("refuses writes says which outcomes it could not tell", function()
    local worker = site:worker { "-P", "1" }
    local r = site:send("busy_until_file", "go", "notes")
    site:wait_lines("notes", 1)
    site.server:cli("CONFIG", "SET", "min-replicas-to-write", "1")
    site.place:write("go", "")
    worker:heard("stderr", "busy_until_file%S+ succeeded")
    local ended = site:stop(worker)
    site.server:cli("CONFIG", "SET", "min-replicas-to-write", "0")
    assert.equal(3, ended.code)
    assert.matches("could not be told of 1 task, 1 of which ended: it comes"
      .. " back when", ended.stderr)
    site:worker { "-P", "1", "-Q", "other" }
    assert.equal("seen", r:get { timeout = 20 })
    assert.equal(1, #site:lines("notes"))
  end)

  it("is gone has lost nothing when it had nothing", function()
    local worker = site:worker { "-P", "1" }
    site.server:kill("KILL")
    local ended = site:stop(worker)
    assert.equal(0, ended.code)
    assert.matches("warn  Redis could not be told that this worker has"
      .. " stopped: it is shown until its lease ends\n$", ended.stderr)
  end)

  it("has come back tries it once more, at once", function()
    local worker = site:worker { "-P", "1", "--grace", "0" }
    site:send("until_file", "go", "notes")
    site:wait_lines("notes", 1)
    site.server:kill("KILL")
    worker:heard("stderr", "cannot connect")
    site.server:restart()
    local ended = site:stop(worker)
    assert.equal(0, ended.code)
    assert.not_matches("could not be told", ended.stderr)
    assert.equal(1, #site:ready())
    assert.same({}, site:wids())
  end)
end)
