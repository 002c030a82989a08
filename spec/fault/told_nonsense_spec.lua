local library = require("taskengine.library")
local program = require("spec.support.program")
local scripted_redis = require("spec.support.scripted_redis")
local wait_until = require("spec.support.wait").wait_until

local LEASE_S <const> = 1
local OTHER <const> = "Aother000000"

describe("A worker whose Redis tells it nonsense", function()
  local function integers(...)
    local out = { ("*%d\r\n"):format(select("#", ...)) }
    for _, value in ipairs { ... } do
      out[#out + 1] = math.type(value) and (":%d\r\n"):format(value)
        or scripted_redis.bulk(value)
    end
    return table.concat(out)
  end

  -- Answers as the functions of the library would, but for `changes`, which
  -- are false for the call that is the last to be heard.
  local function listen(changes, called)
    local is_silent = false
    local replies = {
      te1_build = (":%d\r\n"):format(library.BUILD),
      te1_register = integers(1, 0, 0, 0, "", 0),
      te1_heartbeat = integers(1, 0, 0, 0, "", 0),
      te1_fetch = integers(1, 0),
      te1_promote = integers(1, 0),
      te1_reap = ":0\r\n",
      te1_leave = ":1\r\n",
      te1_holds = "*0\r\n",
    }
    for name, reply in pairs(changes) do
      replies[name] = reply
    end
    return scripted_redis.listen(function(words)
      if words[1] == "CLIENT" then
        return "+OK\r\n"
      elseif words[1] == "FCALL" then
        called[words[2]] = (called[words[2]] or 0) + 1
        is_silent = is_silent or not replies[words[2]]
        return not is_silent and replies[words[2]]
      end
    end)
  end

  local function start(place)
    place:write("tasks.lua", [[
      require("taskengine").app("tasks"):task("none", function() end)
    ]])
    return place:worker({ "tasks.lua", "-P", "1" },
      { env = { TASKENGINE_LEASE = tostring(LEASE_S) } })
  end

  -- Tells a worker all that until it has called a function so often, and stops
  -- it. Returns how often it called each, and how it ended.
  local function tell(changes, name, count)
    local called = {}
    local server <close> = listen(changes, called)
    local place <close> = program.place { broker = server.url }
    local worker = start(place)
    wait_until(function()
      return (called[name] or 0) >= count
    end, 20, ("%d calls of %s"):format(count, name))
    worker:kill("TERM")
    return called, worker:wait()
  end

  it("about another's lease waits, and asks no more often", function()
    local told = integers(math.mininteger, 0, 0, math.maxinteger, OTHER,
      0)
    local called, ended = tell({
      te1_register = told,
      te1_heartbeat = told,
    }, "te1_heartbeat", 3)
    assert.is_nil(called.te1_reap)
    assert.equal(0, ended.code)
  end)

  it("about what is due waits, and fetches no more often", function()
    local told = integers(math.mininteger, math.maxinteger, 0, 0, "",
      0)
    local called, ended = tell({
      te1_register = told,
      te1_heartbeat = told,
      te1_fetch = integers(math.mininteger, math.maxinteger),
    }, "te1_heartbeat", 3)
    assert.is_true(called.te1_fetch <= 3)
    assert.equal(0, ended.code)
  end)

  it("instead of lists works on", function()
    local _, ended = tell({
      te1_register = "*0\r\n",
      te1_heartbeat = integers("a", "b", "c", "d", 5, "e"),
      te1_fetch = "*2\r\n*0\r\n$-1\r\n",
    }, "te1_fetch", 1)
    assert.equal(0, ended.code)
  end)

  it("of requests to end tasks works on", function()
    local told = "*7\r\n:1\r\n:0\r\n:0\r\n:0\r\n$0\r\n\r\n:0\r\n"
    local _, ended = tell({
      te1_heartbeat = told .. "*4\r\n:1\r\n$-1\r\n*0\r\n"
        .. scripted_redis.bulk("c" .. ("x"):rep(24)),
    }, "te1_heartbeat", 3)
    assert.equal(0, ended.code)
  end)

  it("of its leaving nothing at all ends in time", function()
    local called, ended = tell({ te1_leave = false }, "te1_fetch", 1)
    assert.equal(1, called.te1_leave)
    assert.same({ 0, 0 }, { ended.code, ended.signal })
    assert.matches("Redis could not be told that this worker has stopped",
      ended.stderr)
  end)
end)
