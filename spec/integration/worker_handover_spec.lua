local envelope = require("spec.support.envelope")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

-- It asks Redis three times a second.
local SHORT_LEASE <const> = { env = { TASKENGINE_LEASE = "1" } }
local FIRST <const> = 1 << 31

describe("A task that is handed over to a worker", function()
  local site = workers.for_each_spec()

  local function fetches()
    local count = 0
    for _, entry in ipairs(site:call("SLOWLOG", "GET", "-1")) do
      count = count + (entry[4][2] == "te1_fetch" and 1 or 0)
    end
    return count
  end

  -- One who listens to its bell, too.
  local function wait_asleep()
    wait_until(function()
      return site:key("SCARD", "sl:default") == 1
        and site:key("HLEN", "hn") == 1
    end, 10, "a sleeper")
  end

  it("needs no fetch", function()
    site:worker { "-P", "2" }
    -- The worker learns that they are short, and has room for several.
    for i = 1, 20 do
      assert.same({ true, 2 * i }, { site:outcome("add", i, i) })
    end
    wait_asleep()
    site:call("CONFIG", "SET", "slowlog-log-slower-than", "0")
    site:call("SLOWLOG", "RESET")
    for i = 1, 20 do
      assert.same({ true, 2 * i }, { site:outcome("add", i, i) })
    end
    site:call("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    assert.equal(0, fetches())
    assert.equal(40, site:count("done"))
  end)

  it("needs no fetch with a few others of its flow", function()
    site:worker { "-P", "2" }
    local list = {}
    for i = 1, 10 do
      list[i] = site.app:signature("add", { i, i })
    end
    -- Until it knows that they are short, and has said so in a fetch.
    local groups = 0
    repeat
      groups = groups + 1
      te.group(list)():get { timeout = 20 }
      wait_asleep()
      local wid = site:key("HKEYS", "hn")[1]
      local room = site:key("HGET", "hl", wid) - site:key("HGET", "hn", wid)
    until room >= 10 or groups > 100
    site:call("CONFIG", "SET", "slowlog-log-slower-than", "0")
    site:call("SLOWLOG", "RESET")
    local sums = te.group(list)():get { timeout = 20 }
    site:call("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    assert.equal(20, sums[10])
    assert.equal(0, fetches())
    assert.equal(10 * (groups + 1), site:count("done"))
  end)

  -- Redis hands over a call of `add`, and the item goes nowhere.
  local function lose_one(wid, number)
    local bytes = envelope.new {
      id = envelope.id("somebodyelse", number),
      name = "add",
      body = "\x92\x92\x01\x02\x80",
    }
    site:key("HINCRBY", "hn", wid, 1)
    site:key("HSET", "f:" .. wid,
      bytes:sub(1, 20) .. (">I4"):pack(FIRST + number), bytes)
    return bytes:sub(1, 20)
  end

  -- A worker that has no room left sleeps no more: it fetches.
  for room, words in pairs {
    ["leaves room"] = { "-P", "2" },
    ["leaves no room"] = { "-P", "1", "-c", "1" },
  } do
    it("and damaged on the way is run as it was, where it " .. room, function()
      site:worker(words)
      -- Tasks take long, so none is taken beyond its slots.
      assert.is_true((site:outcome("compute", 0.1, "notes")))
      wait_asleep()
      local wid, before = site:wids()[1], site:count("done")
      for number, damaged in ipairs {
        "short",
        ("another task's id, and what is none"):rep(9),
        envelope.new { id = envelope.id("nobodyatall1", 1), name = "add" },
      } do
        lose_one(wid, number)
        site:key("RPUSH", "b:" .. wid, "!" .. (">I4"):pack(FIRST + number)
          .. damaged)
        wait_until(function()
          return site:count("done") == before + number
        end, 4, "its end") -- no heartbeat is so soon
        assert.equal(0, #site:in_flight())
      end
    end)
  end

  it("and lost is missed at a heartbeat, and run", function()
    site:worker({ "-P", "2" }, SHORT_LEASE)
    wait_asleep()
    lose_one(site:wids()[1], 1)
    wait_until(function()
      return site:count("done") == 1
    end, 10, "its end")
    assert.equal(0, #site:in_flight())
    assert.equal(0, site:count("lost"))
  end)

  it("and lost is missed when the next one comes", function()
    site:worker { "-P", "2" } -- its next heartbeat is seconds away
    wait_asleep()
    lose_one(site:wids()[1], 1)
    assert.same({ true, 7 }, { site:outcome("add", 3, 4) })
    wait_until(function()
      return site:count("done") == 2
    end, 3, "its end")
  end)

  it("is run once when it comes after it was handed back", function()
    site:worker({ "-P", "2" }, SHORT_LEASE)
    wait_asleep()
    local wid = site:wids()[1]
    local id = lose_one(wid, 1)
    local bytes = site:key("HGET", "f:" .. wid, id .. (">I4"):pack(FIRST + 1))
    wait_until(function()
      return site:count("done") == 1
    end, 10, "its end")
    site:key("RPUSH", "b:" .. wid, "!" .. (">I4"):pack(FIRST + 1) .. bytes)
    assert.same({ true, 7 }, { site:outcome("add", 3, 4) })
    assert.equal(2, site:count("done"))
  end)

  -- As after an eviction, or when Redis comes back with what it had before.
  for what, forget in pairs {
    ["was thrown away"] = function(wid)
      site:key("DEL", "hn")
      assert.is_true((site:outcome("add", 1, 2))) -- by way of its queue
      assert.equal(FIRST, tonumber(site:key("HGET", "hn", wid)))
    end,
    ["went back"] = function(wid)
      site:key("HINCRBY", "hn", wid, -3)
    end,
  } do
    it("is run when the count of those before " .. what, function()
      site:worker({ "-P", "2" }, SHORT_LEASE)
      wait_asleep()
      for i = 1, 5 do
        assert.same({ true, 2 * i }, { site:outcome("add", i, i) })
      end
      local wid = site:wids()[1]
      assert.equal(FIRST + 5, tonumber(site:key("HGET", "hn", wid)))
      forget(wid)
      wait_asleep()
      for i = 1, 7 do
        assert.same({ true, 2 * i }, { site:outcome("add", i, i) })
      end
      assert.equal(0, #site:in_flight())
      assert.equal(0, site:count("lost"))
    end)
  end

  it("goes to another when the first is dead", function()
    local first = site:worker { "-P", "1", "-n", "first" }
    wait_asleep()
    wait_until(function()
      return site:call("INFO", "clients"):find("blocked_clients:1", 1, true)
    end, 10, "a worker that listens")
    first:kill("STOP")
    wait_until(function()
      local file <close> = assert(io.open(("/proc/%d/stat"):format(first.pid)))
      return file:read("a"):find("^%d+ %(.*%) T")
    end, 10, "a worker that is stopped")
    -- Its bell is read once more, by the call that Redis has of it already.
    local r = site:send("add", 1, 2)
    wait_until(function()
      return #site:in_flight() == 1
    end, 10, "a hand-over")
    local second = site:send("add", 3, 4)
    site:worker { "-P", "1", "-n", "second" }
    assert.equal(7, second:get { timeout = 10 })
    assert.is_false(r:ready())
    first:kill("CONT")
    assert.equal(3, r:get { timeout = 20 })
  end)
end)
