--- What a doctor makes of what Redis answers.

local doctor_redis = require("taskengine.cli.doctor_redis")
local doctor_use = require("taskengine.cli.doctor_use")
local core = require("taskengine.core")
local findings = require("taskengine.cli.findings")
local library = require("taskengine.library")
local version = require("taskengine.version")

local HEALTHY <const> = {
  redis_version = "7.0.15", role = "master", cluster_enabled = "0",
  loading = "0", aof_enabled = "1", aof_last_write_status = "ok",
  rdb_last_bgsave_status = "ok", rdb_last_save_time = "1000",
  rdb_changes_since_last_save = "7", maxmemory_policy = "noeviction",
  maxmemory = "0", used_memory = "1048576", total_system_memory = "8589934592",
}

local function time()
  local now = core.sys.wall()
  return { ("%d"):format(now // 1), ("%d"):format(now % 1 * 1e6 // 1) }
end

-- A function that answers from a table; a function there is called.
local function answering(replies)
  return function(...)
    local words = table.concat({ ... }, " ")
    for start, reply in pairs(replies) do
      if words:sub(1, #start) == start then
        if type(reply) == "function" then
          return reply(...)
        end
        return reply
      end
    end
    return nil, "no permission"
  end
end

describe("taskengine.cli.doctor_redis", function()
  -- The finding of that name, when INFO says this.
  local function look(name, info, replies)
    local lines = {}
    for key, value in pairs(HEALTHY) do
      lines[#lines + 1] = ("%s:%s\r\n"):format(key, (info or {})[key] or value)
    end
    local all = { INFO = table.concat(lines), TIME = time,
      ["CONFIG GET appendfsync"] = { "appendfsync", "everysec" } }
    for start, reply in pairs(replies or {}) do
      all[start] = reply
    end
    local list = findings.new()
    doctor_redis.check(list, answering(all), 1600)
    for _, finding in ipairs(list) do
      if finding.name == name then
        return finding.level, finding.text, finding.advice
      end
    end
  end

  it("finds nothing wrong with a Redis that is set up well", function()
    for _, name in ipairs { "version", "role", "persistence", "eviction",
      "memory", "clock" } do
      assert.equal("ok", (look(name)), name)
    end
    assert.is_nil(look("disk"))
  end)

  it("wants a Redis with functions, which takes writes", function()
    assert.equal("fail", (look("version", { redis_version = "6.2.7" })))
    assert.equal("fail", (look("role", { role = "slave" })))
    assert.equal("fail", (look("role", { cluster_enabled = "1" })))
    assert.equal("fail", (look("role", { loading = "1" })))
  end)

  for fsync, expected in pairs {
    always = { "ok", "loses nothing" },
    everysec = { "ok", "loses the last second" },
    no = { "warn", "some 30 seconds" },
  } do
    it("says what is lost with appendfsync " .. fsync, function()
      local level, text = look("persistence", nil, {
        ["CONFIG GET appendfsync"] = { "appendfsync", fsync },
      })
      assert.equal(expected[1], level)
      assert.matches(expected[2], text, 1, true)
    end)
  end

  it("says what is lost without an append-only file", function()
    local level, text, advice = look("persistence", { aof_enabled = "0" },
      { ["CONFIG GET save"] = { "save", "3600 1" } })
    assert.equal("warn", level)
    assert.matches("all since the last one, now 7 changes in 10 minutes", text,
      1, true)
    assert.matches("appendonly yes", advice, 1, true)
    level, text = look("persistence", { aof_enabled = "0" },
      { ["CONFIG GET save"] = { "save", "" } })
    assert.equal("warn", level)
    assert.matches("loses all tasks", text, 1, true)
  end)

  it("makes a guess where it may not ask", function()
    local level, text = look("persistence", nil, {
      ["CONFIG GET appendfsync"] = function()
        return nil, "NOPERM"
      end,
    })
    assert.same({ "ok", true }, { level, text:find("may not ask") ~= nil })
  end)

  it("tells that Redis cannot write its data", function()
    assert.equal("fail", (look("disk", { aof_last_write_status = "err" })))
    assert.equal("fail", (look("disk", { rdb_last_bgsave_status = "err" })))
  end)

  it("does not let tasks be thrown away", function()
    assert.equal("warn",
      (look("eviction", { maxmemory_policy = "allkeys-lru" })))
    assert.equal("fail", (look("eviction",
      { maxmemory_policy = "allkeys-lru", maxmemory = "9999999" })))
  end)

  it("tells how much room is left", function()
    local level, text = look("memory", { maxmemory = "4194304" })
    assert.same({ "ok", "1 MiB used of 4 MiB, 3 MiB are left" },
      { level, text })
    assert.equal("warn", (look("memory", { maxmemory = "1200000" })))
    assert.equal("fail", (look("memory", { maxmemory = "1000000" })))
  end)

  it("compares the clocks", function()
    local level, text = look("clock", nil, { TIME = function()
      return { ("%d"):format(core.sys.wall() // 1 - 60), "0" }
    end })
    assert.equal("warn", level)
    assert.matches("^the clock of this machine is 6[01]%.%d s ahead of", text)
    assert.equal("warn", (look("clock", nil, { TIME = false })))
  end)

  it("goes on where INFO is not allowed", function()
    local list = findings.new()
    assert.is_nil(doctor_redis.check(list, answering { TIME = time }, 1600))
    assert.equal("warn", list[1].level)
    assert.equal("clock", list[#list].name)
  end)
end)

describe("taskengine.cli.doctor_use", function()
  local BUILD <const> = "FCALL te1_build"

  local function look(name, replies)
    local all = { ["ACL WHOAMI"] = "me", ["ACL DRYRUN"] = "OK",
      [BUILD] = library.BUILD,
      ["FCALL te1_status"] = { 1000, 0, 0, 0, {}, {}, 0 } }
    for start, reply in pairs(replies or {}) do
      all[start] = reply
    end
    local list = findings.new()
    doctor_use.check(list, answering(all), "te:{x.0}:")
    for _, finding in ipairs(list) do
      if finding.name == name then
        return finding.level, finding.text, finding.advice
      end
    end
  end

  local function status(queues, workers, dead, malformed, dropped)
    return { ["FCALL te1_status"] = { 1000, 0, dead or 0, malformed or 0,
      queues, workers, 0, dropped or 0 } }
  end

  local function worker(deadline, text)
    return { "wid", tostring(deadline), 0,
      core.codec.encode { name = "w1", version = text } }
  end

  it("finds nothing wrong where nothing is", function()
    for _, name in ipairs { "permissions", "functions", "workers", "queues" }
    do
      assert.equal("ok", (look(name)), name)
    end
    assert.is_nil(look("dead"))
  end)

  it("asks for every command that the functions call", function()
    local known = {}
    for _, command in ipairs(doctor_use.commands("te:{x.0}:")) do
      known[command[1]] = true
    end
    local calls = 0
    for name in library.text():gmatch('call%("(%u+)"') do
      assert.is_true(known[name], name .. " is not in doctor_use.commands")
      calls = calls + 1
    end
    assert.is_true(calls > 50, "not many calls were found: " .. calls)
  end)

  it("tells which commands are not allowed", function()
    local level, text, advice = look("permissions", {
      ["ACL DRYRUN"] = function(_, _, _, name)
        return (name == "ZADD" or name == "FUNCTION") and "may not" or "OK"
      end,
    })
    assert.equal("fail", level)
    assert.matches("me may not call zadd, function|load on the keys te:{x.0}:*",
      text, 1, true)
    assert.matches("+zadd +function|load", advice, 1, true)
    level, text, advice = look("permissions", {
      ["ACL DRYRUN"] = "This user has no permissions to access the 'x' key",
    })
    assert.same({ "fail", "the user me may not read and write the keys"
      .. " te:{x.0}:*", "as an administrator: ACL SETUSER me ~te:*" },
      { level, text, advice })
    assert.equal("ok", (look("permissions", { ["ACL WHOAMI"] = function()
      return nil, "NOPERM"
    end })))
  end)

  it("tells which functions are loaded", function()
    local function built(release)
      return look("functions", { [BUILD] = release << 32 | 5 })
    end
    assert.equal("warn", (built(library.RELEASE + 1)))
    assert.equal("ok", (built(library.RELEASE - 1)))
    assert.equal("ok", (look("functions", { [BUILD] = function()
      return nil, "ERR Function not found"
    end })))
    assert.equal("fail", (look("functions", { [BUILD] = function()
      return nil, "NOPERM"
    end })))
  end)

  it("tells of workers that are lost, or of another version", function()
    assert.equal("ok", (look("workers",
      status({}, { worker(2000, version.TEXT) }))))
    local level, text = look("workers",
      status({}, { worker(900, version.TEXT) }))
    assert.equal("warn", level)
    assert.matches("lost and not yet taken over: w1", text, 1, true)
    level, text = look("workers", status({}, { worker(2000, "0.0.1") }))
    assert.equal("warn", level)
    assert.matches("another version", text, 1, true)
  end)

  it("tells of tasks that nobody runs", function()
    local level, text = look("queues", status({
      { "mail", 3, 1, 0, 0, 0, 0, 0, 0, 0, 0 },
      { "other", 3, 1, 1, 0, 0, 0, 0, 0, 0, 0 } }, {}))
    assert.equal("warn", level)
    assert.matches("mail (4)", text, 1, true)
    assert.not_matches("other", text)
  end)

  it("tells of what failed for good, and of what is no task", function()
    for name, words in pairs {
      dead = { "1 task failed for good", "2 tasks failed for good",
        "taskengine dead shows them" },
      malformed = { "1 entry that is no task was set aside",
        "2 entries that are no tasks were set aside",
        "taskengine dead list --malformed shows them" },
    } do
      for count = 1, 2 do
        local level, text, advice = look(name, status({}, {},
          name == "dead" and count or 0, name == "malformed" and count or 0))
        assert.same({ "warn", words[count] }, { level, text })
        assert.equal(words[3] .. "; they go by themselves after 7 days", advice)
      end
      assert.is_nil(look(name, status({}, {})))
    end
  end)

  it("tells how much of what is no task found no room", function()
    local _, text = look("malformed", status({}, {}, 0, 10000, 7))
    assert.equal("10000 entries that are no tasks were set aside; there was no"
      .. " room for 7 more, the oldest", text)
  end)
end)
