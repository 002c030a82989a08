local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")

describe("taskengine doctor", function()
  local place = program.for_each_spec()

  local function run(...)
    return place:run { "doctor", ... }
  end

  -- Where nobody answers it is not to wait for long.
  local HASTE <const> = { env = { TASKENGINE_BROKER_TIMEOUT = "0.5" } }

  local function all(words, opts)
    local ended = place:run({ "doctor", "--json", table.unpack(words or {}) },
      opts)
    assert.equal("", ended.stderr)
    return assert(core.json.decode(ended.stdout)), ended.code
  end

  local function find(report, name)
    for _, finding in ipairs(report.findings) do
      if finding.name == name then
        return finding
      end
    end
    error("nothing on " .. name, 2)
  end

  it("starts no embedded Redis", function()
    local report, code = all()
    assert.equal(0, code)
    assert.same({ "ok", "embedded://default does not run; whatever needs it"
      .. " starts it" }, { find(report, "broker").level,
      find(report, "broker").text })
    assert.equal(0, report.fail)
    local folder = core.embedded.paths("default")
    assert.is_nil(core.sys.stat(folder .. "/supervisor.lock"))
  end)

  it("looks at one that runs", function()
    place.home:ready("default")
    local report, code = all()
    assert.equal(0, code)
    assert.matches("last second", find(report, "persistence").text)
    assert.equal("ok", find(report, "permissions").level)
  end)

  it("says what is well and what is not", function()
    local server <close> = redis_server.start { config = {
      "appendonly no", 'save ""' } }
    local ended = run("-b", server.url)
    assert.same({ 0, "" }, { ended.code, ended.stderr }, ended.stdout)
    assert.matches("\nok    version: %a+ %d[%d.]+\n", ended.stdout)
    assert.matches("\nwarn  persistence: nothing is written to disk: a restart"
      .. " of Redis loses all tasks and results\n"
      .. "      appendonly yes and appendfsync everysec", ended.stdout, 1, true)
    assert.matches("\n\n%d+ ok, %d+ warn, 0 fail\n$", ended.stdout)
  end)

  it("tells why a Redis cannot be used", function()
    local server <close> = redis_server.start { config = {
      "maxmemory 100mb", "maxmemory-policy allkeys-lru" } }
    local report, code = all { "-b", server.url }
    assert.equal(3, code)
    local finding = find(report, "broker")
    assert.matches("set maxmemory-policy noeviction", finding.text, 1, true)
    assert.matches("^%-b URL", finding.advice) -- it does run
  end)

  it("changes nothing in Redis", function()
    local server <close> = redis_server.start()
    run("-b", server.url)
    assert.equal("0", server:cli("DBSIZE"))
    assert.equal("", server:cli("FUNCTION", "LIST"))
  end)

  it("tells what a user may not do", function()
    local server <close> = redis_server.start()
    server:cli("ACL", "SETUSER", "weak", "on", ">secret", "~te:*", "+@all",
      "-zadd")
    local url = server.url:gsub("redis%+unix://", "redis+unix://weak:secret@")
    local report, code = all { "-b", url }
    assert.equal(1, code)
    local finding = find(report, "permissions")
    assert.same({ "fail", "as an administrator: ACL SETUSER weak ~te:*"
      .. " +zadd" }, { finding.level, finding.advice })
    server:cli("ACL", "SETUSER", "weak", "+zadd")
    assert.equal("ok", find((all { "-b", url }), "permissions").level)
    server:cli("ACL", "SETUSER", "weak", "resetkeys", "%R~te:*")
    finding = find((all { "-b", url }), "permissions")
    assert.same({ "fail", "as an administrator: ACL SETUSER weak ~te:*" },
      { finding.level, finding.advice })
  end)

  it("looks at the rest when Redis cannot be reached", function()
    for _, url in ipairs { "redis://127.0.0.1:1",
      "redis+unix://" .. place.dir .. "/nothing" } do
      local report, code = all({ "-b", url }, HASTE)
      assert.equal(3, code)
      assert.equal("fail", find(report, "broker").level)
      assert.matches("^is Redis running there%? %-b URL",
        find(report, "broker").advice)
      assert.equal("ok", find(report, "module").level)
    end
  end)

  it("tells that a Redis does not answer", function()
    local server <close> = redis_server.start()
    server:kill("STOP")
    local ended = place:run({ "doctor", "-b", server.url }, { env = {
      TASKENGINE_BROKER_TIMEOUT = "0.3" } })
    server:kill("CONT")
    assert.equal(3, ended.code)
    assert.matches("cannot be used: no answer within 0.3 s\n"
      .. "      is Redis running there?", ended.stdout, 1, true)
  end)

  it("looks at the rest when the settings are wrong", function()
    local ended = place:run({ "doctor" }, { env = { TASKENGINE_BROKR = "x" } })
    assert.equal(1, ended.code)
    assert.matches("FAIL  settings: there is no setting for the variable"
      .. " TASKENGINE_BROKR (did you mean 'TASKENGINE_BROKER'?)\n",
      ended.stdout, 1, true)
    assert.matches("\nok    program: ", ended.stdout)
  end)

  it("tells that this machine lacks what it needs", function()
    local ended = place:run({ "PATH=/nowhere", program.PATH, "doctor",
      "--json" }, { program = "env" })
    assert.equal(1, ended.code)
    local finding = find(assert(core.json.decode(ended.stdout)),
      "redis-server")
    assert.equal("fail", finding.level)
    assert.matches("apt%-get install redis%-server", finding.advice)
  end)

  it("tells of folders that others may write to", function()
    local state = place.dir .. "/state"
    assert(os.execute(("mkdir -p '%s/taskengine' && chmod 777 '%s/taskengine'")
      :format(state, state)))
    local ended = place:run({ "doctor", "--json" },
      { env = { XDG_STATE_HOME = state } })
    assert.equal(1, ended.code)
    local finding = find(assert(core.json.decode(ended.stdout)), "state")
    assert.same({ "fail", "chmod 700 " .. state .. "/taskengine" },
      { finding.level, finding.advice })
  end)

  it("tells of folders that cannot be made", function()
    place:write("file", "")
    local locked = place.dir .. "/locked"
    -- Root may write anywhere; and the program may lie where others may not
    -- look.
    local copy = place.dir .. "/copy"
    assert(os.execute(("mkdir -m 555 '%s' && cp '%s' '%s' && chmod 755 '%s'")
      :format(locked, program.PATH, copy, place.home.path)))
    for folder, why in pairs {
      [place.dir .. "/file"] = "/file is no folder",
      [locked] = "this user may not write to " .. locked,
    } do
      local ended = place:run({ "--reuid=65534", "--clear-groups", copy,
        "doctor", "--json" }, { program = "setpriv", env = {
          XDG_STATE_HOME = folder .. "/state", XDG_RUNTIME_DIR = folder } })
      assert.equal(1, ended.code, ended.stderr)
      local report = assert(core.json.decode(ended.stdout))
      for _, name in ipairs { "state", "runtime" } do
        local finding = find(report, name)
        assert.equal("fail", finding.level)
        assert.matches("cannot be made: .*" .. why:gsub("%p", "%%%0"),
          finding.text)
      end
    end
  end)

  it("tells of what runs and killed workers have left", function()
    place:write("script.lua", [[
      local app = require("taskengine").app("x")
      local t = app:task("t", function() end)
      app:main(function() t:delay():get() end)]])
    assert.equal(0, place:run({ "run", "-P", "1", "script.lua" }).code)
    local server <close> = redis_server.start()
    local worker = place:worker { "script.lua", "-P", "1", "-b", server.url }
    local function claims()
      local report = all { "-b", server.url }
      for _, finding in ipairs(report.findings) do
        if finding.name == "claims" then
          return finding.text
        end
      end
    end
    assert.is_nil(claims())
    worker:kill("KILL")
    worker:wait()
    assert.matches("^1 worker that was killed has left word in ", claims())
  end)
end)
