local core = require("taskengine.core")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("A worker that Redis refuses", function()
  local site = workers.for_each_spec {} -- each with its own Redis

  -- What to start a worker with as a user who has only these rights.
  local function as_user(...)
    site.server:cli("ACL", "SETUSER", "worker", "on", ">secret", ...)
    return { "-P", "1", "-b",
      ("redis+unix://worker:secret@%s"):format(site.server.socket) }
  end

  local function assert_ends(why, words)
    local ended = site:start(words,
      { env = { TASKENGINE_BROKER_TIMEOUT = "600" } }):wait()
    assert.equal(3, ended.code)
    assert.matches("^taskengine: redis%+unix://[^\n]*: Redis refuses this"
      .. " worker: " .. why .. "[^\n]*\n$", ended.stderr)
    assert.not_matches("secret", ended.stderr)
  end

  it("for its rights ends with the reason", function()
    assert_ends("NOPERM", as_user("~other:*", "+@all"))
  end)

  it("nothing for a key of another type serves", function()
    site:key("SET", "w", "junk")
    site:worker { "-P", "1" }
    assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
    assert.matches("w was a string: it is now", site:key("LINDEX", "m", 0))
  end)

  it("for the moment waits", function()
    site:stop(site:worker { "-P", "1" }) -- which declares the functions
    site.server:cli("CONFIG", "SET", "min-replicas-to-write", "1")
    local worker = site:start { "-P", "1" }
    worker:heard("stderr", "warn  Redis refuses: NOREPLICAS")
    site.server:cli("CONFIG", "SET", "min-replicas-to-write", "0")
    worker:heard("stderr", "ready: ")
  end)

  it("the bell says so once, asks less and less, and works", function()
    local words = as_user("~te:*", "+@all", "-@blocking")
    local began = core.sys.monotonic()
    local worker = site:worker(words, { env = { TASKENGINE_LEASE = "3" } })
    worker:heard("stderr", "warn  Redis does not let this worker wait for"
      .. " tasks, so they may start some seconds late: BLMPOP was answered"
      .. " with NOPERM")
    assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
    wait_until(function()
      return (tonumber(site:call("INFO", "commandstats"):match(
        "cmdstat_blmpop:[^\n]*rejected_calls=(%d+)")) or 0) >= 4
    end)
    -- 0.2 s, 0.4 s, 0.8 s
    assert.is_true(core.sys.monotonic() - began >= 1.4)
    as_user("+@blocking")
    worker:heard("stderr", "info  Redis lets this worker wait for tasks again")
    local _, warnings = worker:stderr():gsub("does not let", "")
    assert.equal(1, warnings)
  end)

  it("the bell is handed no task until it may listen", function()
    local words = as_user("~te:*", "+@all", "-@blocking")
    site:worker(words, { env = { TASKENGINE_LEASE = "1" } })
    for i = 1, 3 do
      assert.same({ true, 2 * i }, { site:outcome("add", i, i) })
    end
    assert.equal(0, site:key("HLEN", "hn"))
    as_user("+@blocking")
    wait_until(function()
      return site:key("HLEN", "hn") == 1
    end, 10, "that it takes what is handed over")
    assert.same({ true, 3 }, { site:outcome("add", 1, 2) })
  end)
end)
